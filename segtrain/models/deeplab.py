"""DeepLabV3+: a backbone, ASPP on its deep tap, and a decoder that joins the early tap (arXiv:1802.02611)."""

from collections.abc import Sequence

import keras

from segtrain.errors import ConfigError
from segtrain.models.backbones import Backbone
from segtrain.models.layers import ResizeLike, aspp, conv_block


def deeplabv3plus(
    backbone: Backbone,
    num_classes: int,
    *,
    aspp_dilations: Sequence[int] = (6, 12, 18),
    aspp_channels: int = 256,
    low_level_channels: int = 48,
    decoder_channels: int = 256,
    separable: bool = True,
    dropout: float = 0.1,
    pool_bias: bool = False,
    classifier_before_upsampling: bool = True,
    batch_norm_momentum: float = 0.95,
) -> keras.Model:
    """Build DeepLabV3+ from raw RGB pixels to logits, for photographs of any size.

    Args:
        backbone: The taps to build on.
        num_classes: K, channels of the logits.
        aspp_dilations: Dilation of each 3x3 branch of the ASPP, in pixels of the deep tap.
        aspp_channels: Channels of the ASPP.
        low_level_channels: Channels that the early tap is projected to (48 in the paper).
        decoder_channels: Channels of the decoder's two 3x3 convolutions.
        separable: Use depthwise-separable 3x3 convolutions in ASPP and decoder.
        dropout: Share of the ASPP's result set to zero while training.
        pool_bias: Give the ASPP's pooled branch a bias, as the keras.io program does.
        classifier_before_upsampling: Classify at the decoder's resolution and upsample the logits: the same numbers as
            the other way round, since a 1x1 convolution and bilinear weights that sum to 1 commute, and far cheaper.
        batch_norm_momentum: How slowly batch-norm statistics follow, on every layer. MobileNetV2's own 0.999 needs
            thousands of steps before the network is any good outside of training.

    Returns:
        A model from (B, H, W, 3) pixels in 0-255 to (B, H, W, K) logits.

    Raises:
        ConfigError: A dilation is not positive, or `batch_norm_momentum` is not within 0..1.
    """
    if not aspp_dilations or min(aspp_dilations) < 1:
        raise ConfigError(f"model.aspp_dilations={list(aspp_dilations)}: expected positive numbers, as [6, 12, 18]")
    if not 0 < batch_norm_momentum < 1:
        raise ConfigError(f"model.batch_norm_momentum={batch_norm_momentum}: expected a number between 0 and 1")
    x = aspp(
        backbone.high,
        channels=aspp_channels,
        dilations=tuple(aspp_dilations),
        separable=separable,
        pool_bias=pool_bias,
        dropout=dropout,
    )  # (B, H/16, W/16, C)
    low_level = conv_block(backbone.low, low_level_channels, 1, "low_level")  # (B, H/4, W/4, C)
    x = ResizeLike(name="decoder_upsampling")([x, low_level])
    x = keras.layers.Concatenate(name="decoder_concat")([x, low_level])
    x = conv_block(x, decoder_channels, 3, "decoder_1", separable=separable)
    x = conv_block(x, decoder_channels, 3, "decoder_2", separable=separable)
    # Logits stay in float32 under mixed precision.
    classifier = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="classifier")
    upsample = ResizeLike(dtype="float32", name="upsampling")
    if classifier_before_upsampling:
        logits = upsample([classifier(x), backbone.pixels])
    else:
        logits = classifier(upsample([x, backbone.pixels]))
    model = keras.Model(backbone.pixels, logits, name="deeplabv3plus")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    return model
