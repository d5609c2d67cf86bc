"""Finer features from a ready backbone: dilation in the place of strides (arXiv:1706.05587, section 3.1).

Without its stride a layer gives s times as many places a side; dilating all that follows by s lets each kernel see the
same pixels as before, so that at the places both have, the features are the very same numbers ("atrous consistency").
Dilation changes no weight's shape: stock weights fit every output stride.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras

from segtrain.models.convolution import Conv2D
from segtrain.models.layers import BatchNormalization, LayerScale
from segtrain.models.pooling import DilatedPooling2D

Padding = Literal["keras", "symmetric"]

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_GLOBAL = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


@dataclass(frozen=True)
class StrideInfo:
    """Where a layer's result lies.

    Attributes:
        nominal: Stride in the undilated network: the pixels from one place to the next.
        stride: The stride after dilation.
        dilation: How far apart the next kernel's taps must lie, in places.
    """

    nominal: int = 1
    stride: int = 1
    dilation: int = 1


def stride_infos(network: keras.Model, output_stride: int) -> dict[str, StrideInfo | None]:
    """Follow the strides through a network whose strides stop at `output_stride`.

    Returns:
        By name of each layer, where its result lies; None for what no longer is a map, as the gate of a
        squeeze-and-excitation block.
    """
    found: dict[str, StrideInfo | None] = {}
    for layer in network.operations:
        found[layer.name] = _behind(_before(layer, found), layer, output_stride)
    return found


def rebuild(
    network: keras.Model,
    output_stride: int,
    *,
    multi_grid: dict[str, int] | None = None,
    dilate_strided: bool = False,
    padding: Padding = "keras",
    names: dict[str, str] | None = None,
) -> keras.Model:
    """Rebuild a backbone on the same inputs with its strides stopped, and with segtrain's faster layers.

    Args:
        network: A functional Keras network of free size.
        output_stride: The stride that no layer goes beyond.
        multi_grid: By layer, one more factor of its dilation.
        dilate_strided: Dilate the very convolutions that lose their stride as well, as segmentation_models.pytorch
            does; the features are then other ones than the undilated network's.
        padding: "symmetric" pads strided convolutions alike on all sides, as torch does.
        names: New names of layers.

    Raises:
        ValueError: The dilated network's parts do not fit together.
    """
    found = stride_infos(network, output_stride)
    factors, renamed = multi_grid or {}, names or {}
    edits: dict[str, dict[str, Any]] = {}
    for layer in network.layers:
        before = _before(layer, found)
        if before is None:
            continue
        edit = _edit(layer, before, output_stride, dilate_strided, factors.get(layer.name, 1))
        if padding == "symmetric" and not edit:
            edit = _padded_alike(layer)
        if edit:
            edits[layer.name] = edit
            edits |= _padding_before(layer, edit)

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        return clone_layer(layer, edits.get(layer.name, {}), renamed.get(layer.name, layer.name))

    return keras.models.clone_model(network, input_tensors=network.input, clone_function=clone)


def _before(layer: keras.layers.Layer, found: dict[str, StrideInfo | None]) -> StrideInfo | None:
    """Where a layer's input lies: of several that is the deepest map."""
    if isinstance(layer, keras.layers.InputLayer):
        return StrideInfo()
    sources = [found[source.name] for source in _sources(layer)]
    maps = [place for place in sources if place is not None]
    return max(maps, key=lambda place: (place.nominal, place.dilation), default=None)


def _behind(before: StrideInfo | None, layer: keras.layers.Layer, output_stride: int) -> StrideInfo | None:
    if before is None or isinstance(layer, _GLOBAL):
        return None
    nominal, stride, dilation = before.nominal, before.stride, before.dilation
    for factor in _strides(layer):
        nominal *= factor
        if stride * factor <= output_stride:
            stride *= factor
        else:
            dilation *= factor
    return StrideInfo(nominal, stride, dilation)


def _strides(layer: keras.layers.Layer) -> Iterator[int]:
    if isinstance(layer, keras.Sequential):
        for each in layer.layers:
            yield from _strides(each)
    elif isinstance(layer, (*_CONVOLUTIONS, *_POOLINGS)) and layer.strides[0] > 1:
        yield int(layer.strides[0])


def _edit(
    layer: keras.layers.Layer, before: StrideInfo, output_stride: int, dilate_strided: bool, factor: int
) -> dict[str, Any]:
    """What must change in a layer's config; nothing for most."""
    if isinstance(layer, keras.Sequential):
        place, inner = before, {}
        for each in layer.layers:
            change = _edit(each, place, output_stride, dilate_strided, factor)
            if change:
                inner[each.name] = change
            place = _behind(place, each, output_stride) or place
        return {"layers": inner} if inner else {}
    if not isinstance(layer, (*_CONVOLUTIONS, *_POOLINGS)):
        return {}
    behind = _behind(before, layer, output_stride) or before
    loosened = behind.dilation > before.dilation
    dilation = (behind if dilate_strided and loosened else before).dilation * factor
    if isinstance(layer, _POOLINGS):
        if not loosened and dilation == 1:
            return {}
        if tuple(layer.pool_size) == (1, 1):
            return {"strides": (1, 1)}
        return {"pool_dilation": dilation}
    spatial = max(layer.kernel_size) > 1
    if not loosened and not (spatial and dilation > 1):
        return {}
    edit: dict[str, Any] = {"strides": (1, 1), "dilation_rate": (dilation, dilation) if spatial else (1, 1)}
    if loosened and layer.padding == "valid" and not _is_padded(layer):
        edit["padding"] = "same"
    return edit


def _padding_before(layer: keras.layers.Layer, edit: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Widen the padding layer that feeds an edited convolution, so that its result keeps the map's size."""
    if not isinstance(layer, _CONVOLUTIONS) or layer.padding != "valid" or not _is_padded(layer):
        return {}
    dilation = edit.get("dilation_rate", (1, 1))[0]
    height, width = ((side - 1) * dilation // 2 for side in layer.kernel_size)
    return {_sources(layer)[0].name: {"padding": ((height, height), (width, width))}}


def _padded_alike(layer: keras.layers.Layer) -> dict[str, Any]:
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) or layer.strides[0] == 1:
        return {}
    if layer.padding == "same" and isinstance(layer, keras.layers.Conv2D):
        return {"symmetric": True}
    return {"padding": "valid"} if layer.padding == "valid" and _is_padded(layer) else {}


def _is_padded(layer: keras.layers.Layer) -> bool:
    sources = _sources(layer)
    return len(sources) == 1 and isinstance(sources[0], keras.layers.ZeroPadding2D)


def _sources(layer: keras.layers.Layer) -> Sequence[keras.layers.Layer]:
    # A layer inside a Sequential has nodes of its own model only.
    nodes = layer._inbound_nodes
    return [tensor._keras_history.operation for tensor in nodes[0].input_tensors] if nodes else []


def clone_layer(layer: keras.layers.Layer, edit: dict[str, Any], name: str) -> keras.layers.Layer:
    """Copy a layer under a new name with changes to its config; segtrain's faster layers replace Keras' own."""
    if isinstance(layer, keras.Sequential):
        inner = edit.get("layers", {})
        return keras.Sequential(
            [clone_layer(each, inner.get(each.name, {}), each.name) for each in layer.layers], name=name
        )
    if "pool_dilation" in edit:
        is_max = isinstance(layer, keras.layers.MaxPooling2D)
        return DilatedPooling2D("max" if is_max else "mean", layer.pool_size, edit["pool_dilation"], name=name)
    # By name: that of ConvNeXt is private to Keras.
    ours = {"BatchNormalization": BatchNormalization, "Conv2D": Conv2D, "LayerScale": LayerScale}
    kind: Any = ours.get(type(layer).__name__, type(layer))
    config: dict[str, Any] = layer.get_config()
    return kind.from_config({**config, **edit, "name": name})
