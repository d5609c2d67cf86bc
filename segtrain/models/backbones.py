"""Backbones: where features come from. Each is a function that returns its taps, wired to its own preprocessing.

A tap is a layer by name. `high` is deep and coarse (the ASPP reads it), `low` is early and fine (the decoder reads it).
"""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from segtrain.errors import ConfigError
from segtrain.models.layers import Preprocessing, PreprocessingMode, with_fused_batch_norm
from segtrain.models.weights import load_backbone_weights


class Backbone(NamedTuple):
    """A backbone up to its taps: the symbolic tensors that a head is built on.

    Attributes:
        pixels: (B, H, W, 3) raw RGB, 0-255: the network's input.
        high: (B, h, w, C) deep features.
        low: (B, h', w', C') early features.
        high_tap: Name of the layer that gives `high`.
        low_tap: Name of the layer that gives `low`.
    """

    pixels: Any
    high: Any
    low: Any
    high_tap: str
    low_tap: str


def resnet50(
    *,
    high: str = "conv4_block6_out",
    low: str = "conv2_block3_out",
    weights: str | None = "imagenet",
    preprocessing: PreprocessingMode = "caffe",
) -> Backbone:
    """ResNet-50 (He et al. 2015, arXiv:1512.03385) as in keras.applications.

    Args:
        high: Layer of the deep tap; `conv4_block6_out` lies at stride 16 with 1,024 channels.
        low: Layer of the early tap; `conv2_block3_out` lies at stride 4 with 256 channels.
        weights: None for random weights, "imagenet", or the path of a file of Keras weights.
        preprocessing: What the pixels go through; "caffe" is what the ImageNet weights were trained with.

    Raises:
        ConfigError: A tap is no layer of this network.
        CheckpointError: The weights cannot be had.
    """
    return _backbone(keras.applications.ResNet50, {}, high, low, weights, preprocessing)


def mobilenet_v2(
    *,
    high: str = "block_13_expand_relu",
    low: str = "block_3_expand_relu",
    alpha: float = 1.0,
    weights: str | None = "imagenet",
    preprocessing: PreprocessingMode = "tf",
) -> Backbone:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) as in keras.applications.

    Args:
        high: Layer of the deep tap; `block_13_expand_relu` lies at stride 16 with 576 channels at alpha 1.
        low: Layer of the early tap; `block_3_expand_relu` lies at stride 4 with 144 channels at alpha 1.
        alpha: Factor of all channel counts.
        weights: None for random weights, "imagenet", or the path of a file of Keras weights.
        preprocessing: What the pixels go through; "tf" is what the ImageNet weights were trained with.

    Raises:
        ConfigError: A tap is no layer of this network.
        CheckpointError: The weights cannot be had.
    """
    return _backbone(keras.applications.MobileNetV2, {"alpha": alpha}, high, low, weights, preprocessing)


def _backbone(
    application: Callable[..., keras.Model],
    arguments: dict[str, Any],
    high: str,
    low: str,
    weights: str | None,
    preprocessing: PreprocessingMode,
) -> Backbone:
    pixels = keras.Input((None, None, 3), name="pixels")
    normalised = Preprocessing(preprocessing, name="preprocessing")(pixels)
    network = application(include_top=False, weights=None, input_tensor=normalised, **arguments)
    taps = with_fused_batch_norm(keras.Model(pixels, [_tap(network, high, "high"), _tap(network, low, "low")]))
    if weights is not None:
        load_backbone_weights(taps, application, arguments, weights)
    high_output, low_output = taps.outputs
    return Backbone(pixels, high_output, low_output, high, low)


def _tap(network: keras.Model, name: str, key: str) -> Any:
    """Return the output of the layer called `name`."""
    names = [layer.name for layer in network.layers]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=4, cutoff=0.4)
        raise ConfigError(
            f"backbone.{key}={name}: no such layer in {network.name}, nearest are {', '.join(near) or names[-1]}. Fix: "
            f"backbone.{key}={near[0] if near else names[-1]}"
        )
    return network.get_layer(name).output
