"""Random changes to a photograph and its labels together.

An augmentation is called with `(image, labels, rng)` and returns both at the crop's size: (H, W, 3) and (H, W). All
randomness comes from `rng`, which `batches` keys by seed, epoch and sample. Labels are never interpolated, but where
`Resize(labels_interpolation="bilinear")` asks for that very defect.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np

from segtrain.errors import ConfigError

Augmentation = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]

# What crops show beyond the photograph's edge: ImageNet's mean colour, near zero after any normalisation.
PADDING_COLOR = (124, 116, 104)


class ScaleCropFlip:
    """DeepLab's training augmentation: random scale, random crop with padding, random mirror (arXiv:1706.05587, 4.1).

    Args:
        crop_size: Height and width of the result, in pixels.
        ignore_class: What the labels hold beyond the photograph's edge.
        swap_pairs: Ids that change places in a mirrored photograph.
        scale: Smallest and largest factor; drawn uniformly.
        flip: Probability of a mirror image.

    Raises:
        ConfigError: `scale` is not two growing positive numbers, or `flip` is no probability.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        ignore_class: int,
        swap_pairs: Sequence[tuple[int, int]],
        scale: Sequence[float] = (0.5, 2.0),
        flip: float = 0.5,
    ) -> None:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] < math.inf:
            raise ConfigError(
                f"augment.scale={list(scale)}: expected the smallest and the largest factor, as [0.5, 2.0]"
            )
        if not 0 <= flip <= 1:
            raise ConfigError(f"augment.flip={flip}: expected a probability, 0..1")
        self._crop_size = crop_size
        self._ignore_class = ignore_class
        self._scale = scale
        self._flip = flip
        self._mirrored_class = mirrored_classes(swap_pairs)

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        scale = rng.uniform(self._scale[0], self._scale[1])
        rows, height, top = _window(labels.shape[0], self._crop_size[0], scale, rng)
        columns, width, left = _window(labels.shape[1], self._crop_size[1], scale, rng)
        # Cut the window first, then scale only that: exact for labels, and a fraction of the work at scale 2.
        image, labels = image[rows, columns], labels[rows, columns]
        if labels.shape != (height, width):
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            # INTER_NEAREST shifts labels by up to a pixel; only the exact variant keeps pixel centres in place.
            labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        if (height, width) != self._crop_size:
            bottom, right = self._crop_size[0] - height - top, self._crop_size[1] - width - left
            image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=PADDING_COLOR)
            labels = cv2.copyMakeBorder(labels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=self._ignore_class)
        if rng.random() < self._flip:
            image, labels = cv2.flip(image, 1), cv2.LUT(cv2.flip(labels, 1), self._mirrored_class)
        return image, labels


class Resize:
    """Squeeze the whole photograph to the crop's size, without regard to its proportions, and nothing else.

    Args:
        crop_size: Height and width of the result, in pixels.
        labels_interpolation: "nearest", or "bilinear" as the keras.io program of 2021 does to its masks: the fractions
            between two classes are cut to whole numbers, and so become classes that were never there.
    """

    def __init__(
        self, crop_size: tuple[int, int], labels_interpolation: Literal["nearest", "bilinear"] = "nearest"
    ) -> None:
        if labels_interpolation not in ("nearest", "bilinear"):
            raise ConfigError(f"augment.labels_interpolation={labels_interpolation}: expected nearest or bilinear")
        self._size = (crop_size[1], crop_size[0])
        self._labels_interpolation = labels_interpolation

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        image = cv2.resize(image, self._size, interpolation=cv2.INTER_LINEAR)
        if self._labels_interpolation == "bilinear":
            fractions = cv2.resize(labels.astype(np.float32), self._size, interpolation=cv2.INTER_LINEAR)
            return image, fractions.astype(np.uint8)
        return image, cv2.resize(labels, self._size, interpolation=cv2.INTER_NEAREST_EXACT)


def mirrored_classes(swap_pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Tabulate what each id becomes in a mirrored photograph, (256,) uint8."""
    table = np.arange(256, dtype=np.uint8)
    for left, right in swap_pairs:
        table[left], table[right] = right, left
    return table


def _window(length: int, crop: int, scale: float, rng: np.random.Generator) -> tuple[slice, int, int]:
    """Choose along one axis: which source pixels, the length they are scaled to, where that stands in the crop."""
    scaled = max(1, round(length * scale))
    if scaled <= crop:
        return slice(0, length), scaled, int(rng.integers(crop - scaled + 1))
    taken = min(length, max(1, round(crop / scale)))
    start = int(rng.integers(length - taken + 1))
    return slice(start, start + taken), crop, 0
