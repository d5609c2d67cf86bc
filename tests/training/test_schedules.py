"""Learning rates step by step, by hand."""

import math

import keras
import numpy as np
import pytest

from segtrain.errors import ConfigError
from segtrain.training import Cosine, Poly, constant

pytestmark = pytest.mark.tensorflow


def _rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_poly_falls_as_the_power_of_the_steps_left():
    # 0.5 ** 0.9 = 0.535887, and a tenth left: 0.1 ** 0.9 = 0.125893
    assert _rates(Poly(0.02, 100), [0, 50, 90, 100]) == pytest.approx([0.02, 0.01071773, 0.00251785, 0], abs=1e-8)


def test_poly_of_power_1_is_a_straight_line():
    assert _rates(Poly(1.0, 4, power=1), range(5)) == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_cosine_is_half_a_wave():
    # 0.5 * (1 + cos(pi * share)) at 0, 1/3, 1/2, 2/3, 1
    assert _rates(Cosine(0.4, 6), [0, 2, 3, 4, 6]) == pytest.approx([0.4, 0.3, 0.2, 0.1, 0], abs=1e-7)


@pytest.mark.parametrize("schedule", [Poly, Cosine])
def test_rates_stay_at_0_beyond_the_end(schedule):
    assert _rates(schedule(0.1, 10), [10, 11, 1000]) == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("schedule", [Poly, Cosine])
def test_warm_up_rises_to_the_schedule_in_equal_parts(schedule):
    plain, warm = schedule(0.1, 100), schedule(0.1, 100, warmup_steps=4)
    for step, share in enumerate([0.25, 0.5, 0.75, 1, 1, 1]):
        assert float(warm(step)) == pytest.approx(share * float(plain(step)))


def test_the_first_step_of_a_warm_up_learns_something():
    assert float(Poly(0.1, 100, warmup_steps=10)(0)) == pytest.approx(0.01)


@pytest.mark.parametrize("schedule", [Poly, Cosine])
@pytest.mark.parametrize("warmup_steps", [-1, 10, 11])
def test_a_warm_up_that_leaves_no_step_is_refused(schedule, warmup_steps):
    with pytest.raises(ConfigError, match=rf"schedule\.warmup_steps={warmup_steps}: expected 0\.\.9"):
        schedule(0.1, 10, warmup_steps=warmup_steps)


def test_constant_is_the_rate_itself():
    assert constant(0.003, 1000) == 0.003


@pytest.mark.parametrize("schedule", [Poly(0.1, 50, power=0.7, warmup_steps=5), Cosine(0.2, 40, warmup_steps=3)])
def test_schedules_come_back_from_their_configs(schedule):
    serialized = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(serialized)
    assert type(again) is type(schedule)
    assert _rates(again, range(0, 50, 7)) == _rates(schedule, range(0, 50, 7))


@pytest.mark.parametrize("schedule", [Poly(0.5, 6, warmup_steps=2), Cosine(0.5, 6)])
def test_a_keras_optimizer_steps_by_the_schedules_rate(schedule):
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = keras.optimizers.SGD(learning_rate=schedule)
    optimizer.build([weight])
    for step in range(6):
        before = float(weight.numpy()[0])
        optimizer.apply([np.ones(1, np.float32)])
        # Plain gradient descent on a gradient of 1 moves by the rate.
        assert before - float(weight.numpy()[0]) == pytest.approx(float(schedule(step)), abs=1e-6)


def test_rates_are_exact_late_in_a_long_run():
    # float32 steps: one of 10 million still tells 1e-7 of the way.
    assert float(Poly(1.0, 10_000_000, power=1)(9_999_999)) == pytest.approx(1e-7, rel=0.25)
    assert math.isfinite(float(Poly(1.0, 10_000_000)(9_999_999)))
