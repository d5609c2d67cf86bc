"""Averaged weights: what they average, how fast, where they are kept and who uses them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.losses import CrossEntropy
from segtrain.training.state import restore, restore_model, snapshot
from segtrain.training.step_options import StepOptions
from segtrain.training.trainer import Trainer
from segtrain.training.weight_ema import WeightEma

pytestmark = pytest.mark.tensorflow

CLASSES, VOID, DECAY = 3, 255, 0.3


def _network():
    """A convolution, batch norm and dropout."""
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(pixels)
    x = keras.layers.BatchNormalization(momentum=0.5, name="bn")(x)
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1, name="classifier")(x))


def _trainer(seed=0, ema_decay=DECAY):
    keras.utils.set_random_seed(seed)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, name="sgd")
    return Trainer(
        _network(), optimizer, CrossEntropy(VOID, CLASSES), CLASSES, VOID, options=StepOptions(ema_decay=ema_decay)
    )


def _run(trainer, steps, each_step=lambda batch, logs: None):
    def batches():
        for step in range(steps):
            images = np.random.default_rng(step).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)
            yield tf.constant(images), tf.constant(images[..., 0] // 86)

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=each_step)
    trainer.run(batches(), steps_per_epoch=steps, epochs=1, validate=dict, validate_every=1, callbacks=[watch])


def _state(trainer):
    return snapshot(trainer.model, trainer.optimizer, trainer.averages)


def test_averages_follow_weights_and_statistics_at_the_stated_pace():
    trainer, weights = _trainer(), []
    expected = [weight.astype(np.float64) for weight in trainer.model.get_weights()]
    _run(trainer, 5, lambda batch, logs: weights.append(trainer.model.get_weights()))
    # (1 + n) / (10 + n) of steps 1 to 5 is 2/11, 3/12, 4/13 (0.31), ...: the decay of 0.3 holds from step 3 on.
    for decay, now in zip((2 / 11, 3 / 12, 0.3, 0.3, 0.3), weights, strict=True):
        expected = [decay * average + (1 - decay) * weight for average, weight in zip(expected, now, strict=True)]
    found = dict(
        zip([weight.path for weight in trainer.model.weights], trainer.averages.model.get_weights(), strict=True)
    )
    assert {"bn/moving_mean", "bn/moving_variance", "bn/gamma", "conv/kernel"} < found.keys()
    for (path, average), wanted in zip(found.items(), expected, strict=True):
        np.testing.assert_allclose(average, wanted, rtol=1e-5, atol=1e-6, err_msg=path)
    assert all(np.abs(average - raw).max() > 1e-5 for average, raw in zip(found.values(), weights[-1], strict=True))


def test_a_weight_that_stands_still_is_its_own_average():
    model = _network()
    averages = WeightEma(model, 0.99)
    for step in range(3):
        averages.update(tf.constant(step))
    for average, weight in zip(averages.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(average, weight)


def test_the_weights_that_train_are_those_of_a_training_without_averages():
    averaged, plain = _trainer(), _trainer(ema_decay=0)
    for trainer in (averaged, plain):
        _run(trainer, 3)
    assert plain.averages is None and plain.scored_model is plain.model
    for one, other in zip(averaged.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_snapshot_holds_raw_and_averaged_weights_by_the_same_names():
    trainer = _trainer()
    _run(trainer, 2)
    state = _state(trainer)
    assert {name[4:] for name in state if name.startswith("ema/")} == {weight.path for weight in trainer.model.weights}
    np.testing.assert_array_equal(state["ema/bn/moving_mean"], trainer.averages.model.get_layer("bn").moving_mean)
    np.testing.assert_array_equal(state["model/bn/moving_mean"], trainer.model.get_layer("bn").moving_mean)
    assert (state["ema/bn/moving_mean"] != state["model/bn/moving_mean"]).all()


def test_a_network_within_the_network_keeps_its_names():
    # As ConvNeXt's stem: a Sequential, whose name a clone's variables lack.
    pixels = keras.Input((None, None, 3))
    stem = keras.Sequential([keras.layers.Conv2D(4, 3, name="conv")], name="stem")
    model = keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1, name="classifier")(stem(pixels)))
    assert list(WeightEma(model, 0.5).variables) == [weight.path for weight in model.weights]
    assert "stem/conv/kernel" in WeightEma(model, 0.5).variables


def test_a_restored_training_has_both_and_eval_takes_the_averages():
    trainer, other, model = _trainer(seed=0), _trainer(seed=1), _network()
    _run(trainer, 2)
    state = _state(trainer)
    restore(other.model, other.optimizer, state, other.averages)
    again = _state(other)
    assert {name: array.tobytes() for name, array in again.items()} == {
        name: array.tobytes() for name, array in state.items()
    }
    restore_model(model, state)
    for weight, average in zip(model.get_weights(), trainer.scored_model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, average)


def test_averages_may_begin_or_end_with_a_resumed_training():
    averaged, plain = _trainer(seed=0), _trainer(seed=1, ema_decay=0)
    _run(plain, 2)
    restore(averaged.model, averaged.optimizer, _state(plain), averaged.averages)
    for average, weight in zip(averaged.scored_model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(average, weight)
    _run(averaged, 1)
    restore(plain.model, plain.optimizer, _state(averaged), plain.averages)
    for weight, raw in zip(plain.model.get_weights(), averaged.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, raw)
