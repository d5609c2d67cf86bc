"""Read the classes of a run from its `classes.json`."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segtrain.errors import CheckpointError
from segtrain.runs.files import CLASSES
from segtrain.runs.folder import read_json
from segtrain.terminal import printable


class RunClasses(NamedTuple):
    """The classes of a run.

    Attributes:
        class_names: K names, in the order of their ids.
        colors: (K, 3) uint8 RGB.
        ignore_class: Label of pixels that were excluded from loss and scores.
        flip_pairs: Pairs of ids that a mirrored image exchanges.
    """

    class_names: tuple[str, ...]
    colors: np.ndarray
    ignore_class: int
    flip_pairs: tuple[tuple[int, int], ...]


def read_run_classes(run: Path) -> RunClasses:
    """Read the classes that a run was trained on.

    Raises:
        CheckpointError: `classes.json` is missing, damaged or of another kind.
    """
    path = run / CLASSES
    found = read_json(path)
    if not isinstance(found, dict):
        found = {}
    names, colors = found.get("class_names"), found.get("colors")
    pairs = found.get("flip_pairs", found.get("swap_pairs"))  # as version 0.1 named them
    if not isinstance(names, list) or not 0 < len(names) <= 255 or not all(isinstance(name, str) for name in names):
        raise _not_classes(path, "class_names", names, "a list of 1 to 255 names")
    if not isinstance(colors, list) or len(colors) != len(names) or not all(_are_bytes(each, 3) for each in colors):
        raise _not_classes(path, "colors", colors, f"{len(names)} lists of red, green and blue, 0-255")
    if not _are_bytes([found.get("ignore_class")], 1):
        raise _not_classes(path, "ignore_class", found.get("ignore_class"), "a label, 0-255")
    if not isinstance(pairs, list) or not all(_are_bytes(each, 2) and max(each) < len(names) for each in pairs):
        raise _not_classes(path, "flip_pairs", pairs, "pairs of class ids")
    return RunClasses(tuple(names), np.array(colors, np.uint8), found["ignore_class"], tuple(map(tuple, pairs)))


def _are_bytes(values: Any, length: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == length
        and all(type(value) is int and 0 <= value <= 255 for value in values)
    )


def _not_classes(path: Path, key: str, found: Any, expected: str) -> CheckpointError:
    seen = repr(found)
    seen = seen if len(seen) <= 80 else f"{seen[:80]}..."
    return CheckpointError(f"cannot read {path}: {key}={printable(seen)}, expected {expected}. Fix: choose another run")
