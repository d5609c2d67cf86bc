"""Steps that change a crop's colors and leave its labels alone."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated

import cv2
import numpy as np

from segtrain.data.augment.augmentation import OtherSample, Pair, require_range
from segtrain.limits import Limits, Probability, limited

# Luma, and the two axes of color across it, from RGB: the television's YIQ.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)
_MID_GREY = 128
# Normal noise of deviation 40 around mid-gray: for each byte the middle of its 256th part of the distribution.
_GRAIN_SIGMA = 40
_GRAIN = np.array(
    [round(_MID_GREY + _GRAIN_SIGMA * NormalDist().inv_cdf((byte + 0.5) / 256)) for byte in range(256)], np.uint8
)


class ColorJitter:
    """Random brightness, contrast, saturation and hue: one affine map of RGB, rounded and clipped once.

    Args:
        brightness: Largest relative change; 0.2 multiplies by 0.8 to 1.2.
        contrast: Largest relative change of the distance from mid-gray.
        saturation: Largest relative change of the distance from the pixel's own gray; 1 reaches black and white.
        hue: Largest turn of all hues, in turns: 0.5 is every color there is. Luma is kept.

    Raises:
        ConfigError: A change is out of its range.
    """

    @limited
    def __init__(
        self,
        brightness: Probability = 0.2,
        contrast: Probability = 0.2,
        saturation: Probability = 0.2,
        hue: Annotated[float, Limits(0, 0.5)] = 0.0,
    ) -> None:
        self._brightness = brightness
        self._contrast = contrast
        self._saturation = saturation
        self._hue = hue

    def __call__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
    ) -> Pair:
        brightness, contrast, saturation = (
            1 + rng.uniform(-most, most) for most in (self._brightness, self._contrast, self._saturation)
        )
        angle = 2 * math.pi * rng.uniform(-self._hue, self._hue)
        cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
        colors = _RGB @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
        matrix = np.column_stack([contrast * brightness * colors, np.full(3, _MID_GREY * (1 - contrast))])
        return cv2.transform(image, matrix), labels


class Blur:
    """An image out of focus: a Gaussian blur.

    Args:
        sigma: Smallest and largest deviation, in pixels of the crop; drawn uniformly.
        probability: Of a blur.

    Raises:
        ConfigError: An argument is out of its range.
    """

    @limited
    def __init__(
        self, sigma: Sequence[Annotated[float, Limits(0.05, 20)]] = (0.2, 1.5), probability: Probability = 0.5
    ) -> None:
        self._sigma = require_range("sigma", sigma, "[0.2, 1.5]")
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
        sigma = rng.uniform(*self._sigma)
        side = 2 * math.ceil(2 * sigma) + 1  # what is beyond two deviations weighs less than a level
        return cv2.GaussianBlur(image, (side, side), sigma), labels


class Noise:
    """A sensor's grain: normal noise on each pixel and channel.

    Args:
        sigma: Smallest and largest deviation, in levels of 0-255; drawn uniformly.
        probability: Of any noise.

    Raises:
        ConfigError: An argument is out of its range.
    """

    @limited
    def __init__(
        self, sigma: Sequence[Annotated[float, Limits(0, 80)]] = (1.0, 8.0), probability: Probability = 0.5
    ) -> None:
        self._sigma = require_range("sigma", sigma, "[1, 8]")
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
        # A byte a value through a table, added in uint8: a fifth of the time of numpy's normal numbers.
        words = rng.integers(0, 2**64, -(-image.size // 8), np.uint64)
        grain = cv2.LUT(words.view(np.uint8)[: image.size].reshape(image.shape), _GRAIN)
        strength = rng.uniform(*self._sigma) / _GRAIN_SIGMA
        return cv2.addWeighted(image, 1, grain, strength, -_MID_GREY * strength), labels
