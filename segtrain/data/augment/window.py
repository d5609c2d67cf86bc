"""Choose the part of an image that a crop shows."""

from typing import NamedTuple

import cv2
import numpy as np

# How often a window is drawn anew for the sake of `max_class_share`, as mmsegmentation does.
_MOST_DRAWS = 10


class Window(NamedTuple):
    """Part of an image that a crop shows along one axis, in pixels.

    Attributes:
        source: Pixels of the image.
        length: Length in the crop that these pixels are scaled to.
        start: Their offset in the crop; padding is before and after.
    """

    source: slice
    length: int
    start: int

    @property
    def pixels_per_pixel(self) -> float:
        """Pixels of the image that one of the crop covers."""
        return (self.source.stop - self.source.start) / self.length


def draw_windows(
    labels: np.ndarray,
    crop_size: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
    *,
    ignore_class: int,
    max_class_share: float,
    class_balanced: float,
) -> tuple[Window, Window]:
    """Choose the rows and the columns of an image that a crop shows.

    Args:
        labels: (H, W) class ids.
        crop_size: Height and width of the crop.
        scale: Scale factor of both sides.
        rng: Random generator of this sample.
        ignore_class: The id of ignored pixels, which are not counted.
        max_class_share: Draw the window again, up to ten times, while one class has a larger fraction of its pixels.
        class_balanced: Probability that the window is aimed: at a class drawn evenly from those that the image
            shows, and at one of its pixels.
    """
    for _ in range(_MOST_DRAWS):
        aim = None
        if class_balanced and rng.random() < class_balanced:
            aim = _draw_pixel(labels, ignore_class, rng)
        rows, columns = (
            _draw_window(labels.shape[axis], crop_size[axis], scale, None if aim is None else aim[axis], rng)
            for axis in (0, 1)
        )
        if (
            max_class_share == 1
            or _largest_fraction(labels[rows.source, columns.source], ignore_class) <= max_class_share
        ):
            break
    return rows, columns


def _draw_window(length: int, crop: int, scale: float, aim: int | None, rng: np.random.Generator) -> Window:
    scaled = max(1, round(length * scale))
    if scaled <= crop:
        return Window(slice(0, length), scaled, int(rng.integers(crop - scaled + 1)))
    taken = min(length, max(1, round(crop / scale)))
    first, last = (0, length - taken) if aim is None else (max(0, aim - taken + 1), min(aim, length - taken))
    start = int(rng.integers(first, last + 1))
    return Window(slice(start, start + taken), crop, 0)


def _draw_pixel(labels: np.ndarray, ignore_class: int, rng: np.random.Generator) -> tuple[int, int] | None:
    present = np.flatnonzero(_count(labels, ignore_class))
    if not len(present):
        return None
    indices = np.flatnonzero(labels == present[rng.integers(len(present))])
    row, column = divmod(int(indices[rng.integers(len(indices))]), labels.shape[1])
    return row, column


def _largest_fraction(labels: np.ndarray, ignore_class: int) -> float:
    """Fraction of labeled pixels of the most frequent class; 1 if no pixel is labeled."""
    counts = _count(labels, ignore_class)
    return counts.max() / counts.sum() if counts.any() else 1.0


def _count(labels: np.ndarray, ignore_class: int) -> np.ndarray:
    # Three times as fast as numpy.bincount. It counts in integers and returns float32.
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
    counts[ignore_class] = 0
    return counts
