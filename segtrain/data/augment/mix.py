"""Steps that replace a part of a crop: by padding, or by another sample."""

from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np

from segtrain.data.augment.augmentation import PADDING_COLOR, OtherSample, Pair, require_range
from segtrain.errors import ConfigError, argument
from segtrain.limits import Limits, Probability, limited


class Cutout:
    """Hide rectangles of the image (arXiv:1708.04552).

    Their labels become `ignore_class`, as the covered pixels cannot be recognized.

    Args:
        ignore_class: The dataset's id of ignored pixels.
        count: Number of rectangles.
        size: Smallest and largest side, as a fraction of the crop's; drawn uniformly for each side.
        probability: Probability of adding rectangles, 0-1.

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
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
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
    """Put a rectangle of another training sample, with its labels, at the same position (arXiv:1905.04899).

    Its fraction of the crop's area is drawn uniformly; its aspect ratio is the crop's.

    Args:
        probability: Probability of a rectangle, 0-1; it costs reading a second sample.

    Raises:
        ConfigError: `probability` is not 0-1.
    """

    @limited
    def __init__(self, probability: Probability = 0.5) -> None:
        self._probability = probability

    def __call__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
    ) -> Pair:
        if rng.random() >= self._probability:
            return image, labels
        other_image, other_labels = _require(draw_other_sample, "CutMix")(rng)
        side = np.sqrt(rng.random())
        rows, columns = (_draw_part(length, side, rng) for length in labels.shape)
        image, labels = image.copy(), labels.copy()
        image[rows, columns] = other_image[rows, columns]
        labels[rows, columns] = other_labels[rows, columns]
        return image, labels


class CopyPaste:
    """Paste all pixels of some classes of another training sample, with their labels, at the same position.

    By default half of the classes there, drawn anew each time, as ClassMix does (arXiv:2007.07936); `classes` for
    chosen ones, such as those that are rare.

    Args:
        ignore_class: The id of ignored pixels, which are never pasted.
        classes: Class ids to paste if the other sample has them; None for half of its classes, drawn each time.
        probability: Probability of pasting, 0-1; it costs reading a second sample.

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
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
    ) -> Pair:
        if rng.random() >= self._probability:
            return image, labels
        other_image, other_labels = _require(draw_other_sample, "CopyPaste")(rng)
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


def _require(draw_other_sample: OtherSample | None, step: str) -> OtherSample:
    if draw_other_sample is None:
        raise ValueError(f"{step} needs another sample, but got no reader for it")
    return draw_other_sample


def _draw_part(length: int, fraction: float, rng: np.random.Generator) -> slice:
    part = round(length * fraction)
    start = int(rng.integers(length - part + 1))
    return slice(start, start + part)
