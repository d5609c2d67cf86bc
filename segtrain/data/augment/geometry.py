"""From a photograph of any size to a crop: where each pixel of the crop comes from, in one pass.

Labels are taken by nearest neighbour with the same pixel centres as the photograph's bilinear interpolation.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np

from segtrain.data.augment.augmentation import (
    PADDING_COLOR,
    Another,
    Augmentation,
    Pair,
    mirrored_classes,
    require_share,
    run_steps,
)
from segtrain.data.augment.window import Window, draw_windows
from segtrain.errors import ConfigError


class ScaleCropFlip:
    """DeepLab's training augmentation: random scale, random crop with padding, random mirror (arXiv:1706.05587, 4.1).

    And what others have added to it: a turn, and crops that are not all sky.

    Args:
        crop_size: Height and width of the result, in pixels.
        ignore_class: What the labels hold beyond the photograph's edge.
        swap_pairs: Ids that change places in a mirrored photograph.
        scale: Smallest and largest factor; drawn uniformly.
        flip: Probability of a mirror image.
        vertical_flip: Probability of a photograph upside down. That is a mirror image too, so `swap_pairs` change
            places; with both flips it is a turn by 180 degrees, and they do not.
        rotate: Largest turn in degrees, either way, about the crop's centre; drawn uniformly.
        max_class_share: A window is drawn anew, up to ten times, while one class has more of its labelled pixels; 0.75
            is usual for street scenes. 1 takes any.
        class_balanced: Probability that the window is aimed at a class drawn evenly from those in the photograph, so
            that a rare one is hit as often as a common one.
        steps: What else happens to the crop, by name, in this order.

    Raises:
        ConfigError: `scale` is not two growing positive numbers, or another is out of its range.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        ignore_class: int,
        swap_pairs: Sequence[tuple[int, int]],
        scale: Sequence[float] = (0.5, 2.0),
        flip: float = 0.5,
        vertical_flip: float = 0.0,
        rotate: float = 0.0,
        max_class_share: float = 1.0,
        class_balanced: float = 0.0,
        steps: Mapping[str, Augmentation] | None = None,
    ) -> None:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] < math.inf:
            raise ConfigError(
                f"augment.scale={list(scale)}: expected the smallest and the largest factor, as [0.5, 2.0]"
            )
        if not 0 <= rotate <= 180:
            raise ConfigError(f"augment.rotate={rotate}: expected degrees, 0..180")
        if not 0 < max_class_share <= 1:
            raise ConfigError(f"augment.max_class_share={max_class_share}: expected a share above 0, up to 1")
        self._crop_size = crop_size
        self._ignore_class = ignore_class
        self._mirrored_class = mirrored_classes(swap_pairs)
        self._scale = scale
        self._flip = require_share("flip", flip)
        self._vertical_flip = require_share("vertical_flip", vertical_flip)
        self._rotate = rotate
        self._max_class_share = max_class_share
        self._class_balanced = require_share("class_balanced", class_balanced)
        self._steps = steps or {}

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, another: Another | None = None
    ) -> Pair:
        return run_steps(self._steps, self._crop(image, labels, rng), rng, another, self._crop)

    def reduction(self, rng: np.random.Generator) -> int:
        """How much smaller than its labels the photograph may be decoded for the draw of this generator: 1, 2, 4 or 8.

        The crop and its labels are the same ones; only the photograph's pixels are averaged by the JPEG decoder.
        """
        return _reduction(1 / rng.uniform(self._scale[0], self._scale[1]))

    def _crop(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Pair:
        scale = rng.uniform(self._scale[0], self._scale[1])
        rows, columns = draw_windows(
            labels,
            self._crop_size,
            scale,
            rng,
            ignore_class=self._ignore_class,
            max_class_share=self._max_class_share,
            class_balanced=self._class_balanced,
        )
        angle = math.radians(rng.uniform(-self._rotate, self._rotate)) if self._rotate else 0.0
        smaller = 1 if image.shape[:2] == labels.shape else _reduction(1 / scale)
        if angle or smaller > 1:
            to_image = _to_source(rows, columns, self._crop_size, angle, smaller)
            image = _warp(image, to_image, self._crop_size, cv2.INTER_LINEAR, PADDING_COLOR)
        else:
            image = _cut(image, rows, columns, self._crop_size, cv2.INTER_LINEAR, PADDING_COLOR)
        if angle:
            to_labels = _to_source(rows, columns, self._crop_size, angle, 1)
            labels = _warp(labels, to_labels, self._crop_size, cv2.INTER_NEAREST, self._ignore_class)
        else:
            # INTER_NEAREST shifts labels by up to a pixel; only the exact variant keeps pixel centres in place.
            labels = _cut(labels, rows, columns, self._crop_size, cv2.INTER_NEAREST_EXACT, self._ignore_class)
        mirrored = rng.random() < self._flip
        upside_down = self._vertical_flip > 0 and rng.random() < self._vertical_flip
        if mirrored or upside_down:
            axes = -1 if mirrored and upside_down else 1 if mirrored else 0
            image, labels = cv2.flip(image, axes), cv2.flip(labels, axes)
        if mirrored != upside_down:
            labels = cv2.LUT(labels, self._mirrored_class)
        return image, labels


class Resize:
    """Squeeze the whole photograph to the crop's size, without regard to its proportions.

    Args:
        crop_size: Height and width of the result, in pixels.
        labels_interpolation: "nearest", or "bilinear" as the keras.io program of 2021 does to its masks: the fractions
            between two classes are cut to whole numbers, and so become classes that were never there.
        steps: What else happens to the crop, by name, in this order.

    Raises:
        ConfigError: There is no such interpolation.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        labels_interpolation: Literal["nearest", "bilinear"] = "nearest",
        steps: Mapping[str, Augmentation] | None = None,
    ) -> None:
        if labels_interpolation not in ("nearest", "bilinear"):
            raise ConfigError(f"augment.labels_interpolation={labels_interpolation}: expected nearest or bilinear")
        self._crop_size = crop_size
        self._labels_interpolation = labels_interpolation
        self._steps = steps or {}

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, another: Another | None = None
    ) -> Pair:
        return run_steps(self._steps, self._crop(image, labels, rng), rng, another, self._crop)

    def _crop(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Pair:
        rows, columns = (
            Window(slice(0, length), wanted, 0) for length, wanted in zip(labels.shape, self._crop_size, strict=True)
        )
        image = _cut(image, rows, columns, self._crop_size, cv2.INTER_LINEAR, PADDING_COLOR)
        if self._labels_interpolation == "bilinear":
            fractions = cv2.resize(labels.astype(np.float32), self._crop_size[::-1], interpolation=cv2.INTER_LINEAR)
            return image, fractions.astype(np.uint8)
        return image, _cut(labels, rows, columns, self._crop_size, cv2.INTER_NEAREST_EXACT, 0)


def _reduction(shrinkage: float) -> int:
    """The JPEG decoder's own step, of those there are, that does not go below the size wanted."""
    return next((step for step in (8, 4, 2) if step <= shrinkage), 1)


def _cut(
    source: np.ndarray,
    rows: Window,
    columns: Window,
    crop_size: tuple[int, int],
    interpolation: int,
    padding: int | tuple[int, int, int],
) -> np.ndarray:
    """Cut the window first, then scale only that: exact for labels, and a fraction of the work at scale 2."""
    source = source[rows.source, columns.source]
    size = rows.length, columns.length
    if source.shape[:2] != size:
        source = cv2.resize(source, size[::-1], interpolation=interpolation)
    if size == crop_size:
        return source
    bottom, right = crop_size[0] - rows.length - rows.start, crop_size[1] - columns.length - columns.start
    border = rows.start, bottom, columns.start, right
    return cv2.copyMakeBorder(source, *border, cv2.BORDER_CONSTANT, value=padding)


def _to_source(rows: Window, columns: Window, crop_size: tuple[int, int], angle: float, smaller: int) -> np.ndarray:
    """Map the place (column, row) of a crop's pixel to its place in a photograph decoded `smaller` times smaller.

    A turn about the crop's centre, then what `_cut` does. Whole numbers are pixel centres, so that pixel x of a
    photograph covers x - 0.5 to x + 0.5, and half a pixel is added before any scaling and taken off behind it.

    Returns:
        (2, 3) matrix.
    """
    center_row, center_column = (crop_size[0] - 1) / 2, (crop_size[1] - 1) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array(
        [
            [cos, -sin, center_column - cos * center_column + sin * center_row],
            [sin, cos, center_row - sin * center_column - cos * center_row],
        ]
    )
    factors = np.array([[columns.pixels_per_pixel], [rows.pixels_per_pixel]]) / smaller
    matrix = turn * factors
    for axis, window in enumerate((columns, rows)):
        matrix[axis, 2] += (0.5 - window.start) * factors[axis, 0] + window.source.start / smaller - 0.5
    return matrix


def _warp(
    source: np.ndarray,
    to_source: np.ndarray,
    crop_size: tuple[int, int],
    interpolation: int,
    padding: int | tuple[int, int, int],
) -> np.ndarray:
    """Take each pixel of a crop from the place that the matrix maps it to."""
    # Only what the crop can see, and two pixels around it for the interpolation.
    corners = to_source @ np.array([[0, crop_size[1], 0, crop_size[1]], [0, 0, crop_size[0], crop_size[0]], [1] * 4])
    limits = np.array([source.shape[1], source.shape[0]])
    first = np.clip(np.floor(corners.min(1)).astype(int) - 2, 0, limits - 1)
    last = np.clip(np.ceil(corners.max(1)).astype(int) + 3, first + 1, limits)
    source = source[first[1] : last[1], first[0] : last[0]]
    shifted = to_source - np.column_stack([np.zeros((2, 2)), first])
    flags = interpolation | cv2.WARP_INVERSE_MAP
    if source.ndim == 2:
        return cv2.warpAffine(source, shifted, crop_size[::-1], flags=flags, borderValue=padding)
    # OpenCV interpolates four channels in half the time that it takes for three.
    four = cv2.cvtColor(source, cv2.COLOR_RGB2RGBA)
    turned = cv2.warpAffine(four, shifted, crop_size[::-1], flags=flags, borderValue=(*padding, 0))  # type: ignore[misc]
    return cv2.cvtColor(turned, cv2.COLOR_RGBA2RGB)
