"""Parts built from a config, the same way in every command that needs them."""

import math
from pathlib import Path
from typing import Any

import keras
from omegaconf import DictConfig

from segtrain.builders import losses
from segtrain.builders.data import augment_arguments
from segtrain.builders.user_parts import require_kind, require_logits, require_loss, require_metric
from segtrain.config import build
from segtrain.data.datasets.dataset import Dataset
from segtrain.errors import ConfigError, naming
from segtrain.evaluation import Metric
from segtrain.losses import HeadLoss
from segtrain.models.backbones import Backbone
from segtrain.models.weights import load_backbone_weights, load_network_weights, read_weights
from segtrain.runs.checkpoint import pick_checkpoint
from segtrain.training.precision import keep_logits_in_float32, layers_in

# The arguments that commands pass to a node of each group; no key may set them.
NODE_ARGUMENTS = {
    "backbone": (),
    "model": ("backbone", "num_classes"),
    "norm": ("model", "backbone"),
    "optimizer": (),
    "schedule": ("learning_rate", "total_steps"),
}
HEAD_KEYS = ("head", "loss", "weight")
METRIC_ARGUMENTS = ("class_names", "ignore_class")


def build_arguments(cfg: DictConfig) -> dict[str, tuple[str, ...]]:
    """By key of each node of a config, the arguments that commands pass to it; no key may set them.

    Raises:
        ConfigError: A head is not a head, a loss and a weight; a step of the augmentation is not a call; a part of the
            loss is not a loss and a weight.
    """
    found = {**NODE_ARGUMENTS, **augment_arguments(cfg), **losses.loss_arguments(cfg.get("loss"), "loss")}
    found |= {f"callbacks.{name}": ("run_folder",) for name in cfg.get("callbacks") or {}}
    found |= {f"metrics.{name}": METRIC_ARGUMENTS for name in cfg.get("metrics") or {}}
    for name, node in _heads(cfg).items():
        found[f"heads.{name}.head"] = (*NODE_ARGUMENTS["model"], "name")
        found |= losses.loss_arguments(node.loss, f"heads.{name}.loss")
    return found


def build_network(cfg: DictConfig, num_classes: int) -> tuple[keras.Model, Backbone]:
    """Build the network of a config with random weights, for images of any size.

    Returns:
        The model, and the backbone it stands on. The model gives logits (B, H, W, K); with `heads` a dict of them by
        name, those of the network itself as `logits`.

    Raises:
        ConfigError: An argument does not fit.
    """
    precision = cfg.get("precision") or "float32"
    with layers_in(precision):
        backbone = require_kind(build(cfg.backbone), Backbone, "backbone", "a segtrain.models.Backbone")
        model = build(cfg.model, backbone=backbone, num_classes=num_classes)
        require_kind(model, keras.Model, "model", "a keras.Model")
        require_logits(model.output, "model", num_classes)
        heads = {}
        for name, node in _heads(cfg).items():
            built = build(node.head, backbone=backbone, num_classes=num_classes, name=name)
            heads[name] = require_logits(built, f"heads.{name}.head", None)
        if heads:
            model = keras.Model(backbone.pixels, {"logits": model.output, **heads}, name=model.name)
        model = require_kind(build(cfg.norm, model=model, backbone=backbone), keras.Model, "norm", "a keras.Model")
    if precision != "float32":
        keep_logits_in_float32(model)
    return model, backbone


def load_weights(cfg: DictConfig, model: keras.Model, backbone: Backbone) -> None:
    """Fill a network with the weights that its training starts from: what `weights`, else `backbone.weights` names.

    Args:
        cfg: Has the root keys `weights` and `head`.
        model: That of `build_network`, with its backbone.
        backbone: See there.

    Raises:
        CheckpointError: The weights cannot be had, or are of another network.
    """
    if cfg.weights is None:
        with naming("backbone"):
            load_backbone_weights(model, backbone)
        return
    path, key = Path(cfg.weights).expanduser(), f"weights={cfg.weights}"
    if path.is_dir():
        path = pick_checkpoint(path / "checkpoints", "best").path / "state.safetensors"
    load_network_weights(
        model,
        read_weights(path, model, key),
        key,
        reset_classifier=cfg.reset_classifier,
        further_heads=tuple(_heads(cfg)),
    )


def build_loss(cfg: DictConfig, dataset: Dataset) -> Any:
    """Build the loss of a config for a dataset's classes.

    Raises:
        ConfigError: An argument does not fit, or the loss takes more or fewer logits than there are classes.
    """
    loss = losses.build_loss(cfg.loss, "loss", dataset)
    if getattr(loss, "num_logits", dataset.num_classes) != dataset.num_classes:
        raise ConfigError(
            f"loss: {cfg.loss._target_} takes {loss.num_logits} logits a pixel, the network gives "
            f"{dataset.num_classes}. Fix: loss=cross_entropy, and heads=edges for edges"
        )
    return require_loss(loss, "loss", dataset.num_classes, dataset.num_classes)


def build_heads(cfg: DictConfig, dataset: Dataset, model: keras.Model) -> dict[str, HeadLoss]:
    """Build what each further head of a config adds to the loss.

    Args:
        cfg: Has the group `heads`.
        dataset: Tells the classes.
        model: That of `build_network`.

    Raises:
        ConfigError: An argument does not fit, or a loss takes more or fewer logits than its head gives.
    """
    found = {}
    for name, node in _heads(cfg).items():
        loss = losses.build_loss(node.loss, f"heads.{name}.loss", dataset)
        given = model.output[name].shape[-1]
        if getattr(loss, "num_logits", given) != given:
            raise ConfigError(
                f"heads.{name}.loss: {node.loss._target_} takes {loss.num_logits} logits a pixel, {node.head._target_} "
                f"gives {given}. Fix: pair heads of classes with CrossEntropy and edges with EdgeCrossEntropy"
            )
        require_loss(loss, f"heads.{name}.loss", given, dataset.num_classes)
        found[name] = HeadLoss(loss, float(node.weight))
    return found


def build_metrics(cfg: DictConfig, dataset: Dataset) -> dict[str, Metric]:
    """Build the further metrics of a config for a dataset's classes, by name.

    Raises:
        ConfigError: An argument does not fit, or an entry is not a metric.
    """
    found = {}
    for name, node in (cfg.get("metrics") or {}).items():
        key = f"metrics.{name}"
        if not str(name).isidentifier() or name in (cfg.get("heads") or {}):
            raise ConfigError(f"{key}: not a name for a metric, expected letters, and no head's name. Fix: rename it")
        if node is not None:
            metric = build(node, class_names=dataset.class_names, ignore_class=dataset.ignore_class)
            found[name] = require_metric(metric, key, dataset.num_classes)
    return found


def _heads(cfg: DictConfig) -> dict[str, DictConfig]:
    """Return the further heads of a config by name; refuse what is not a head, a loss and a weight."""
    heads = cfg.get("heads") or {}
    for name, node in heads.items():
        where = f"heads.{name}"
        if name == "logits" or not str(name).isidentifier():
            raise ConfigError(f"{where}: no name for a head, expected letters other than logits. Fix: rename it")
        losses.check_entry(where, node, HEAD_KEYS, "configs/heads/edges.yaml")
        if isinstance(node.weight, bool) or not isinstance(node.weight, int | float) or not 0 <= node.weight < math.inf:
            raise ConfigError(f"{where}.weight={node.weight}: expected a number from 0 up. Fix: {where}.weight=1.0")
    return dict(heads.items())
