"""How gradients become a step: clipping, factors by layer, weights that are held."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.training.updates import Updates, freeze_batch_norm

pytestmark = pytest.mark.tensorflow


def _variables():
    return [keras.Variable(np.full((2, 2), 1.0, "f4"), name="kernel"), keras.Variable(np.full(3, 2.0, "f4"), name="b")]


def _gradients(step):
    rng = np.random.default_rng(step)
    return [tf.constant(rng.normal(size=shape), tf.float32) for shape in ((2, 2), (3,))]


def _updates(optimizer, variables, factors=None, clip_norm=None):
    optimizer.build(variables)
    return Updates(optimizer, variables, factors or {}, clip_norm)


@pytest.mark.parametrize("clip_norm", [0.5, 1e3])
def test_gradients_are_scaled_down_to_their_common_norm(clip_norm):
    variables, gradients = _variables(), _gradients(0)
    norm = np.sqrt(sum(np.sum(gradient.numpy().astype(np.float64) ** 2) for gradient in gradients))
    assert 0.5 < norm < 1e3
    seen = _updates(keras.optimizers.SGD(1.0), variables, clip_norm=clip_norm).apply(gradients)
    assert float(seen) == pytest.approx(norm, rel=1e-6)
    for variable, start, gradient in zip(variables, (1.0, 2.0), gradients, strict=True):
        np.testing.assert_allclose(variable, start - gradient.numpy() * min(1, clip_norm / norm), rtol=1e-5, atol=1e-6)


def test_without_clipping_there_is_no_norm():
    assert _updates(keras.optimizers.SGD(1.0), _variables()).apply(_gradients(0)) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: keras.optimizers.SGD(rate, momentum=0.9, weight_decay=0.1),
        lambda rate: keras.optimizers.Adam(rate),
        lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
    ],
)
def test_a_factor_is_a_learning_rate_of_its_own(make):
    # One optimizer with a factor of 0.1 for the kernel; against one for each variable, at 0.02 and at 0.2.
    variables, (kernel, bias) = _variables(), _variables()
    one, slow, fast = make(0.2), make(0.2 * 0.1), make(0.2)
    updates = _updates(one, variables, {variables[0].path: 0.1})
    for step in range(5):
        gradients = _gradients(step)
        updates.apply(gradients)
        slow.apply(gradients[:1], [kernel])
        fast.apply(gradients[1:], [bias])
    assert np.abs(variables[0] - 1.0).max() > 0.01
    np.testing.assert_allclose(variables[0], kernel, rtol=1e-5)
    np.testing.assert_array_equal(variables[1], bias)


def test_a_factor_of_0_wants_no_gradient_and_no_decay():
    variables = _variables()
    updates = _updates(keras.optimizers.AdamW(0.1, weight_decay=0.5), variables, {variables[0].path: 0.0})
    assert updates.variables == variables[1:]
    updates.apply(_gradients(0)[1:])
    assert (variables[0].numpy() == 1.0).all() and (variables[1].numpy() != 2.0).all()


def test_a_held_weight_goes_on_with_the_momentum_of_its_gradients():
    # Gradients of 1, rate 0.1, momentum 0.9: velocities 0.1, 0.19, 0.271; two steps are held.
    variables = _variables()
    updates = _updates(keras.optimizers.SGD(0.1, momentum=0.9), variables)
    for held in ({variables[0].path}, {variables[0].path}, set()):
        updates.apply([tf.ones((2, 2)), tf.ones(3)], held)
        if held:
            assert (variables[0].numpy() == 1.0).all()
    np.testing.assert_allclose(variables[0], 1 - 0.271, rtol=1e-6)
    np.testing.assert_allclose(variables[1], 2 - 0.1 - 0.19 - 0.271, rtol=1e-6)


def test_batch_norm_at_rest_uses_its_statistics_and_leaves_them():
    norm, frozen = keras.layers.BatchNormalization(), keras.layers.BatchNormalization(trainable=False)
    images = tf.random.stateless_uniform((2, 3, 3, 4), (0, 0))
    norm.build(images.shape), frozen.build(images.shape)
    with freeze_batch_norm([norm, frozen, keras.layers.ReLU()]):
        np.testing.assert_allclose(norm(images, training=True), images / np.sqrt(1 + 1e-3), rtol=1e-5)
    assert (norm.moving_mean.numpy() == 0).all()
    assert norm.trainable and not frozen.trainable
    norm(images, training=True)
    assert (norm.moving_mean.numpy() != 0).all()
