"""Test-time augmentation: mean class probabilities over scaled and mirrored images (DeepLab, arXiv:1802.02611, sec. 4).

H height, W width, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from segtrain.inference.options import Tta


def mean_probabilities(
    logits: Callable[[Any], Any], image: np.ndarray, tta: Tta, flip_pairs: Sequence[Sequence[int]] = ()
) -> np.ndarray:
    """Return the softmax probabilities of an image, averaged over its scaled and mirrored variants.

    An image is scaled bilinearly to round(scale H) x round(scale W) pixels, its logits are resized to (H, W), and a
    mirrored image's are mirrored back, with left and right classes exchanged.

    Args:
        logits: From pixels (1, h, w, 3) float32 to logits (1, h, w, K) float32.
        image: (H, W, 3) uint8 RGB.
        tta: Scales, and whether to mirror.
        flip_pairs: Ids of (left, right) classes.

    Returns:
        (H, W, K) float32.
    """
    size = image.shape[:2]
    pixels = tf.cast(image[None], tf.float32)
    total: Any = 0
    for scale in tta.scales:
        scaled_size = [max(1, round(scale * length)) for length in size]
        scaled = pixels if scale == 1 else tf.image.resize(pixels, scaled_size)
        for mirror in (False, True) if tta.flip else (False,):
            found = logits(scaled[:, :, ::-1] if mirror else scaled)
            if mirror:
                found = found[:, :, ::-1]
            if scale != 1:
                found = tf.image.resize(found, size)
            probabilities = tf.nn.softmax(found)
            if mirror and len(flip_pairs):
                probabilities = tf.gather(probabilities, swapped(probabilities.shape[-1], flip_pairs), axis=-1)
            total += probabilities
    number = len(tta.scales) * (2 if tta.flip else 1)
    return (total / number)[0].numpy()


def swapped(num_classes: int, flip_pairs: Sequence[Sequence[int]]) -> list[int]:
    """Return the class ids with left and right exchanged."""
    order = list(range(num_classes))
    for left, right in flip_pairs:
        order[left], order[right] = right, left
    return order
