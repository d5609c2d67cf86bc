"""Config-driven training of semantic segmentation networks with TensorFlow and Keras.

Example:
    >>> import segtrain
    >>> run = segtrain.load_run(run_folder)  # such as runs/train/2026-12-01_12-00-00_people
    >>> run.predict(image).shape  # (H, W) uint8 class ids of an (H, W, 3) uint8 RGB image
    (48, 64)
"""

import importlib
from typing import TYPE_CHECKING, Any

from segtrain.version import __version__

if TYPE_CHECKING:
    from segtrain.builders.run import Run, load_run

_LAZY = ("Run", "load_run")
__all__ = ["Run", "__version__", "load_run"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `segtrain --help` starts without NumPy and TensorFlow.
    if name in _LAZY:
        return getattr(importlib.import_module("segtrain.builders.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
