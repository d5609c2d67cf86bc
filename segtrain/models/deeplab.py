"""DeepLabV3 (arXiv:1706.05587) and DeepLabV3+ (arXiv:1802.02611): ASPP on the deep tap, with or without a decoder."""

from collections.abc import Sequence
from typing import Any

import keras

from segtrain.errors import ConfigError, argument
from segtrain.limits import Channels, Dilation, DropRate, Layers, limited
from segtrain.models.backbones import Backbone
from segtrain.models.blocks import aspp, classify, conv_block
from segtrain.models.layers import ResizeLike


@limited
def deeplabv3(
    backbone: Backbone,
    num_classes: int,
    *,
    aspp_dilations: Sequence[Dilation] | None = None,
    aspp_channels: Channels = 256,
    head_convolutions: Layers = 0,
    separable: bool = False,
    depthwise_norm: bool = True,
    dropout: DropRate = 0.1,
    conv_bias: bool = False,
    pool_bias: bool = False,
    aspp_relu: bool = True,
    classifier_before_upsampling: bool = True,
    align_corners: bool = False,
    single_logit: bool = False,
) -> keras.Model:
    """Build DeepLabV3 from raw RGB pixels to logits, for images of any size.

    Args:
        backbone: The tap to build on.
        num_classes: K, channels of the logits.
        aspp_dilations: Dilation of each 3x3 branch of the ASPP, in features of the deep tap; None is the paper's
            6, 12, 18 at output stride 16, doubled at 8 and halved at 32.
        aspp_channels: Channels of the ASPP.
        head_convolutions: 3x3 convolutions between ASPP and classifier: none in the paper, 1 in torchvision.
        separable: Use depthwise-separable 3x3 convolutions.
        depthwise_norm: Put batch norm and ReLU between their two halves.
        dropout: Fraction of the ASPP's result set to zero during training.
        conv_bias: Give every convolution before a batch norm a bias.
        pool_bias: Give the ASPP's pooled branch one, as the keras.io program does.
        aspp_relu: End each convolution of the ASPP with a ReLU.
        classifier_before_upsampling: Classify at the tap's resolution, see `classify`.
        align_corners: How the logits are upsampled, see `ResizeLike`.
        single_logit: Two classes from one filter, see `classify`.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: An option is out of its range.
    """
    _check_classes(num_classes, single_logit)
    options = {"separable": separable, "depthwise_norm": depthwise_norm, "conv_bias": conv_bias}
    x = aspp(
        backbone.high,
        aspp_channels=aspp_channels,
        aspp_dilations=_dilations(aspp_dilations, backbone.output_stride),
        pool_bias=pool_bias,
        aspp_relu=aspp_relu,
        dropout=dropout,
        **options,
    )  # (B, h, w, C)
    x = _convolutions(x, aspp_channels, "head", head_convolutions, **options)
    logits = classify(
        x,
        backbone,
        num_classes,
        classifier_before_upsampling=classifier_before_upsampling,
        align_corners=align_corners,
        single_logit=single_logit,
    )
    return keras.Model(backbone.pixels, logits, name="deeplabv3")


@limited
def deeplabv3plus(
    backbone: Backbone,
    num_classes: int,
    *,
    aspp_dilations: Sequence[Dilation] | None = None,
    aspp_channels: Channels = 256,
    aspp_convolutions: Layers = 0,
    low_level_channels: Channels = 48,
    decoder_channels: Channels = 256,
    decoder_convolutions: Layers = 2,
    separable: bool = True,
    depthwise_norm: bool = True,
    dropout: DropRate = 0.1,
    conv_bias: bool = False,
    pool_bias: bool = False,
    relu_before_norm: bool = False,
    classifier_before_upsampling: bool = True,
    align_corners: bool = False,
    single_logit: bool = False,
) -> keras.Model:
    """Build DeepLabV3+ from raw RGB pixels to logits, for images of any size.

    Args:
        backbone: The taps to build on.
        num_classes: K, channels of the logits.
        aspp_dilations: Dilation of each 3x3 branch of the ASPP, in features of the deep tap; None is the paper's
            6, 12, 18 at output stride 16, doubled at 8 and halved at 32.
        aspp_channels: Channels of the ASPP.
        aspp_convolutions: 3x3 convolutions after the ASPP: none in the paper, 1 in segmentation_models.pytorch.
        low_level_channels: Channels that the early tap is projected to (48 in the paper).
        decoder_channels: Channels of the decoder's 3x3 convolutions.
        decoder_convolutions: How many there are (2 in the paper).
        separable: Use depthwise-separable 3x3 convolutions in ASPP and decoder.
        depthwise_norm: Put batch norm and ReLU between their two halves.
        dropout: Fraction of the ASPP's result set to zero during training.
        conv_bias: Give every convolution before a batch norm a bias.
        pool_bias: Give the ASPP's pooled branch one, as the keras.io program does.
        relu_before_norm: Put one more ReLU before each batch norm of the decoder, as the idiotdeveloper program does.
        classifier_before_upsampling: Classify at the decoder's resolution, see `classify`.
        align_corners: How maps are upsampled, see `ResizeLike`.
        single_logit: Two classes from one filter, see `classify`.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: An option is out of its range.
    """
    _check_classes(num_classes, single_logit)
    options = {"separable": separable, "depthwise_norm": depthwise_norm, "conv_bias": conv_bias}
    x = aspp(
        backbone.high,
        aspp_channels=aspp_channels,
        aspp_dilations=_dilations(aspp_dilations, backbone.output_stride),
        pool_bias=pool_bias,
        dropout=dropout,
        **options,
    )  # (B, h, w, C)
    x = _convolutions(x, aspp_channels, "aspp_head", aspp_convolutions, **options)
    low_level = conv_block(backbone.low, low_level_channels, 1, "low_level", conv_bias=conv_bias)  # (B, h', w', C')
    x = ResizeLike(align_corners, name="decoder_upsampling")([x, low_level])
    x = keras.layers.Concatenate(name="decoder_concat")([x, low_level])
    x = _convolutions(
        x, decoder_channels, "decoder", decoder_convolutions, relu_before_norm=relu_before_norm, **options
    )
    logits = classify(
        x,
        backbone,
        num_classes,
        classifier_before_upsampling=classifier_before_upsampling,
        align_corners=align_corners,
        single_logit=single_logit,
    )
    return keras.Model(backbone.pixels, logits, name="deeplabv3plus")


def _convolutions(x: Any, channels: int, name: str, count: int, **options: bool) -> Any:
    for index in range(1, count + 1):
        x = conv_block(x, channels, 3, f"{name}_{index}", **options)
    return x


def _dilations(aspp_dilations: Sequence[int] | None, output_stride: int) -> list[int]:
    """Return the ASPP's dilations; derived ones span the same part of the image at every output stride."""
    if aspp_dilations is None:
        return [dilation * 16 // output_stride for dilation in (6, 12, 18)]
    if not aspp_dilations:
        raise ConfigError(
            f"{argument('aspp_dilations')}=[]: expected at least one, as [6, 12, 18]. Fix: "
            f"{argument('aspp_dilations')}=null, which derives them from the output stride"
        )
    return list(aspp_dilations)


def _check_classes(num_classes: int, single_logit: bool) -> None:
    if single_logit and num_classes != 2:
        raise ConfigError(
            f"{argument('single_logit')}=true: the dataset has {num_classes} classes, expected 2. Fix: "
            f"{argument('single_logit')}=false"
        )
