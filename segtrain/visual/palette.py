"""Colors that stay distinct with the common kinds of color vision."""

from functools import cache

import cv2
import numpy as np

# What protanopes and deuteranopes see of linear RGB (Vienot, Brettel and Mollon 1999).
_PROTAN = ((0.1121, 0.8853, -0.0005), (0.1127, 0.8897, -0.0001), (0.0045, 0.0000, 1.0019))
_DEUTAN = ((0.2920, 0.7054, -0.0003), (0.2934, 0.7089, 0.0000), (-0.0210, 0.0254, 0.9961))
_LEVELS = (0, 51, 102, 153, 204, 255)


@cache
def _chosen(count: int) -> tuple[tuple[int, int, int], ...]:
    grid = np.array([(r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS], np.uint8)
    # Darker colors than these look black on an image.
    grid = np.concatenate([grid[:1], grid[_lab(grid)[:, 0] > 25]])
    seen = np.concatenate([_lab(grid), _lab(_simulated(grid, _PROTAN)), _lab(_simulated(grid, _DEUTAN))], axis=1)
    picked = [0]  # black, the usual background
    nearest = _distance(seen, seen[0])
    for _ in range(min(count, len(grid)) - 1):
        index = int(nearest.argmax())
        picked.append(index)
        nearest = np.minimum(nearest, _distance(seen, seen[index]))
    return tuple(tuple(int(value) for value in grid[index]) for index in picked)  # type: ignore[misc]


def colorblind_palette(num_classes: int) -> np.ndarray:
    """Return colors of which each is as far from all before it as possible, for any kind of color vision.

    Args:
        num_classes: K; colors repeat beyond about 190.

    Returns:
        (K, 3) uint8 RGB; the first is black. The same for the same K.

    Example:
        >>> colorblind_palette(3).tolist()
        [[0, 0, 0], [0, 0, 255], [255, 255, 0]]
    """
    colors = np.array(_chosen(num_classes), np.uint8)
    return np.resize(colors, (num_classes, 3))


def colors_of(palette: str, colors: np.ndarray) -> np.ndarray:
    """Return a dataset's own colors (K, 3), or for "colorblind" distinct ones."""
    return colorblind_palette(len(colors)) if palette == "colorblind" else colors


def _distance(seen: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Return the smallest of the three kinds' distances in CIELAB."""
    return np.linalg.norm((seen - one).reshape(len(seen), 3, 3), axis=2).min(axis=1)


def _lab(colors: np.ndarray) -> np.ndarray:
    return cv2.cvtColor((colors[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def _simulated(colors: np.ndarray, matrix: tuple[tuple[float, ...], ...]) -> np.ndarray:
    linear = (colors / 255.0) ** 2.2 @ np.array(matrix).T
    return np.clip(linear, 0, 1) ** (1 / 2.2) * 255
