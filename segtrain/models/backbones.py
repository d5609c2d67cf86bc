"""Backbones of keras.applications and torchvision, with their preprocessing, at output stride 8, 16 or 32.

A tap is the name of a layer whose output a head reads. `high` is deep and coarse (read by the ASPP), `low` is early and
fine (read by the decoder). Other models: `custom_backbone.backbone_from`.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import keras

from segtrain.errors import ConfigError, argument
from segtrain.limits import Limits, Stride, limited
from segtrain.models.dilation import Padding, rebuild, stride_infos
from segtrain.models.layers import Preprocessing, PreprocessingMode
from segtrain.models.taps import (
    grid_factors,
    last_of_each_stride,
    named_stages,
    require_map,
    require_stride,
    stable_names,
)
from segtrain.models.torch_resnet import BLOCKS, torch_resnet_network

OUTPUT_STRIDES = (8, 16, 32)

# What keras.applications' weights were trained with, by module; those that bring it along inside need "none".
_PREPROCESSING: dict[str, PreprocessingMode] = {
    "convnext": "none",
    "densenet": "torch",
    "efficientnet": "none",
    "efficientnet_v2": "none",
    "mobilenet_v3": "none",
    "resnet": "caffe",
    "vgg16": "caffe",
    "vgg19": "caffe",
}


class Backbone(NamedTuple):
    """A backbone: the symbolic tensors that a head is built on.

    Attributes:
        pixels: (B, H, W, 3) raw RGB, 0-255: the network's input.
        high: (B, h, w, C) deep features, at `output_stride`.
        low: (B, h', w', C') early features.
        high_tap: Name of the layer that gives `high`.
        low_tap: Name of the layer that gives `low`.
        stages: Stride in the undilated network (2, 4, 8, 16, 32) -> the last features at it. In a dilated network the
            deeper ones all have stride `output_stride`.
        output_stride: Stride of `high`, in pixels.
        tensors: Name of each layer of the backbone -> its output.
        source: Source of the initial weights.
    """

    pixels: Any
    high: Any
    low: Any
    high_tap: str
    low_tap: str
    stages: dict[int, Any]
    output_stride: int
    tensors: Mapping[str, Any]
    source: "WeightSource"


class WeightSource(NamedTuple):
    """Source of a backbone's weights, which are loaded after the network around it is built.

    Attributes:
        weights: None for random weights, "imagenet", or a path.
        partial_weights: Whether layers that the file lacks may keep their random weights.
        stock: Builds the network of keras.applications with its ImageNet weights; None for other networks.
        values: Path of a variable -> its initial value, of a model that was given with its weights.
    """

    weights: str | None
    partial_weights: bool
    stock: Callable[[], keras.Model] | None
    values: Mapping[str, Any] | None = None


@limited
def application(
    *,
    name: str,
    stages: Sequence[str] | None = None,
    blocks: Sequence[str] = (),
    high: str | None = None,
    low: str | None = None,
    output_stride: int = 16,
    multi_grid: Sequence[Stride] | None = None,
    dilate_strided: bool = False,
    padding: Padding = "keras",
    alpha: Annotated[float, Limits(0.1, 4)] | None = None,
    weights: str | None = "imagenet",
    partial_weights: bool = False,
    preprocessing: PreprocessingMode | None = None,
) -> Backbone:
    """Build a backbone of keras.applications, at output stride 8, 16 or 32.

    Args:
        name: Name in keras.applications: ResNet50, MobileNetV2, ConvNeXtTiny.
        stages: The last layer at each stride 2, 4, 8, 16, 32 of the undilated network; detected where None.
        blocks: Prefixes of the layer names of the last stage's blocks, for `multi_grid`.
        high: Layer of the deep tap, at `output_stride`; the last of `stages` where None.
        low: Layer of the early tap; the one of `stages` at stride 4 where None.
        output_stride: Stride of the deep features in pixels: larger strides are replaced by dilation.
        multi_grid: Additional factor of the dilation for each of the last stage's blocks, as [1, 2, 4]
            (arXiv:1706.05587, section 3.2).
        dilate_strided: Dilate also the convolutions that lose their stride, as segmentation_models.pytorch does.
        padding: "symmetric" pads strided convolutions equally on all sides, as torch does; for weights from torch.
        alpha: Factor of all channel counts, for MobileNets.
        weights: None for random weights, "imagenet", or the path of a file of Keras weights.
        partial_weights: Keep random weights in layers that the file lacks instead of raising an error.
        preprocessing: Conversion of raw pixels, see `Preprocessing`; the one of the ImageNet weights where None.

    Raises:
        ConfigError: The network, a tap or a block does not exist, or a tap has another stride.
    """
    build = getattr(keras.applications, name, None)
    if not callable(build) or not name[:1].isupper():
        known = [each for each in dir(keras.applications) if each[0].isupper()]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
        raise ConfigError(
            f"{argument('name')}={name}: keras.applications has no such network, nearest are {', '.join(near)}. Fix: "
            f"{argument('name')}={near[0]}"
        )
    if build.__module__.endswith(".nasnet"):
        raise ConfigError(
            f"{argument('name')}={name}: keras.applications builds it for one size of images only, expected a "
            f"network that takes any. Fix: {argument('name')}=EfficientNetV2B0"
        )
    accepted, options = inspect.signature(build).parameters, dict[str, Any]()
    if alpha is not None:
        if "alpha" not in accepted:
            raise ConfigError(f"{argument('alpha')}={alpha}: {name} has no such factor, expected null")
        options["alpha"] = alpha
    mode = preprocessing or _PREPROCESSING.get(build.__module__.rpartition(".")[2], "tf")
    if mode != "none" and "include_preprocessing" in accepted:
        options["include_preprocessing"] = False
    # At the weights' own size: Keras warns about every other.
    stock = lambda: build(include_top=False, weights="imagenet", input_shape=(224, 224, 3), **options)  # noqa: E731
    return _dilated(
        lambda pixels: build(include_top=False, weights=None, input_tensor=pixels, **options),
        mode,
        _Taps(stages, high, low),
        _Dilation(output_stride, blocks, multi_grid, dilate_strided, padding),
        WeightSource(weights, partial_weights, stock),
    )


@limited
def torch_resnet(
    *,
    depth: int = 50,
    high: str | None = None,
    low: str | None = None,
    output_stride: int = 16,
    multi_grid: Sequence[Stride] | None = None,
    dilate_strided: bool = False,
    weights: str | None = None,
    partial_weights: bool = False,
    preprocessing: PreprocessingMode = "torch",
) -> Backbone:
    """Build torchvision's ResNet ("V1.5"): the stride in the 3x3, no biases, symmetric padding.

    Args:
        depth: 18, 34, 50, 101 or 152.
        high: Layer of the deep tap, at `output_stride`; the last layer where None.
        low: Layer of the early tap; the last at stride 4 where None.
        output_stride: Stride of the deep features in pixels: larger strides are replaced by dilation.
        multi_grid: Additional factor of the dilation for each of the last stage's blocks.
        dilate_strided: Dilate also the convolutions that lose their stride, as segmentation_models.pytorch does.
        weights: None for random weights, or the path of torchvision's state dict (safetensors, or .pth).
        partial_weights: Keep random weights in layers that the file lacks instead of raising an error.
        preprocessing: Conversion of raw pixels, see `Preprocessing`.

    Raises:
        ConfigError: The depth, a tap or a block does not exist, or a tap has another stride.
    """
    if depth not in BLOCKS:
        raise ConfigError(f"{argument('depth')}={depth}: expected one of {', '.join(map(str, BLOCKS))}")
    counts = BLOCKS[depth]
    stages = ["conv1_relu", *(f"conv{stage}_block{count}_out" for stage, count in enumerate(counts, start=2))]
    blocks = [f"conv5_block{block}_" for block in range(1, counts[-1] + 1)]
    return _dilated(
        lambda pixels: torch_resnet_network(pixels, depth),
        preprocessing,
        _Taps(stages, high, low),
        _Dilation(output_stride, blocks, multi_grid, dilate_strided),
        WeightSource(weights, partial_weights, None),
    )


class _Taps(NamedTuple):
    """The arguments of `application` that choose layers."""

    stages: Sequence[str] | None
    high: str | None
    low: str | None


class _Dilation(NamedTuple):
    """The arguments of `application` that replace strides by dilation."""

    output_stride: int
    blocks: Sequence[str]
    multi_grid: Sequence[Stride] | None
    dilate_strided: bool
    padding: Padding = "keras"


def _dilated(
    build: Callable[[Any], keras.Model],
    preprocessing: PreprocessingMode,
    chosen: _Taps,
    dilation: _Dilation,
    source: WeightSource,
) -> Backbone:
    """Build a network on preprocessed pixels, stop its strides at the output stride, and look up its taps."""
    output_stride = dilation.output_stride
    if output_stride not in OUTPUT_STRIDES:
        raise ConfigError(
            f"{argument('output_stride')}={output_stride}: expected 8, 16 or 32. Fix: {argument('output_stride')}=16"
        )
    pixels = keras.Input((None, None, 3), name="pixels")
    plain = build(Preprocessing(preprocessing, name="preprocessing")(pixels))
    names = stable_names(plain)
    try:
        network = rebuild(
            plain,
            output_stride,
            multi_grid=grid_factors(plain, dilation.blocks, dilation.multi_grid),
            dilate_strided=dilation.dilate_strided,
            padding=dilation.padding,
            names=names,
        )
    except ValueError as error:
        raise ConfigError(
            f"{argument('output_stride')}={output_stride}: {plain.name} cannot be dilated "
            f"({' '.join(str(error).split())[:150]}). Fix: {argument('output_stride')}=32"
        ) from error
    found = {names[layer]: info for layer, info in stride_infos(plain, output_stride).items() if info is not None}
    taps = last_of_each_stride(found, network) if chosen.stages is None else named_stages(chosen.stages, found, network)
    high, low = chosen.high or taps[max(taps)], chosen.low or taps.get(4, taps[min(taps)])
    for key, tap in (("high", high), ("low", low)):
        require_map(argument(key), tap, found, network)
    require_stride("high", high, found, output_stride, found[high].stride == output_stride)
    require_stride("low", low, found, 4, found[low].stride < output_stride)
    tensors = {layer.name: layer.output for layer in network.layers}
    return Backbone(
        pixels,
        tensors[high],
        tensors[low],
        high,
        low,
        {stride: tensors[layer] for stride, layer in taps.items()},
        output_stride,
        tensors,
        source,
    )
