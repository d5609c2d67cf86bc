"""From an image of any size to a crop: where each pixel of the crop comes from, in one pass.

Labels are taken by nearest neighbor with the same pixel centers as the image's bilinear interpolation.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import cv2
import numpy as np

from segtrain.data.augment.augmentation import (
    PADDING_COLOR,
    Augmentation,
    OtherSample,
    Pair,
    mirrored_classes,
    put,
    run_steps,
)
from segtrain.data.augment.pixels import Flips, paste, to_source, warp
from segtrain.data.augment.window import draw_windows
from segtrain.errors import ConfigError, argument
from segtrain.limits import Fraction, Limits, Probability, limited


class ScaleCropFlip:
    """DeepLab's training augmentation: random scale, random crop with padding, random mirror (arXiv:1706.05587, 4.1).

    Optionally with rotation, and limits on crops of mostly one class.

    Args:
        crop_size: Height and width of the result, in pixels.
        ignore_class: The id of ignored pixels, also beyond the image's edge.
        flip_pairs: Class ids to swap in a mirrored image.
        scale: Smallest and largest factor; drawn uniformly.
        flip: Probability of a mirror image.
        vertical_flip: Probability of an image upside down. That is a mirror image too, so `flip_pairs` are
            swapped; both flips are a rotation by 180 degrees, without a swap.
        rotate: Largest turn in degrees, either way, about the crop's center; drawn uniformly.
        max_class_share: Draw the window again, up to ten times, while one class has a larger fraction of its labeled
            pixels; 0.75 is usual for street scenes. 1 accepts any window.
        class_balanced: Probability that the window is aimed at a class drawn evenly from those in the image, so
            that a rare one is hit as often as a common one.
        steps: Further augmentations of the crop, by name, in this order.

    Raises:
        ConfigError: `scale` is not two growing positive numbers, or another is out of its range.
    """

    @limited
    def __init__(
        self,
        crop_size: tuple[int, int],
        ignore_class: int,
        flip_pairs: Sequence[tuple[int, int]],
        scale: Sequence[Annotated[float, Limits(0.01, 100)]] = (0.5, 2.0),
        flip: Probability = 0.5,
        vertical_flip: Probability = 0.0,
        rotate: Annotated[float, Limits(0, 180)] = 0.0,
        max_class_share: Fraction = 1.0,
        class_balanced: Probability = 0.0,
        steps: Mapping[str, Augmentation] | None = None,
    ) -> None:
        if len(scale) != 2 or scale[0] > scale[1]:
            raise ConfigError(
                f"{argument('scale')}={list(scale)}: expected the smallest and the largest factor, as [0.5, 2.0]"
            )
        self._crop_size = crop_size
        self._ignore_class = ignore_class
        self._mirrored_class = mirrored_classes(flip_pairs)
        self._swaps = bool(flip_pairs)
        self._scale = scale
        self._flip = flip
        self._vertical_flip = vertical_flip
        self._rotate = rotate
        self._max_class_share = max_class_share
        self._class_balanced = class_balanced
        self._steps = steps or {}
        # A row is repeated three times as fast as three numbers are.
        self._padding = (
            np.full((crop_size[1], 3), PADDING_COLOR, np.uint8),
            np.full(crop_size[1], ignore_class, np.uint8),
        )

    def __call__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
    ) -> Pair:
        out = np.empty((*self._crop_size, 3), np.uint8), np.empty(self._crop_size, np.uint8)
        self.write(image, labels, rng, draw_other_sample, out)
        return out

    def write(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None,
        out: Pair,
    ) -> None:
        """Do what a call does, but into arrays that are there already, such as parts of a batch."""
        self._crop(image, labels, rng, out)
        put(run_steps(self._steps, out, rng, draw_other_sample, self._new_crop), out)

    def reduction(self, rng: np.random.Generator) -> int:
        """How much smaller than its labels the image may be decoded for the draw of this generator: 1, 2, 4 or 8.

        The crop and its labels are the same ones; only the image's pixels are averaged by the JPEG decoder.
        """
        return _reduction(1 / rng.uniform(self._scale[0], self._scale[1]))

    def _new_crop(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Pair:
        out = np.empty((*self._crop_size, 3), np.uint8), np.empty(self._crop_size, np.uint8)
        self._crop(image, labels, rng, out)
        return out

    def _crop(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, out: Pair) -> None:
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
        mirrored = rng.random() < self._flip
        upside_down = self._vertical_flip > 0 and rng.random() < self._vertical_flip
        flips = Flips(mirrored, upside_down)
        if self._swaps and mirrored != upside_down:
            labels = cv2.LUT(labels, self._mirrored_class)
        smaller = 1 if image.shape[:2] == labels.shape else _reduction(1 / scale)
        if angle or smaller > 1:
            to_image = to_source(rows, columns, self._crop_size, angle, smaller)
            flips.put(warp(image, to_image, self._crop_size, cv2.INTER_LINEAR, PADDING_COLOR), out[0])
        else:
            paste(image, rows, columns, cv2.INTER_LINEAR, flips, self._padding[0], out[0])
        if angle:
            to_labels = to_source(rows, columns, self._crop_size, angle, 1)
            flips.put(warp(labels, to_labels, self._crop_size, cv2.INTER_NEAREST, self._ignore_class), out[1])
        else:
            # INTER_NEAREST shifts labels by up to a pixel; only the exact variant keeps pixel centers.
            paste(labels, rows, columns, cv2.INTER_NEAREST_EXACT, flips, self._padding[1], out[1])


class Resize:
    """Resize the full image to the crop's size, ignoring its aspect ratio.

    Args:
        crop_size: Height and width of the result, in pixels.
        labels_interpolation: "nearest", or "bilinear" as the keras.io program of 2021 does to its masks: the fractions
            between two classes are truncated to integers, and so become classes that are not in the labels.
        steps: Further augmentations of the crop, by name, in this order.

    Raises:
        ConfigError: `labels_interpolation` is not one of these.
    """

    @limited
    def __init__(
        self,
        crop_size: tuple[int, int],
        labels_interpolation: Literal["nearest", "bilinear"] = "nearest",
        steps: Mapping[str, Augmentation] | None = None,
    ) -> None:
        if labels_interpolation not in ("nearest", "bilinear"):
            raise ConfigError(
                f"{argument('labels_interpolation')}={labels_interpolation}: expected nearest or bilinear"
            )
        self._crop_size = crop_size
        self._labels_interpolation = labels_interpolation
        self._steps = steps or {}

    def __call__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
    ) -> Pair:
        return run_steps(self._steps, self._crop(image, labels, rng), rng, draw_other_sample, self._crop)

    def _crop(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Pair:
        image = cv2.resize(image, self._crop_size[::-1], interpolation=cv2.INTER_LINEAR)
        if self._labels_interpolation == "bilinear":
            fractions = cv2.resize(labels.astype(np.float32), self._crop_size[::-1], interpolation=cv2.INTER_LINEAR)
            return image, fractions.astype(np.uint8)
        return image, cv2.resize(labels, self._crop_size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _reduction(shrinkage: float) -> int:
    """The JPEG decoder's own step, of those there are, that does not go below the size wanted."""
    return next((step for step in (8, 4, 2) if step <= shrinkage), 1)
