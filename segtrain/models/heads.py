"""Further heads on a backbone, in addition to the main one: auxiliary losses during training.

B batch, H height, W width, C channels, K classes. Stages are identified by their stride in the undilated backbone.
"""

import difflib
from typing import Any

import keras

from segtrain.errors import ConfigError, argument
from segtrain.limits import Channels, DropRate, limited
from segtrain.models.backbones import Backbone
from segtrain.models.blocks import conv_block
from segtrain.models.layers import ResizeLike

EDGE_STAGES = (4, 8, 16)


@limited
def auxiliary(
    backbone: Backbone,
    num_classes: int,
    *,
    name: str = "auxiliary",
    tap: str | None = None,
    channels: Channels | None = None,
    dropout: DropRate = 0.1,
) -> Any:
    """Classify an earlier stage as well, so that gradients reach it on a short way (arXiv:1612.01105, section 4).

    An FCN of one 3x3 convolution: the layers of torchvision's `aux_classifier`.

    Args:
        backbone: Read at its stage 16.
        num_classes: K, channels of the logits.
        name: Its key under `heads`, with which its layers' names begin.
        tap: Layer to read instead of stage 16.
        channels: Channels of the 3x3 convolution; a quarter of the tap's where None.
        dropout: Fraction of its result set to zero during training.

    Returns:
        (B, H, W, K) logits, float32.

    Raises:
        ConfigError: The tap or stage does not exist, or an option is out of range.
    """
    features = _stage(backbone, 16) if tap is None else _layer(backbone, tap)
    if channels is None:
        channels = max(1, features.shape[-1] // 4)
    x = conv_block(features, channels, 3, name)  # (B, h, w, channels)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return _resize(_score(x, num_classes, 1, f"{name}_classifier"), backbone.pixels, f"{name}_upsampling")


@limited
def edges(backbone: Backbone, num_classes: int, *, name: str = "edges", channels: Channels = 256) -> Any:
    """Find where classes meet, from three stages: the edge branch of CE2P for human parsing (arXiv:1809.05996).

    After its section 3.3, with these differences: an edge is one logit, not the softmax of two; each stage has a 3x3
    scorer of its own, while the authors' code uses one for all; and the branch's features are not fed into the parsing
    network: edges help by way of the backbone alone, and the network is the same with and without them.

    Args:
        backbone: Read at its stages 4, 8 and 16.
        num_classes: Unused: an edge is one logit for any classes.
        name: Its key under `heads`, with which its layers' names begin.
        channels: What each stage is projected to.

    Returns:
        (B, H, W, 1) logits, float32: positive where an edge is likelier than none.

    Raises:
        ConfigError: The backbone lacks a stage, or an option is out of its range.
    """
    features = {stride: _stage(backbone, stride) for stride in EDGE_STAGES}
    finest = features[EDGE_STAGES[0]]
    scores = []
    for stride, stage in features.items():
        x = conv_block(stage, channels, 1, f"{name}_{stride}")  # (B, H/stride, W/stride, channels)
        x = _score(x, 1, 3, f"{name}_{stride}_score")
        scores.append(x if stride == EDGE_STAGES[0] else _resize(x, finest, f"{name}_{stride}_upsampling"))
    x = keras.layers.Concatenate(dtype="float32", name=f"{name}_concat")(scores)  # (B, H/4, W/4, 3)
    return _resize(_score(x, 1, 1, f"{name}_classifier"), backbone.pixels, f"{name}_upsampling")


def _score(x: Any, filters: int, kernel_size: int, name: str) -> Any:
    # Logits stay in float32 under mixed precision.
    return keras.layers.Conv2D(filters, kernel_size, padding="same", dtype="float32", name=name)(x)


def _resize(x: Any, like: Any, name: str) -> Any:
    return ResizeLike(dtype="float32", name=name)([x, like])


def _stage(backbone: Backbone, stride: int) -> Any:
    if stride not in backbone.stages:
        there = ", ".join(map(str, sorted(backbone.stages)))
        raise ConfigError(
            f"the backbone has no stage at stride {stride}, only {there}. Fix: name a layer at that "
            f"stride in the backbone's `stages`, or leave the head out"
        )
    return backbone.stages[stride]


def _layer(backbone: Backbone, tap: str) -> Any:
    maps = {layer: tensor for layer, tensor in backbone.tensors.items() if len(tensor.shape) == 4}
    if tap not in maps:
        near = difflib.get_close_matches(tap, maps, n=3, cutoff=0.4) or [backbone.high_tap]
        raise ConfigError(
            f"{argument('tap')}={tap}: the backbone has no such map, nearest are {', '.join(near)}. Fix: "
            f"{argument('tap')}={near[0]}"
        )
    return maps[tap]
