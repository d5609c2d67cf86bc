"""Description of a config's network in numbers and names; without weights and without data."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
from omegaconf import DictConfig, OmegaConf

from segtrain.builders.network import build_arguments, build_network
from segtrain.config import build, resolved, validate_calls
from segtrain.models.backbones import Backbone
from segtrain.models.cost import at_size, count_multiply_adds, count_parameters
from segtrain.models.dilation import stride_infos

# The groups that define the network; the others need not be complete.
_GROUPS = ("dataset", "backbone", "model", "heads", "norm")
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
_NORMS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization, keras.layers.LayerNormalization)
_NO_LIMIT = 2**20


class Row(NamedTuple):
    """One row.

    Attributes:
        name: Name of the row, unique in a description.
        value: Its value.
        note: What the value is of, or in which unit.
        section: Section of the table.
    """

    name: str
    value: str
    note: str
    section: str


class Tap(NamedTuple):
    """A layer of the backbone that can be a tap.

    Attributes:
        name: Name of the layer.
        stride: Pixels from one feature to the next.
        channels: Number of channels.
        shape: Height, width and channels for the image size.
    """

    name: str
    stride: int
    channels: int
    shape: str


class Description(NamedTuple):
    """A network, described row by row.

    Attributes:
        model: Name of the network.
        rows: What it takes, taps, gives and costs.
        layers: Number of layers by kind.
        taps: The backbone's layers that can be taps, in the order of depth.
    """

    model: str
    rows: list[Row]
    layers: dict[str, str]
    taps: list[Tap]


def describe(cfg: DictConfig) -> Description:
    """Build the network of a config and describe it at `image_size`.

    Raises:
        ConfigError: An argument of the network does not fit.
    """
    network = resolved(cfg, *_GROUPS)
    if OmegaConf.is_missing(network.dataset, "root"):
        # Only the classes are wanted of the dataset; where its files lie does not matter.
        network.dataset.root = "."
    validate_calls(network, build_arguments(network))
    num_classes = build(network.dataset).num_classes
    free, backbone = build_network(network, num_classes)
    model = at_size(free, *cfg.image_size)
    rows = [
        Row("input", _shape(model.input), "raw RGB, 0-255", "shapes"),
        *_taps(model, backbone),
        *_outputs(model, num_classes),
        Row("output stride", str(backbone.output_stride), "pixels from one deep feature to the next", "strides"),
        *_dilations(model, backbone),
        *_parameters(model, backbone),
        Row("multiply-adds", f"{count_multiply_adds(model) / 1e9:.2f} G", "convolutions, forward, one image", "cost"),
    ]
    return Description(model.name, rows, _kinds(model), _every_tap(model, backbone))


def _every_tap(model: keras.Model, backbone: Backbone) -> list[Tap]:
    """Return the backbone's layers that return a map, in the order of depth."""
    found = stride_infos(model, _NO_LIMIT)
    padding = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D, keras.layers.InputLayer)
    return [
        Tap(layer.name, info.stride, layer.output.shape[-1], _shape(layer.output))
        for layer in model.layers
        if layer.name in backbone.tensors and not isinstance(layer, padding) and (info := found.get(layer.name))
    ]


def _taps(model: keras.Model, backbone: Backbone) -> Iterator[Row]:
    """The backbone's layers that the layers behind it read, the deepest first."""
    read = {
        tensor._keras_history.operation.name
        for layer in model.layers
        if layer.name not in backbone.tensors
        for tensor in keras.tree.flatten(layer.input)
    }
    found = stride_infos(model, _NO_LIMIT)
    known = {backbone.high_tap: "high tap", backbone.low_tap: "low tap"}
    taps = [layer for layer in model.layers if layer.name in read and layer.name in backbone.tensors]
    for number, tap in enumerate(reversed(taps), start=1):
        info = found[tap.name]
        note = tap.name if info is None else f"{tap.name}, stride {info.stride}"
        yield Row(known.get(tap.name, f"tap {number}"), _shape(tap.output), note, "shapes")


def _outputs(model: keras.Model, num_classes: int) -> Iterator[Row]:
    outputs = model.output if isinstance(model.output, dict) else {"logits": model.output}
    for name, output in outputs.items():
        note = f"logits of {num_classes} classes" if name == "logits" else "logits of a further head"
        yield Row("output" if name == "logits" else f"output {name}", _shape(output), note, "shapes")


def _dilations(model: keras.Model, backbone: Backbone) -> Iterator[Row]:
    rates = Counter(map(_dilation, _leaves([layer for layer in model.layers if layer.name in backbone.tensors])))
    yield Row("dilations", _counted(rates), "of the backbone's convolutions", "strides")
    branches: dict[str, int] = {}
    for layer in model.layers:
        if branch := re.match(r"aspp_branch_\d+", layer.name):
            branches[branch[0]] = max(branches.get(branch[0], 1), _dilation(layer))
    if branches:
        yield Row("ASPP dilations", ", ".join(map(str, branches.values())), "one 3x3 branch each", "strides")


def _parameters(model: keras.Model, backbone: Backbone) -> Iterator[Row]:
    trainable, fixed = count_parameters(model)
    of_backbone = sum(layer.count_params() for layer in model.layers if layer.name in backbone.tensors)
    yield Row("parameters", f"{trainable + fixed:,}", "total", "cost")
    parts = {
        "in the backbone": of_backbone,
        "in the head": trainable + fixed - of_backbone,
        "trainable": trainable,
        "non-trainable": fixed,
    }
    for part, count in parts.items():
        yield Row(part, f"{count:,}", part, "cost")


def _kinds(model: keras.Model) -> dict[str, str]:
    layers = list(_leaves(model.layers))
    convolutions = [layer for layer in layers if isinstance(layer, _CONVOLUTIONS)]
    depthwise = [layer for layer in convolutions if not isinstance(layer, keras.layers.Conv2D)]
    norms = Counter(type(layer).__name__ for layer in layers if isinstance(layer, _NORMS))
    dropout = [f"{layer.rate:g}" for layer in layers if isinstance(layer, keras.layers.Dropout)]
    return {
        "convolutions": str(len(convolutions)),
        "depthwise ones": str(len(depthwise)),
        "dilated ones": _counted(Counter(map(_dilation, convolutions))),
        "ones with a bias": str(sum(layer.use_bias for layer in convolutions)),
        "norms": _listed(norms),
        "activations": _listed(Counter(filter(None, map(_activation, layers)))),
        "dropout": ", ".join(dropout) or "none",
    }


def _leaves(layers: list[keras.layers.Layer]) -> Iterator[keras.layers.Layer]:
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer.layers)
        else:
            yield layer


def _dilation(layer: keras.layers.Layer) -> int:
    return int(layer.dilation_rate[0]) if isinstance(layer, _CONVOLUTIONS) else 1


def _activation(layer: keras.layers.Layer) -> str:
    if isinstance(layer, keras.layers.ReLU):
        return "relu" if layer.max_value is None else f"relu{layer.max_value:g}"
    name = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return "" if name == "linear" else name


def _counted(rates: Mapping[int, int]) -> str:
    """`2 (6x), 4 (2x)` for six dilations of 2 and two of 4."""
    dilated = {rate: count for rate, count in sorted(rates.items()) if rate > 1}
    return ", ".join(f"{rate} ({count}x)" if count > 1 else str(rate) for rate, count in dilated.items()) or "none"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _shape(tensor: Any) -> str:
    return "(" + ", ".join(str(length) for length in tensor.shape[1:]) + ")"
