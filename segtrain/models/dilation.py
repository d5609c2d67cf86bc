"""Replace strides of a backbone by dilation, for finer features (arXiv:1706.05587, section 3.1).

Without its stride s a layer returns s times as many features per side. Dilating all later layers by s lets each kernel
read the same pixels as before, so that features at the positions of the strided network are unchanged ("atrous
consistency"). Dilation does not change shapes of weights: stock weights fit every output stride.
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
    """Stride and dilation at a layer's output.

    Attributes:
        nominal: Stride in the undilated network, in pixels.
        stride: Stride after dilation, in pixels.
        dilation: Dilation of later kernels, in features.
    """

    nominal: int = 1
    stride: int = 1
    dilation: int = 1


def stride_infos(network: keras.Model, output_stride: int) -> dict[str, StrideInfo | None]:
    """Compute the stride at each layer of a network whose strides stop at `output_stride`.

    Returns:
        Name of each layer -> stride and dilation at its output; None if the output is not a map, as the gate of a
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
        output_stride: Maximum stride; larger ones become dilation.
        multi_grid: Name of a layer -> additional factor of its dilation.
        dilate_strided: Dilate also the convolutions that lose their stride, as segmentation_models.pytorch does; the
            features then differ from the undilated network's.
        padding: "symmetric" pads strided convolutions equally on all sides, as torch does.
        names: Name of a layer -> its new name.

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
    """Return the stride info of a layer's input; of several inputs, that of the deepest map."""
    if isinstance(layer, keras.layers.InputLayer):
        return StrideInfo()
    sources = [found[source.name] for source in _sources(layer)]
    maps = [info for info in sources if info is not None]
    return max(maps, key=lambda info: (info.nominal, info.dilation), default=None)


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
    """Return the changes to a layer's config; empty for most layers."""
    if isinstance(layer, keras.Sequential):
        info, inner = before, {}
        for each in layer.layers:
            change = _edit(each, info, output_stride, dilate_strided, factor)
            if change:
                inner[each.name] = change
            info = _behind(info, each, output_stride) or info
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
