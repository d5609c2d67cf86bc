"""Learning rates step by step, by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.training import Cosine, OneCycle, Poly, StepDecay, constant

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


def test_one_cycle_rises_and_falls_along_half_waves():
    # Up from 0.1 to 1 in 4 steps, 0.1 + 0.9 (1 - cos(pi share)) / 2, and down to 0.2 in 6 alike.
    expected = [0.1, 0.55, 1, 0.8, 0.6, 0.4, 0.2]
    assert _rates(OneCycle(1.0, 10, rise=0.4, start=0.1, end=0.2), [0, 2, 4, 6, 7, 8, 10]) == pytest.approx(expected)
    assert _rates(OneCycle(0.5, 10, rise=0.4, start=0.1, end=0.2), [0, 2, 4, 6, 7, 8, 10]) == pytest.approx(
        [rate / 2 for rate in expected]
    )


def test_step_decay_falls_at_its_milestones():
    # Of 10 steps 0.25 and 0.8 are steps 2 (2.5 to the even) and 8.
    schedule = StepDecay(1.0, 10, milestones=[0.25, 0.8], factor=0.5)
    assert _rates(schedule, [0, 1, 2, 7, 8, 9]) == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("schedule", [Poly, Cosine])
def test_a_last_rate_above_0_is_fallen_to(schedule):
    plain, lifted = schedule(0.9, 10), schedule(1.0, 10, final_learning_rate=0.1)
    assert _rates(lifted, range(12)) == pytest.approx([0.1 + rate for rate in _rates(plain, range(12))])


@pytest.mark.parametrize("schedule", [Poly, Cosine, OneCycle])
def test_rates_stay_at_0_beyond_the_end(schedule):
    assert _rates(schedule(0.1, 10), [10, 11, 1000]) == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (Poly(0.1, 10, final_learning_rate=0.01), 0.01),
        (Cosine(0.1, 10, final_learning_rate=0.02), 0.02),
        (OneCycle(0.1, 10, end=0.3), 0.03),
        (StepDecay(0.1, 10), 0.001),
    ],
)
def test_the_last_rate_stays(schedule, last):
    assert _rates(schedule, [10, 11, 1000, 10**7]) == pytest.approx([last] * 4)


@pytest.mark.parametrize("schedule", [Poly, Cosine, StepDecay])
def test_warm_up_rises_to_the_schedule_in_equal_parts(schedule):
    plain, warm = schedule(0.1, 100), schedule(0.1, 100, warmup_steps=4)
    for step, share in enumerate([0.25, 0.5, 0.75, 1, 1, 1]):
        assert float(warm(step)) == pytest.approx(share * float(plain(step)))


def test_the_first_step_of_a_warm_up_learns_something():
    assert float(Poly(0.1, 100, warmup_steps=10)(0)) == pytest.approx(0.01)


@pytest.mark.parametrize("schedule", [Poly, Cosine, StepDecay])
@pytest.mark.parametrize("warmup_steps", [-1, 10, 11])
def test_a_warm_up_that_leaves_no_step_is_refused(schedule, warmup_steps):
    with pytest.raises(ConfigError, match=rf"warmup_steps={warmup_steps}: expected"):
        schedule(0.1, 10, warmup_steps=warmup_steps)


@pytest.mark.parametrize(
    ("schedule", "arguments", "message"),
    [
        (Poly, {"final_learning_rate": 0.1}, "final_learning_rate=0.1: expected from 0 to below learning_rate=0.1"),
        (Cosine, {"final_learning_rate": -0.1}, "final_learning_rate=-0.1: expected"),
        (OneCycle, {"rise": 0.0}, "rise=0.0: expected"),
        (OneCycle, {"rise": 1.0}, "rise=1.0: expected"),
        (OneCycle, {"start": 1.5}, "start=1.5: expected"),
        (OneCycle, {"end": -0.5}, "end=-0.5: expected"),
        (StepDecay, {"milestones": [0.9, 0.6]}, "milestones=[0.9, 0.6]: expected fractions of the steps"),
        (StepDecay, {"milestones": [30, 60]}, "milestones=[30, 60]: expected each a number above 0 to below 1"),
        (StepDecay, {"milestones": [0.0]}, "milestones=[0.0]: expected"),
        (StepDecay, {"factor": 0.0}, "factor=0.0: expected"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(schedule, arguments, message):
    with pytest.raises(ConfigError) as caught:
        schedule(0.1, 10, **arguments)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_constant_is_the_rate_itself():
    assert constant(0.003, 1000) == 0.003


@pytest.mark.parametrize(
    "schedule",
    [
        Poly(0.1, 50, power=0.7, warmup_steps=5, final_learning_rate=0.01),
        Cosine(0.2, 40, warmup_steps=3, final_learning_rate=0.01),
        OneCycle(0.2, 40, rise=0.2, start=0.5, end=0.1),
        StepDecay(0.2, 40, milestones=[0.1, 0.5], factor=0.3, warmup_steps=2),
    ],
)
def test_schedules_come_back_from_their_configs(schedule):
    serialized = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(serialized)
    assert type(again) is type(schedule)
    assert _rates(again, range(0, 50, 7)) == _rates(schedule, range(0, 50, 7))


@pytest.mark.parametrize(
    "schedule", [Poly(0.5, 6, warmup_steps=2), Cosine(0.5, 6), OneCycle(0.5, 6), StepDecay(0.5, 6)]
)
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


@pytest.mark.parametrize(
    "schedule", [Poly(0.1, 30, warmup_steps=3), Cosine(0.1, 30), OneCycle(0.1, 30), StepDecay(1, 30)]
)
def test_a_rate_depends_on_its_step_alone(schedule):
    # Whatever was asked for before, by int, NumPy or tensor, eagerly or in a graph.
    forwards = _rates(schedule, range(35))
    assert _rates(schedule, reversed(range(35)))[::-1] == forwards
    assert _rates(schedule, np.arange(35)) == forwards
    assert [float(rate) for rate in tf.function(schedule)(tf.range(35))] == pytest.approx(forwards, rel=1e-6, abs=1e-7)
