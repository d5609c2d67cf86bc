"""Learning rate schedules, built with the optimizer's `learning_rate` and the run's `total_steps`.

A rate depends on the step and the arguments only: a resumed run has the rates of an uninterrupted one. After
`total_steps` the rate stays constant.

Keras' PolynomialDecay, CosineDecay and PiecewiseConstantDecay are not used: with a final rate, a warm-up or milestones
their float32 arithmetic differs in the last bit, and a run of an earlier version would resume with other rates.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import keras

from segtrain.errors import ConfigError, argument
from segtrain.limits import Count, Exponent, Fraction, InnerFraction, Limits, Probability, limited
from segtrain.shell import setting

LearningRate = Annotated[float, Limits(0, 100)]


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base of schedules whose attributes are their constructor arguments."""

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))


@keras.saving.register_keras_serializable("segtrain")
class Poly(_Schedule):
    """learning_rate * (1 - step / total_steps) ** power, after a linear warm-up (arXiv:1706.05587, section 4.1).

    Args:
        learning_rate: Maximum learning rate.
        total_steps: Step at which the rate reaches its final value.
        power: 0.9 in the DeepLab papers; 1 is a straight line.
        warmup_steps: Steps of linear warm-up from 0.
        final_learning_rate: Rate at `total_steps`, below `learning_rate`.

    Raises:
        ConfigError: `warmup_steps` is negative or leaves no step; `final_learning_rate` is not below `learning_rate`.
    """

    @limited
    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        power: Exponent = 0.9,
        warmup_steps: Count = 0,
        final_learning_rate: LearningRate = 0.0,
    ) -> None:
        _check_warmup(warmup_steps, total_steps)
        _check_final(final_learning_rate, learning_rate)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.power = power
        self.warmup_steps = warmup_steps
        self.final_learning_rate = final_learning_rate

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        left = keras.ops.clip(1.0 - step / self.total_steps, 0.0, 1.0)
        rate = self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * left**self.power
        return rate * _warmup(step, self.warmup_steps)


@keras.saving.register_keras_serializable("segtrain")
class Cosine(_Schedule):
    """Half a cosine from `learning_rate` down, after a linear warm-up (Loshchilov and Hutter 2016, arXiv:1608.03983).

    Args:
        learning_rate: Maximum learning rate.
        total_steps: Step at which the rate reaches its final value.
        warmup_steps: Steps of linear warm-up from 0.
        final_learning_rate: Rate at `total_steps`, below `learning_rate`.

    Raises:
        ConfigError: `warmup_steps` is negative or leaves no step; `final_learning_rate` is not below `learning_rate`.
    """

    @limited
    def __init__(
        self, learning_rate: float, total_steps: int, warmup_steps: Count = 0, final_learning_rate: LearningRate = 0.0
    ) -> None:
        _check_warmup(warmup_steps, total_steps)
        _check_final(final_learning_rate, learning_rate)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.final_learning_rate = final_learning_rate

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        rate = _half_wave(self.learning_rate, self.final_learning_rate, step / self.total_steps)
        return rate * _warmup(step, self.warmup_steps)


@keras.saving.register_keras_serializable("segtrain")
class OneCycle(_Schedule):
    """Half a cosine up to `learning_rate`, then half a cosine down (Smith and Topin 2017, arXiv:1708.07120).

    Args:
        learning_rate: Maximum learning rate.
        total_steps: Step at which the rate reaches its final value.
        rise: Fraction of the steps after which the rate is at its maximum, between 0 and 1.
        start: Initial rate as a fraction of the maximum, 0-1.
        end: Final rate as a fraction of the maximum, 0-1.

    Raises:
        ConfigError: `rise` is not between 0 and 1, or `start` or `end` is not from 0 to 1.
    """

    @limited
    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        rise: InnerFraction = 0.3,
        start: Probability = 0.04,
        end: Probability = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.rise = rise
        self.start = start
        self.end = end

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        top = self.rise * self.total_steps
        rising = _half_wave(self.start * self.learning_rate, self.learning_rate, step / top)
        falling = _half_wave(self.learning_rate, self.end * self.learning_rate, (step - top) / (self.total_steps - top))
        return keras.ops.where(step < top, rising, falling)


@keras.saving.register_keras_serializable("segtrain")
class StepDecay(_Schedule):
    """learning_rate * factor ** n once n milestones are passed, after a linear warm-up.

    Args:
        learning_rate: Maximum learning rate.
        total_steps: Number of steps of the run.
        milestones: Fractions of `total_steps` between 0 and 1, in rising order, each rounded to a step, the first one
            with the lower rate.
        factor: Factor of the rate at each milestone, above 0 and at most 1.
        warmup_steps: Steps of linear warm-up from 0.

    Raises:
        ConfigError: `milestones` are not such fractions, `factor` is not above 0 and at most 1, `warmup_steps` is
            negative or leaves no step.
    """

    @limited
    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        milestones: Sequence[InnerFraction] = (0.6, 0.9),
        factor: Fraction = 0.1,
        warmup_steps: Count = 0,
    ) -> None:
        _check_warmup(warmup_steps, total_steps)
        bounds = [0, *milestones, 1]
        if not all(before < after for before, after in zip(bounds, bounds[1:], strict=False)):
            raise ConfigError(
                f"{argument('milestones')}={list(milestones)}: expected fractions of the steps in rising order, each "
                f"above 0 and below 1. Fix: {setting(argument('milestones'), [0.6, 0.9])}"
            )
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.milestones = list(milestones)
        self.factor = factor
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        rate = self.learning_rate * keras.ops.ones_like(step)
        for milestone in self.milestones:
            rate = rate * keras.ops.where(step >= round(milestone * self.total_steps), self.factor, 1.0)
        return rate * _warmup(step, self.warmup_steps)


def constant(learning_rate: float, total_steps: int) -> float:
    """Keep one rate through all of `total_steps`."""
    return learning_rate


def _half_wave(first: float, last: float, fraction: Any) -> Any:
    """Interpolate between two rates along half a cosine; `fraction` is clipped to 0-1."""
    return last + (first - last) * 0.5 * (1.0 + keras.ops.cos(math.pi * keras.ops.clip(fraction, 0.0, 1.0)))


def _warmup(step: Any, warmup_steps: int) -> Any:
    return keras.ops.minimum(1.0, (step + 1.0) / warmup_steps) if warmup_steps else 1.0


def _check_warmup(warmup_steps: int, total_steps: int) -> None:
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"{argument('warmup_steps')}={warmup_steps}: expected 0..{total_steps - 1}, less than the run's steps"
        )


def _check_final(final_learning_rate: float, learning_rate: float) -> None:
    # With learning_rate=0 a run scores and saves without changing weights.
    if not 0 <= final_learning_rate < learning_rate and not final_learning_rate == learning_rate == 0:
        raise ConfigError(
            f"{argument('final_learning_rate')}={final_learning_rate}: expected from 0 to below "
            f"learning_rate={learning_rate}. Fix: {argument('final_learning_rate')}=0"
        )
