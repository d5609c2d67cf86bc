"""The learning rate at each step. Built with the optimizer's `learning_rate` and the run's `total_steps`."""

import math
from typing import Any

import keras

from segtrain.errors import ConfigError


@keras.saving.register_keras_serializable("segtrain")
class Poly(keras.optimizers.schedules.LearningRateSchedule):
    """learning_rate * (1 - step / total_steps) ** power, after a linear rise (arXiv:1706.05587, section 4.1).

    Args:
        learning_rate: The highest rate.
        total_steps: Where the rate reaches 0.
        power: 0.9 in the DeepLab papers; 1 is a straight line.
        warmup_steps: Steps in which the rate rises from 0.

    Raises:
        ConfigError: `warmup_steps` is negative or leaves no step.
    """

    def __init__(self, learning_rate: float, total_steps: int, power: float = 0.9, warmup_steps: int = 0) -> None:
        _check_warmup(warmup_steps, total_steps)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.power = power
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        left = keras.ops.clip(1.0 - step / self.total_steps, 0.0, 1.0)
        return self.learning_rate * left**self.power * _warmup(step, self.warmup_steps)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "power": self.power,
            "warmup_steps": self.warmup_steps,
        }


@keras.saving.register_keras_serializable("segtrain")
class Cosine(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from `learning_rate` to 0, after a linear rise (Loshchilov and Hutter 2016, arXiv:1608.03983).

    Args:
        learning_rate: The highest rate.
        total_steps: Where the rate reaches 0.
        warmup_steps: Steps in which the rate rises from 0.

    Raises:
        ConfigError: `warmup_steps` is negative or leaves no step.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int = 0) -> None:
        _check_warmup(warmup_steps, total_steps)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        share = keras.ops.clip(step / self.total_steps, 0.0, 1.0)
        rate = self.learning_rate * 0.5 * (1.0 + keras.ops.cos(math.pi * share))
        return rate * _warmup(step, self.warmup_steps)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }


def constant(learning_rate: float, total_steps: int) -> float:
    """Keep one rate through all of `total_steps`."""
    return learning_rate


def _warmup(step: Any, warmup_steps: int) -> Any:
    return keras.ops.minimum(1.0, (step + 1.0) / warmup_steps) if warmup_steps else 1.0


def _check_warmup(warmup_steps: int, total_steps: int) -> None:
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"schedule.warmup_steps={warmup_steps}: expected 0..{total_steps - 1}, less than the run's steps"
        )
