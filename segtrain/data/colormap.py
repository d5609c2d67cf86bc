"""Colour tables: read from `.mat` files, made by VOC's rule, and painted over labels."""

from pathlib import Path

import numpy as np

from segtrain.data.matfile import MatReader
from segtrain.errors import DataError


def read_colormap(path: Path, num_classes: int) -> np.ndarray:
    """Read the array `colormap` of a `.mat` file such as CIHP's `human_colormap.mat`.

    Returns:
        (num_classes, 3) float64, each in 0-1.

    Raises:
        DataError: The file is no `.mat` file or holds no such table.
    """
    with MatReader() as reader:
        table = reader.read(path, "colormap")
    if table.shape != (num_classes, 3) or not ((table >= 0) & (table <= 1)).all():
        raise DataError(
            f"colour table in {path}: an array {table.shape}, expected 'colormap' ({num_classes}, 3) of numbers in "
            f"0..1. Fix: restore the dataset's own file"
        )
    return table.astype(np.float64)


def voc_colormap(num_classes: int) -> np.ndarray:
    """Make Pascal VOC's colours: the bits of the id, dealt to the high bits of R, G and B in turn (VOC devkit).

    Returns:
        (num_classes, 3) uint8 RGB.
    """
    ids = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def colorize(labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Paint class ids.

    Args:
        labels: (H, W) uint8 class ids; ids beyond the table (void) become black.
        colors: (K, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    # Three times faster than table[labels].
    return np.take(table, labels, axis=0)
