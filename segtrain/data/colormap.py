"""Colour tables: read from `.mat` files, made by VOC's rule, and painted over labels."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from segtrain.errors import DataError

# scipy's reader dies of a segmentation fault on forged files; in a child that is an error message, not our end.
_READ_IN_CHILD = """
import json, sys
from scipy.io import loadmat
table = loadmat(sys.argv[1], variable_names=["colormap"]).get("colormap")
json.dump(None if table is None else table.tolist(), sys.stdout)
"""


def read_colormap(path: Path, num_classes: int) -> np.ndarray:
    """Read the array `colormap` of a `.mat` file such as CIHP's `human_colormap.mat`.

    Returns:
        (num_classes, 3) float64, each in 0-1.

    Raises:
        DataError: The file is no `.mat` file or holds no such table.
    """
    child = subprocess.run(
        [sys.executable, "-I", "-c", _READ_IN_CHILD, str(path)], capture_output=True, text=True, check=False
    )
    try:
        table = np.array(json.loads(child.stdout), np.float64) if child.returncode == 0 else None
    except ValueError:
        table = None
    if table is None or table.shape != (num_classes, 3) or not ((table >= 0) & (table <= 1)).all():
        seen = "unreadable" if table is None else f"an array {table.shape}"
        raise DataError(
            f"colour table in {path}: {seen}, expected 'colormap' ({num_classes}, 3) of numbers in 0..1. Fix: restore "
            f"the dataset's own file"
        )
    return table


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
    return table[labels]
