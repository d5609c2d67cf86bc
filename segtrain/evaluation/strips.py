"""Loss and class ids of one image from strips of its logits, so that a large image needs no (H, W, K) array.

H height, W width, K classes.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from segtrain.inference.graphs import reduce_logits
from segtrain.losses import Loss


class Measured(NamedTuple):
    """Prediction and scores of one image.

    Attributes:
        predicted: (H, W) uint8 class ids.
        confidence: (H, W) float32 softmax probability of the predicted class; None unless asked for.
        loss: Mean loss over the pixels that are not ignored.
        logits: (H, W, K) float32; empty where nothing uses them.
        counts: Name of each scored head -> its `Scored.count`.
    """

    predicted: np.ndarray
    confidence: np.ndarray | None
    loss: float
    logits: np.ndarray
    counts: Mapping[str, np.ndarray]


def measure_in_strips(
    strips: Iterable[tuple[slice, np.ndarray]], labels: np.ndarray, loss: Loss, uses_logits: bool
) -> Measured | None:
    """Score an image whose logits come in strips of rows.

    Args:
        strips: Rows of the image, and their logits (n, W, K) float32, from top to bottom.
        labels: (H, W) uint8.
        loss: Called with strips where its sums add up over pixels, else with all logits of the image.
        uses_logits: Whether a metric needs all logits of the image.

    Returns:
        The scores; None if a logit is NaN or infinite.
    """
    predicted, confidence = np.empty(labels.shape, np.uint8), np.empty(labels.shape, np.float32)
    sums: Any = None
    blocks = []
    for rows, block in strips:
        found, certain, is_finite = reduce_logits(block)
        if not is_finite:
            return None
        predicted[rows], confidence[rows] = found.numpy(), certain.numpy()
        if loss.adds_up_over_pixels:
            own = loss.sums(tf.constant(labels[None, rows]), tf.constant(block[None]))
            sums = own if sums is None else keras.tree.map_structure(lambda one, other: one + other, sums, own)
        if uses_logits or not loss.adds_up_over_pixels:
            blocks.append(block)
    logits = np.concatenate(blocks) if blocks else np.zeros(0)
    value = loss.value(sums) if loss.adds_up_over_pixels else loss(labels[None], logits[None])
    return Measured(predicted, confidence, float(value), logits, {})
