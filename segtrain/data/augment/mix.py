"""Steps that put something else into a part of a crop: nothing at all, or another sample."""

from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np

from segtrain.data.augment.augmentation import PADDING_COLOR, Another, Pair, require_range
from segtrain.errors import ConfigError, argument
from segtrain.limits import Limits, Probability, limited


class Cutout:
    """Hide rectangles of the image (arXiv:1708.04552).

    Their labels become `ignore_class`: nobody can tell what is under a gray patch, so nothing is asked about it.

    Args:
        ignore_class: Of the dataset.
        count: Rectangles.
        size: Smallest and largest side, as a share of the crop's; drawn uniformly, for each side anew.
        probability: Of any rectangle.

    Raises:
        ConfigError: An argument is out of its range.
    """

    @limited
    def __init__(
        self,
        ignore_class: int,
        count: Annotated[int, Limits(1, 1000)] = 1,
        size: Sequence[Probability] = (0.1, 0.3),
        probability: Probability = 0.5,
    ) -> None:
        self._ignore_class = ignore_class
        self._count = count
        self._size = require_range("size", size, "[0.1, 0.3]")
        self._probability = probability

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, another: Another | None = None
    ) -> Pair:
        if rng.random() >= self._probability:
            return image, labels
        image, labels = image.copy(), labels.copy()
        for _ in range(self._count):
            rows, columns = (_draw_part(length, rng.uniform(*self._size), rng) for length in labels.shape)
            image[rows, columns] = PADDING_COLOR
            labels[rows, columns] = self._ignore_class
        return image, labels


class CutMix:
    """Put a rectangle of another training sample, with its labels, in the same place (arXiv:1905.04899).

    Its share of the crop is drawn uniformly, its proportions are the crop's.

    Args:
        probability: Of a rectangle; where there is one, a second sample is read.

    Raises:
        ConfigError: `probability` is none.
    """

    @limited
    def __init__(self, probability: Probability = 0.5) -> None:
        self._probability = probability

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, another: Another | None = None
    ) -> Pair:
        if rng.random() >= self._probability:
            return image, labels
        other_image, other_labels = _require(another, "CutMix")(rng)
        side = np.sqrt(rng.random())
        rows, columns = (_draw_part(length, side, rng) for length in labels.shape)
        image, labels = image.copy(), labels.copy()
        image[rows, columns] = other_image[rows, columns]
        labels[rows, columns] = other_labels[rows, columns]
        return image, labels


class CopyPaste:
    """Paste all pixels of some classes of another training sample, with their labels, in the same place.

    By default half of the classes there, drawn anew each time, as ClassMix does (arXiv:2007.07936); `classes` for
    chosen ones, such as those that are rare.

    Args:
        ignore_class: Never pasted.
        classes: Ids to paste where the other sample has them.
        probability: Of pasting; where it is done, a second sample is read.

    Raises:
        ConfigError: An argument is out of its range.
    """

    @limited
    def __init__(
        self,
        ignore_class: int,
        classes: Sequence[Annotated[int, Limits(0, 255)]] | None = None,
        probability: Probability = 0.5,
    ) -> None:
        if classes is not None and ignore_class in classes:
            raise ConfigError(f"{argument('classes')}={list(classes)}: expected ids of the dataset's classes")
        self._ignore_class = ignore_class
        self._classes = classes
        self._probability = probability

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, another: Another | None = None
    ) -> Pair:
        if rng.random() >= self._probability:
            return image, labels
        other_image, other_labels = _require(another, "CopyPaste")(rng)
        is_pasted = np.zeros(256, np.uint8)
        is_pasted[self._classes_to_paste(other_labels, rng)] = 1
        pasted = cv2.LUT(other_labels, is_pasted)
        return cv2.copyTo(other_image, pasted, image.copy()), cv2.copyTo(other_labels, pasted, labels.copy())

    def _classes_to_paste(self, other_labels: np.ndarray, rng: np.random.Generator) -> Sequence[int] | np.ndarray:
        if self._classes is not None:
            return self._classes
        counts = cv2.calcHist([other_labels], [0], None, [256], [0, 256]).ravel()
        counts[self._ignore_class] = 0
        present = np.flatnonzero(counts)
        return rng.permutation(present)[: (len(present) + 1) // 2]


def _require(another: Another | None, step: str) -> Another:
    if another is None:
        raise ValueError(f"{step} needs another sample, and is given none")
    return another


def _draw_part(length: int, share: float, rng: np.random.Generator) -> slice:
    part = round(length * share)
    start = int(rng.integers(length - part + 1))
    return slice(start, start + part)
