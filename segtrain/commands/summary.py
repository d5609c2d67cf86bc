"""`segtrain summary`: the network that a config would train, without weights and without data."""

import keras
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from segtrain.commands.parts import FACTS, build_backbone
from segtrain.config import build, check
from segtrain.models.cost import at_size, count_multiply_adds, count_parameters

# The groups that say what the network is; the others need not be complete.
_GROUPS = ("dataset", "backbone", "model")


def summary(cfg: DictConfig) -> None:
    """Print input, taps, parameters, multiply-adds and output of the network of a config."""
    network = OmegaConf.masked_copy(cfg, [*_GROUPS, "trusted_modules"])
    if OmegaConf.is_missing(network.dataset, "root"):
        # Only the classes are wanted of the dataset; where its files lie does not matter.
        network.dataset.root = "."
    check(network, FACTS)
    height, width = cfg.image_size
    dataset = build(network.dataset)
    backbone = build_backbone(network, fill=False)
    model = at_size(build(network.model, backbone=backbone, num_classes=dataset.num_classes), height, width)
    trainable, fixed = count_parameters(model)
    table = Table(title=f"{model.name} on {cfg.backbone._target_.rpartition('.')[2]}", show_header=False)
    table.add_row("input", _shape(model.input), "raw RGB, 0-255")
    table.add_row("high tap", _shape(model.get_layer(backbone.high_tap).output), backbone.high_tap)
    table.add_row("low tap", _shape(model.get_layer(backbone.low_tap).output), backbone.low_tap)
    table.add_row("output", _shape(model.output), f"logits of {dataset.num_classes} classes")
    table.add_section()
    table.add_row("parameters", f"{trainable + fixed:,}", "total")
    table.add_row("", f"{trainable:,}", "trainable")
    table.add_row("", f"{fixed:,}", "non-trainable")
    table.add_row("multiply-adds", f"{count_multiply_adds(model) / 1e9:.2f} G", "convolutions, forward, one image")
    Console().print(table)


def _shape(tensor: keras.KerasTensor) -> str:
    return "(" + ", ".join(str(length) for length in tensor.shape[1:]) + ")"
