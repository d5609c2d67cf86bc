"""Plain networks to compare DeepLab with: FCN, U-Net, PSPNet, LR-ASPP and SegFormer's decoder, on any backbone.

B batch, H height, W width, C channels, K classes. Stages are identified by their stride in the undilated backbone.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from segtrain.errors import ConfigError, argument
from segtrain.limits import Channels, DropRate, Stride, limited
from segtrain.models.backbones import Backbone
from segtrain.models.blocks import classify, conv_block
from segtrain.models.layers import ResizeLike
from segtrain.models.pooling import AdaptiveAveragePooling
from segtrain.shell import setting


@limited
def fcn(
    backbone: Backbone,
    num_classes: int,
    *,
    channels: Channels | None = None,
    skips: Sequence[Stride] = (),
    dropout: DropRate = 0.1,
) -> keras.Model:
    """Build a fully convolutional network (Long et al. 2015, arXiv:1411.4038), the simplest head there is.

    One 3x3 convolution stands where the paper has VGG's two large ones, as in later FCNs on ResNet. Skips are those of
    section 4.2: scores of finer stages added on the way up, `[16]` for FCN-16s and `[16, 8]` for FCN-8s.

    Args:
        backbone: Read at its deep tap and at the stages of `skips`.
        num_classes: K, channels of the logits.
        channels: Channels of the 3x3 convolution; null for a quarter of the deep tap's.
        skips: Strides of the stages to add scores of, from coarse to fine.
        dropout: Fraction of the features set to zero before the classifier during training.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: The backbone has no stage at a stride of `skips`, or an option is out of range.
    """
    if list(skips) != sorted(set(skips), reverse=True):
        raise ConfigError(
            f"{argument('skips')}={list(skips)}: expected strides from coarse to fine, each once, as [16, 8]"
        )
    if channels is None:
        channels = max(1, backbone.high.shape[-1] // 4)
    x = conv_block(backbone.high, channels, 3, "head")
    logits = _classifier(num_classes, "classifier")(_dropout(x, dropout))
    for stride in skips:
        features = _stage(backbone, stride, f"{argument('skips')}={list(skips)}: ")
        # Zeros at the start, so that training begins at the network without skips (section 4.2).
        scores = _classifier(num_classes, f"skip_{stride}_classifier", kernel_initializer="zeros")(features)
        logits = _add(logits, scores, f"skip_{stride}")
    return keras.Model(backbone.pixels, _upsample(logits, backbone), name="fcn")


@limited
def unet(
    backbone: Backbone, num_classes: int, *, decoder_channels: Sequence[Channels] = (256, 128, 64, 32)
) -> keras.Model:
    """Build a U-Net (Ronneberger et al. 2015, arXiv:1505.04597, section 2) with the backbone as its contracting path.

    From the deepest stage up, features are resized to the next finer stage, joined with it and go through two 3x3
    convolutions. Bilinear resizing stands for the paper's up-convolutions, and nothing is cropped.

    Args:
        backbone: Read at all its stages; its taps do not count.
        num_classes: K, channels of the logits.
        decoder_channels: Channels at each stage on the way up, from coarse to fine. Fewer numbers than stages end the
            decoder earlier.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: There are more `decoder_channels` than stages, or one is not positive.
    """
    given = list(decoder_channels)
    if not given:
        raise ConfigError(f"{argument('decoder_channels')}=[]: expected at least one number, as [256, 128, 64, 32]")
    deepest, *finer = sorted(backbone.stages, reverse=True)
    if len(given) > len(finer):
        raise ConfigError(
            f"{argument('decoder_channels')}={given}: {len(given)} numbers, expected at most {len(finer)}, one for "
            f"each of the backbone's stages at strides {_listed(finer)}. Fix: "
            f"{setting(argument('decoder_channels'), given[: len(finer)])}"
        )
    x = backbone.stages[deepest]
    for stride, channels in zip(finer, given, strict=False):
        name, features = f"decoder_{stride}", backbone.stages[stride]
        x = ResizeLike(name=f"{name}_upsampling")([x, features])
        x = keras.layers.Concatenate(name=f"{name}_concat")([x, features])
        x = conv_block(x, channels, 3, f"{name}_1")
        x = conv_block(x, channels, 3, f"{name}_2")  # (B, H/stride, W/stride, channels)
    return keras.Model(backbone.pixels, classify(x, backbone, num_classes), name="unet")


@limited
def pspnet(
    backbone: Backbone,
    num_classes: int,
    *,
    bins: Sequence[Stride] = (1, 2, 3, 6),
    channels: Channels = 512,
    dropout: DropRate = 0.1,
) -> keras.Model:
    """Build PSPNet (Zhao et al. 2016, arXiv:1612.01105, section 3.2): the deep tap joined with its means over grids.

    Args:
        backbone: Read at its deep tap.
        num_classes: K, channels of the logits.
        bins: Cells per side of each level of the pyramid. N levels get 1/N of the deep tap's channels each.
        channels: Channels of the 3x3 convolution over tap and pyramid.
        dropout: Fraction of the features set to zero before the classifier during training.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: An option is out of range.
    """
    if not bins or len(set(bins)) < len(bins):
        raise ConfigError(f"{argument('bins')}={list(bins)}: expected positive numbers, each once, as [1, 2, 3, 6]")
    levels = [backbone.high]
    for size in bins:
        name = f"pyramid_{size}"
        x = AdaptiveAveragePooling(size, name=name)(backbone.high)  # (B, size, size, C)
        x = conv_block(x, backbone.high.shape[-1] // len(bins), 1, name)
        levels.append(ResizeLike(name=f"{name}_upsampling")([x, backbone.high]))
    x = keras.layers.Concatenate(name="pyramid_concat")(levels)
    x = _dropout(conv_block(x, channels, 3, "head"), dropout)
    return keras.Model(backbone.pixels, classify(x, backbone, num_classes), name="pspnet")


@limited
def lraspp(backbone: Backbone, num_classes: int, *, channels: Channels = 128) -> keras.Model:
    """Build LR-ASPP (Howard et al. 2019, arXiv:1905.02244, section 6.4), made for phones.

    The deep tap, gated channel by channel by its own mean, is classified, and so is the stage at stride 8; the scores
    add up. The mean is over the full map instead of the paper's 49x49 windows, as in torchvision. Scores instead
    of features are resized: the same numbers, since a 1x1 convolution and bilinear weights that sum to 1 commute.

    Args:
        backbone: Read at its deep tap and its stage at stride 8.
        num_classes: K, channels of the logits.
        channels: Channels that the deep tap is projected to.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: The backbone has no stage at stride 8, or `channels` is not positive.
    """
    low = _stage(backbone, 8)
    x = conv_block(backbone.high, channels, 1, "head")
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name="gate_pool")(backbone.high)  # (B, 1, 1, C)
    gate = keras.layers.Conv2D(channels, 1, use_bias=False, activation="sigmoid", name="gate")(gate)
    x = keras.layers.Multiply(name="gated")([x, gate])
    logits = _classifier(num_classes, "classifier")(x)
    logits = _add(logits, _classifier(num_classes, "low_classifier")(low), "low")  # (B, H/8, W/8, K)
    return keras.Model(backbone.pixels, _upsample(logits, backbone), name="lraspp")


@limited
def segformer_mlp(
    backbone: Backbone, num_classes: int, *, channels: Channels = 256, dropout: DropRate = 0.1
) -> keras.Model:
    """Build SegFormer's all-MLP decoder (Xie et al. 2021, arXiv:2105.15203, section 3.2) on four stages.

    Args:
        backbone: Read at its stages at strides 4, 8, 16 and 32; its taps do not count.
        num_classes: K, channels of the logits.
        channels: Channels that each stage is projected to, and of their fusion.
        dropout: Fraction of the features set to zero before the classifier during training.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: The backbone lacks one of the stages, or an option is out of range.
    """
    stages = {stride: _stage(backbone, stride) for stride in (32, 16, 8, 4)}
    levels = []
    for stride, features in stages.items():
        x = keras.layers.Conv2D(channels, 1, name=f"projection_{stride}")(features)
        levels.append(ResizeLike(name=f"projection_{stride}_upsampling")([x, stages[4]]))
    x = keras.layers.Concatenate(name="projection_concat")(levels)  # (B, H/4, W/4, 4 channels)
    x = _dropout(conv_block(x, channels, 1, "fusion"), dropout)
    return keras.Model(backbone.pixels, classify(x, backbone, num_classes), name="segformer_mlp")


def _classifier(num_classes: int, name: str, **options: Any) -> keras.layers.Layer:
    # Logits stay in float32 under mixed precision.
    return keras.layers.Conv2D(num_classes, 1, dtype="float32", name=name, **options)


def _add(logits: Any, finer: Any, name: str) -> Any:
    """Add finer scores to coarser ones."""
    logits = ResizeLike(dtype="float32", name=f"{name}_upsampling")([logits, finer])
    return keras.layers.Add(dtype="float32", name=f"{name}_sum")([logits, finer])


def _upsample(logits: Any, backbone: Backbone) -> Any:
    return ResizeLike(dtype="float32", name="upsampling")([logits, backbone.pixels])


def _dropout(x: Any, fraction: float) -> Any:
    return keras.layers.Dropout(fraction, name="dropout")(x) if fraction else x


def _stage(backbone: Backbone, stride: int, named: str = "") -> Any:
    if stride not in backbone.stages:
        raise ConfigError(
            f"{named}the backbone has no stage at stride {stride}, only {_listed(backbone.stages)}. Fix: name a layer "
            f"at that stride in the backbone's `stages`, or take another backbone"
        )
    return backbone.stages[stride]


def _listed(strides: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(strides)))
