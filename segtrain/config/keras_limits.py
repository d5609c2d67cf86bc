"""Ranges of the arguments of Keras' optimizers, schedules, losses and callbacks, which Keras does not check."""

from collections.abc import Callable
from typing import Any

from segtrain.limits import Limits

_SHARE = Limits(0, 1)
_DECAY = Limits(0, 1, below=True)
_POSITIVE = Limits(0, 1e6, above=True)
_FACTOR = Limits(0, 1e6)
_COUNT = Limits(0, 1_000_000_000)
_POSITIVE_COUNT = Limits(1, 1_000_000_000)
# By argument; one of these takes a number, null or a node.
_LIMITS = {
    "learning_rate": Limits(0, 100),
    "initial_learning_rate": Limits(0, 100),
    "end_learning_rate": Limits(0, 100),
    "warmup_target": Limits(0, 100),
    "min_lr": Limits(0, 100),
    "weight_decay": Limits(0, 10),
    **dict.fromkeys(("momentum", "beta_1", "beta_2", "rho"), _DECAY),
    **dict.fromkeys(("epsilon", "epsilon_1", "epsilon_2"), Limits(0, 1, above=True)),
    **dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm", "clip_threshold", "loss_scale_factor"), _POSITIVE),
    **dict.fromkeys(("ema_momentum", "label_smoothing", "decay_rate"), _SHARE),
    **dict.fromkeys(("initial_accumulator_value", "l1_regularization_strength", "l2_regularization_strength"), _FACTOR),
    **dict.fromkeys(("gamma", "delta", "alpha", "beta", "smooth", "power", "factor", "t_mul", "m_mul"), _FACTOR),
    **dict.fromkeys(("min_delta", "l2_shrinkage_regularization_strength"), _FACTOR),
    **dict.fromkeys(("ema_overwrite_frequency", "decay_steps", "first_decay_steps"), _POSITIVE_COUNT),
    **dict.fromkeys(("patience", "cooldown", "start_from_epoch", "warmup_steps"), _COUNT),
}


def beyond_keras_limits(call: Callable[..., Any], name: str, value: Any) -> str:
    """Return what is expected of an argument of one of Keras' parts where `value` is not it; empty where it is.

    Args:
        call: Of Keras, or any other, which is not judged here.
        name: Of its argument.
        value: Given by a config.
    """
    if not call.__module__.startswith("keras.") or name not in _LIMITS or value is None or isinstance(value, dict):
        return ""
    values = value if isinstance(value, list) else [value]
    is_number = all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
    return "" if is_number and all(map(_LIMITS[name].hold, values)) else f"a number {_LIMITS[name]}"
