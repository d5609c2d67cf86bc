"""Pixels of an image to those of a crop: each is written once, where it stays.

Memory is what bounds a loader of large crops: a crop of 513 x 513 pixels is 0.8 MB.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from segtrain.data.augment.window import Window


class Flips(NamedTuple):
    """Which ways a crop is turned over."""

    mirrored: bool
    upside_down: bool

    def put(self, source: np.ndarray, out: np.ndarray) -> None:
        """Write an array, turned over, into another of its size."""
        if any(self):
            cv2.flip(source, self._code, dst=out)
        else:
            out[...] = source

    def of(self, source: np.ndarray) -> np.ndarray:
        """Return an array, turned over."""
        return cv2.flip(source, self._code) if any(self) else source

    @property
    def _code(self) -> int:
        """OpenCV's number for it."""
        return -1 if all(self) else int(self.mirrored)


def paste(
    source: np.ndarray,
    rows: Window,
    columns: Window,
    interpolation: int,
    flips: Flips,
    padding: np.ndarray,
    out: np.ndarray,
) -> None:
    """Cut the window first, then scale only that: exact for labels, and a fraction of the work at scale 2.

    Args:
        source: (H, W) or (H, W, 3) uint8.
        rows: Rows that the crop shows, and their position in it.
        columns: Columns that the crop shows, and their position in it.
        interpolation: OpenCV's interpolation flag.
        flips: Flips of the crop, including its padding.
        padding: One row of padding.
        out: The crop; every pixel is written.
    """
    height, width = out.shape[:2]
    top = height - rows.start - rows.length if flips.upside_down else rows.start
    left = width - columns.start - columns.length if flips.mirrored else columns.start
    bottom, right = top + rows.length, left + columns.length
    out[:top], out[bottom:] = padding, padding
    out[top:bottom, :left], out[top:bottom, right:] = padding[:left], padding[right:]
    inner, source = out[top:bottom, left:right], source[rows.source, columns.source]
    if source.shape[:2] == inner.shape[:2]:
        flips.put(source, inner)
    elif not any(flips) or source.size < inner.size:
        cv2.resize(flips.of(source), inner.shape[1::-1], dst=inner, interpolation=interpolation)
    else:
        flips.put(cv2.resize(source, inner.shape[1::-1], interpolation=interpolation), inner)


def to_source(rows: Window, columns: Window, crop_size: tuple[int, int], angle: float, smaller: int) -> np.ndarray:
    """Map the position (column, row) of a crop's pixel to that in an image decoded `smaller` times smaller.

    A rotation about the crop's center, then the same as `paste`. Integers are pixel centers, so that pixel x of a
    image covers x - 0.5 to x + 0.5, and half a pixel is added before any scaling and taken off behind it.

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


def warp(
    source: np.ndarray,
    matrix: np.ndarray,
    crop_size: tuple[int, int],
    interpolation: int,
    padding: int | tuple[int, int, int],
) -> np.ndarray:
    """Take each pixel of a crop from the position that the matrix maps it to."""
    # Only what the crop can see, and two pixels around it for the interpolation.
    corners = matrix @ np.array([[0, crop_size[1], 0, crop_size[1]], [0, 0, crop_size[0], crop_size[0]], [1] * 4])
    limits = np.array([source.shape[1], source.shape[0]])
    first = np.clip(np.floor(corners.min(1)).astype(int) - 2, 0, limits - 1)
    last = np.clip(np.ceil(corners.max(1)).astype(int) + 3, first + 1, limits)
    source = source[first[1] : last[1], first[0] : last[0]]
    shifted = matrix - np.column_stack([np.zeros((2, 2)), first])
    flags = interpolation | cv2.WARP_INVERSE_MAP
    if source.ndim == 2:
        return cv2.warpAffine(source, shifted, crop_size[::-1], flags=flags, borderValue=padding)
    # OpenCV interpolates four channels in half the time that it takes for three.
    four = cv2.cvtColor(source, cv2.COLOR_RGB2RGBA)
    turned = cv2.warpAffine(four, shifted, crop_size[::-1], flags=flags, borderValue=(*padding, 0))  # type: ignore[misc]
    return cv2.cvtColor(turned, cv2.COLOR_RGBA2RGB)
