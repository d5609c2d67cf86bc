"""Blocks of segtrain's networks: convolution with batch norm, ASPP, classifier.

B batch, H height, W width, C channels; images are RGB, channels last.
"""

from collections.abc import Sequence
from typing import Any

import keras

from segtrain.models.backbones import Backbone
from segtrain.models.convolution import Conv2D, DepthwiseConv2D
from segtrain.models.layers import BatchNormalization, ResizeLike, SigmoidLogits


def conv_block(
    x: Any,
    filters: int,
    kernel_size: int,
    name: str,
    *,
    dilation_rate: int = 1,
    separable: bool = False,
    depthwise_norm: bool = True,
    conv_bias: bool = False,
    relu_before_norm: bool = False,
    relu: bool = True,
) -> Any:
    """Convolution, batch norm, ReLU; separable ones do so twice, once a channel and once a pixel (arXiv:1802.02611).

    Args:
        x: (B, H, W, C) features.
        filters: Channels of the result.
        kernel_size: Side of the kernel.
        name: Prefix of the layers' names.
        dilation_rate: Distance between the kernel's taps, in pixels.
        separable: Split the kernel into a depthwise and a pointwise convolution.
        depthwise_norm: Put batch norm and ReLU between the two.
        conv_bias: Give the convolution a bias although batch norm follows.
        relu_before_norm: Put one more ReLU between convolution and batch norm.
        relu: End with a ReLU.

    Returns:
        (B, H, W, filters) features.
    """
    if separable:
        x = DepthwiseConv2D(
            kernel_size, padding="same", dilation_rate=dilation_rate, use_bias=False, name=f"{name}_depthwise"
        )(x)
        if depthwise_norm:
            x = BatchNormalization(name=f"{name}_depthwise_bn")(x)
            x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(x)
        kernel_size, dilation_rate = 1, 1
    x = Conv2D(
        filters,
        kernel_size,
        padding="same",
        dilation_rate=dilation_rate,
        use_bias=conv_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    if relu_before_norm:
        x = keras.layers.ReLU(name=f"{name}_first_relu")(x)
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def aspp(
    features: Any,
    *,
    aspp_channels: int,
    aspp_dilations: Sequence[int],
    separable: bool = False,
    depthwise_norm: bool = True,
    conv_bias: bool = False,
    pool_bias: bool = False,
    aspp_relu: bool = True,
    dropout: float = 0.0,
) -> Any:
    """Atrous spatial pyramid pooling (ASPP): features at several scales (arXiv:1706.05587, section 3.3).

    Args:
        features: (B, h, w, C) of the backbone.
        aspp_channels: Channels of each branch and of the result.
        aspp_dilations: One 3x3 branch for each.
        separable: Split the 3x3 kernels.
        depthwise_norm: Put batch norm and ReLU between the two halves of a split kernel.
        conv_bias: Give every convolution a bias.
        pool_bias: Give the pooled branch's convolution one.
        aspp_relu: End each convolution with a ReLU.
        dropout: Fraction of the result set to zero during training.

    Returns:
        (B, h, w, aspp_channels) features.
    """
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(features)
    pooled = conv_block(pooled, aspp_channels, 1, "aspp_pool", conv_bias=pool_bias or conv_bias, relu=aspp_relu)
    pooled = ResizeLike(name="aspp_pool_upsampling")([pooled, features])
    branches = [pooled, conv_block(features, aspp_channels, 1, "aspp_1x1", conv_bias=conv_bias, relu=aspp_relu)]
    # Named by index, not by dilation: the same weights fit every output stride.
    for index, dilation_rate in enumerate(aspp_dilations, start=1):
        branch = conv_block(
            features,
            aspp_channels,
            3,
            f"aspp_branch_{index}",
            dilation_rate=dilation_rate,
            separable=separable,
            depthwise_norm=depthwise_norm,
            conv_bias=conv_bias,
            relu=aspp_relu,
        )
        branches.append(branch)
    x = keras.layers.Concatenate(name="aspp_concat")(branches)
    x = conv_block(x, aspp_channels, 1, "aspp_projection", conv_bias=conv_bias, relu=aspp_relu)
    return keras.layers.Dropout(dropout, name="aspp_dropout")(x) if dropout else x


def classify(
    x: Any,
    backbone: Backbone,
    num_classes: int,
    *,
    classifier_before_upsampling: bool = True,
    align_corners: bool = False,
    single_logit: bool = False,
) -> Any:
    """Classify features and upsample to logits at the size of the input, in float32 under every precision.

    Args:
        x: (B, h, w, C) features.
        backbone: Backbone with the input pixels, which give the size of the logits.
        num_classes: K, channels of the logits.
        classifier_before_upsampling: Classify first and upsample the logits: equal to the reverse order,
            since a 1x1 convolution and bilinear weights that sum to 1 commute, and far cheaper.
        align_corners: How to upsample, see `ResizeLike`.
        single_logit: For two classes: one filter, whose sigmoid is the second class' probability.

    Returns:
        (B, H, W, K) logits.
    """
    filters = 1 if single_logit else num_classes
    dtype = "float64" if x.dtype == "float64" else "float32"
    classifier = Conv2D(filters, 1, dtype=dtype, name="classifier")
    upsample = ResizeLike(align_corners, dtype=dtype, name="upsampling")
    if classifier_before_upsampling:
        logits = upsample([classifier(x), backbone.pixels])
    else:
        logits = classifier(upsample([x, backbone.pixels]))
    return SigmoidLogits(dtype=dtype, name="sigmoid_logits")(logits) if single_logit else logits
