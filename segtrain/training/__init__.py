"""Training loop, callbacks, learning rate schedules and trackers. A YAML's `_target_` may name what is listed here.

Names are imported on first use, so that code that only reads checkpoints starts without TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrain.training.early_stopping import EarlyStopping, ReachScore
    from segtrain.training.profile import Profile
    from segtrain.training.schedules import Cosine, OneCycle, Poly, StepDecay, constant
    from segtrain.training.trackers import MlflowLogger, WandbLogger

__all__ = [
    "Cosine",
    "EarlyStopping",
    "MlflowLogger",
    "OneCycle",
    "Poly",
    "Profile",
    "ReachScore",
    "StepDecay",
    "WandbLogger",
    "constant",
]

_HOMES = {
    **dict.fromkeys(("EarlyStopping", "ReachScore"), "early_stopping"),
    "Profile": "profile",
    **dict.fromkeys(("MlflowLogger", "WandbLogger"), "trackers"),
    **dict.fromkeys(("Cosine", "OneCycle", "Poly", "StepDecay", "constant"), "schedules"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
