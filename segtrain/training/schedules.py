"""The learning rate at each step. Built with the optimizer's `learning_rate` and the run's `total_steps`.

Each is a function of the step and of what it was built with, nothing else: a training that goes on has the rates of one
that never stopped. Past `total_steps` the rate stays what it was there.

Not thin functions over Keras' PolynomialDecay, CosineDecay and PiecewiseConstantDecay: with a final rate, a warm-up or
milestones their float32 arithmetic differs in the last bit, and a resumed run would not have the rates of its start.
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
    """A schedule whose attributes are the arguments that it was built with."""

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))


@keras.saving.register_keras_serializable("segtrain")
class Poly(_Schedule):
    """learning_rate * (1 - step / total_steps) ** power, after a linear rise (arXiv:1706.05587, section 4.1).

    Args:
        learning_rate: The highest rate.
        total_steps: Where the rate reaches its last.
        power: 0.9 in the DeepLab papers; 1 is a straight line.
        warmup_steps: Steps in which the rate rises from 0.
        final_learning_rate: The last rate; the fall is to it instead of to 0.

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
    """Half a cosine from `learning_rate` down, after a linear rise (Loshchilov and Hutter 2016, arXiv:1608.03983).

    Args:
        learning_rate: The highest rate.
        total_steps: Where the rate reaches its last.
        warmup_steps: Steps in which the rate rises from 0.
        final_learning_rate: The last rate.

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
        learning_rate: The highest rate.
        total_steps: Where the rate reaches its last.
        rise: The share of the steps after which the rate is highest, between 0 and 1.
        start: The first rate, as a share of the highest.
        end: The last rate, as a share of the highest.

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
    """learning_rate * factor ** n once n milestones are passed, after a linear rise.

    Args:
        learning_rate: The highest rate.
        total_steps: The whole of which the milestones are shares.
        milestones: Shares of the steps between 0 and 1, in rising order, each rounded to a step: its rate is lower
            already.
        factor: By which the rate is multiplied at each.
        warmup_steps: Steps in which the rate rises from 0.

    Raises:
        ConfigError: `milestones` are not such shares, `factor` is not above 0 and at most 1, `warmup_steps` is negative
            or leaves no step.
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
                f"{argument('milestones')}={list(milestones)}: expected shares of the steps in rising order, each "
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


def _half_wave(first: float, last: float, share: Any) -> Any:
    """From one rate to another along half a cosine; `share` of the way, and at its ends beyond them."""
    return last + (first - last) * 0.5 * (1.0 + keras.ops.cos(math.pi * keras.ops.clip(share, 0.0, 1.0)))


def _warmup(step: Any, warmup_steps: int) -> Any:
    return keras.ops.minimum(1.0, (step + 1.0) / warmup_steps) if warmup_steps else 1.0


def _check_warmup(warmup_steps: int, total_steps: int) -> None:
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"{argument('warmup_steps')}={warmup_steps}: expected 0..{total_steps - 1}, less than the run's steps"
        )


def _check_final(final_learning_rate: float, learning_rate: float) -> None:
    # A learning rate of 0 is a training that scores and saves and changes no weight.
    if not 0 <= final_learning_rate < learning_rate and not final_learning_rate == learning_rate == 0:
        raise ConfigError(
            f"{argument('final_learning_rate')}={final_learning_rate}: expected from 0 to below "
            f"learning_rate={learning_rate}. Fix: {argument('final_learning_rate')}=0"
        )
