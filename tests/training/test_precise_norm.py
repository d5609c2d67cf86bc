"""Statistics of batch norm that are counted anew."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models.layers import BatchNormalization
from segtrain.training.precise_norm import PreciseNorm
from segtrain.training.state import snapshot

pytestmark = pytest.mark.tensorflow


def _network(**norm):
    keras.utils.set_random_seed(0)
    pixels = keras.Input((None, None, 3))
    x = BatchNormalization(name="first", momentum=0.9, **norm)(pixels)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Conv2D(2, 1, name="conv")(x)
    return keras.Model(pixels, BatchNormalization(name="second", momentum=0.9)(x))


def _batches():
    for seed in range(3):
        images = np.random.default_rng(seed).normal(seed, 2, (2, 4, 5, 3)).astype(np.float32)
        yield tf.constant(images), tf.zeros((2, 4, 5), tf.uint8)


def test_statistics_are_those_of_all_batches_together():
    model = _network()
    model.get_layer("first").moving_mean.assign([50.0, 60.0, 70.0])  # leaves no trace
    PreciseNorm(model).measure(_batches())
    images = np.stack([images for images, _ in _batches()]).astype(np.float64)
    first, second = model.get_layer("first"), model.get_layer("second")
    np.testing.assert_allclose(first.moving_mean, images.mean(axis=(0, 1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(first.moving_variance, images.var(axis=(0, 1, 2, 3)), rtol=1e-4)
    # Each batch goes on as in training, by its own statistics, and without dropout.
    normal = (images - images.mean(axis=(1, 2, 3), keepdims=True)) / np.sqrt(
        images.var(axis=(1, 2, 3), keepdims=True) + first.epsilon
    )
    kernel, bias = (weight.astype(np.float64) for weight in model.get_layer("conv").get_weights())
    features = normal @ kernel[0, 0] + bias
    np.testing.assert_allclose(second.moving_mean, features.mean(axis=(0, 1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(second.moving_variance, features.var(axis=(0, 1, 2, 3)), rtol=1e-4)


def test_nothing_else_changes_and_counting_twice_is_counting_once():
    model, optimizer = _network(), keras.optimizers.SGD(0.1, name="sgd")
    before = snapshot(model, optimizer)
    precise = PreciseNorm(model)
    precise.measure(_batches())
    once = snapshot(model, optimizer)
    precise.measure(_batches())
    for name, array in snapshot(model, optimizer).items():
        np.testing.assert_array_equal(array, once[name], err_msg=name)
        if "/moving_" not in name:  # the counter of dropout among them
            np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert "model/counter/0" in before
    assert [model.get_layer(name).momentum for name in ("first", "second")] == [0.9, 0.9]


def test_batch_norm_that_is_frozen_keeps_its_statistics():
    model = _network(trainable=False)
    PreciseNorm(model).measure(_batches())
    assert (model.get_layer("first").moving_mean.numpy() == 0).all()
    assert (model.get_layer("second").moving_mean.numpy() != 0).all()


def test_a_network_without_batch_norm_is_refused():
    pixels = keras.Input((None, None, 3))
    with pytest.raises(ConfigError, match="precise_bn_batches: .*batch norm.*Fix: precise_bn_batches=0"):
        PreciseNorm(keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels)))
