"""Preprocessing, resizing and the blocks, against Keras' own functions and by hand.

B batch, H height, W width, C channels.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.models import layers
from segtrain.models.layers import Preprocessing, ResizeLike, aspp, conv_block

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("mode", ["caffe", "tf"])
def test_preprocessing_equals_that_of_keras_applications(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(Preprocessing(mode)(pixels), expected, atol=1e-5)


def test_caffe_preprocessing_by_hand():
    # RGB (10, 20, 30) -> BGR (30, 20, 10) minus (103.939, 116.779, 123.68)
    said = Preprocessing("caffe")(np.array([[[[10, 20, 30]]]], np.uint8))
    np.testing.assert_allclose(said[0, 0, 0], [-73.939, -96.779, -113.68], rtol=1e-6)


def test_no_preprocessing_leaves_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)
    said = Preprocessing("none")(pixels)
    assert said.dtype == tf.float32
    np.testing.assert_array_equal(said, pixels)


def test_resize_like_samples_between_pixel_centres():
    # Two pixels 0 1 have their centres at 1/4 and 3/4; the four new centres 1/8 3/8 5/8 7/8 give 0 1/4 3/4 1.
    features, like = np.array([0.0, 1.0], np.float32).reshape(1, 1, 2, 1), np.zeros((1, 1, 4, 1))
    np.testing.assert_allclose(np.ravel(ResizeLike()([features, like])), [0, 0.25, 0.75, 1])


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (9, 13), (14, 18), (4, 30)], ids=str)
def test_resize_like_equals_tensorflows_bilinear_resize(size):
    features = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)
    resized = ResizeLike()([features, np.zeros((2, *size, 1), np.float32)])
    np.testing.assert_array_equal(resized, tf.image.resize(features, size))


def test_one_pixel_becomes_a_constant_map():
    features = np.array([3.5, -2.0], np.float32).reshape(1, 1, 1, 2)
    resized = ResizeLike()([features, np.zeros((1, 5, 7, 1), np.float32)])
    np.testing.assert_array_equal(resized, np.broadcast_to(features, (1, 5, 7, 2)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_resize_like_keeps_the_dtype(dtype):
    features = tf.cast(np.arange(4.0).reshape(1, 2, 2, 1), dtype)
    resized = ResizeLike(dtype=dtype)([features, tf.zeros((1, 3, 5, 1), dtype)])
    assert resized.dtype == dtype
    expected = tf.cast(tf.image.resize(tf.cast(features, tf.float32), (3, 5)), dtype)
    np.testing.assert_array_equal(tf.cast(resized, tf.float32), tf.cast(expected, tf.float32))


def test_resize_like_knows_its_shape_before_it_runs():
    features, like = keras.Input((None, None, 6)), keras.Input((33, None, 2))
    assert ResizeLike()([features, like]).shape == (None, 33, None, 6)


def test_layers_come_back_from_their_configs():
    pixels = keras.Input((None, None, 3))
    low = keras.layers.AveragePooling2D(2)(Preprocessing("caffe")(pixels))
    model = keras.Model(pixels, ResizeLike()([low, pixels]))
    again = keras.Model.from_config(model.get_config())
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(image), model(image))


@pytest.mark.parametrize("separable", [False, True])
def test_a_dilated_kernel_touches_pixels_that_far_apart(separable):
    x = keras.Input((11, 11, 1))
    model = keras.Model(x, conv_block(x, 1, 3, "block", dilation=4, separable=separable))
    for weight in model.trainable_weights:
        if "kernel" in weight.name:
            weight.assign(np.ones(weight.shape))
    impulse = np.zeros((1, 11, 11, 1), np.float32)
    impulse[0, 5, 5] = 1
    rows, columns = np.nonzero(np.asarray(model(impulse, training=False))[0, :, :, 0])
    assert set(zip(rows, columns, strict=True)) == {(r, c) for r in (1, 5, 9) for c in (1, 5, 9)}


@pytest.mark.parametrize(
    "options, numbers",
    [
        ({}, 9 * 5 * 7 + 4 * 7),  # kernel, batch norm
        ({"use_bias": True}, 9 * 5 * 7 + 7 + 4 * 7),
        ({"separable": True}, 9 * 5 + 4 * 5 + 5 * 7 + 4 * 7),  # depthwise, batch norm, pointwise, batch norm
    ],
)
def test_parameters_of_a_block_from_5_to_7_channels(options, numbers):
    x = keras.Input((4, 4, 5))
    assert keras.Model(x, conv_block(x, 7, 3, "block", **options)).count_params() == numbers


def _aspp(pool_bias=False, dropout=0.0):
    x = keras.Input((None, None, 3))
    y = aspp(x, channels=4, dilations=(6, 12, 18), separable=False, pool_bias=pool_bias, dropout=dropout)
    return keras.Model(x, y)


def test_aspp_joins_its_branches_in_the_order_of_the_keras_io_program():
    model = _aspp()
    branches = ["aspp_pool", "aspp_1x1", "aspp_dilation_6", "aspp_dilation_12", "aspp_dilation_18"]
    joined, *parts = keras.Model(
        model.input,
        [
            model.get_layer("aspp_concat").output,
            *(model.get_layer(f"{name}_relu").output for name in branches),
        ],
    )(np.random.default_rng(0).normal(size=(2, 9, 7, 3)), training=True)
    assert joined.shape == (2, 9, 7, 5 * 4)
    for index, part in enumerate(parts):
        # The pooled branch is one pixel, spread over the map.
        np.testing.assert_array_equal(joined[..., 4 * index : 4 * index + 4], np.broadcast_to(part, (2, 9, 7, 4)))


def test_aspp_pools_the_whole_map():
    model = _aspp()
    pooled = keras.Model(model.input, model.get_layer("aspp_pool").output)
    features = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(pooled(features)[:, 0, 0], features.mean(axis=(1, 2)), atol=1e-6)


def test_only_the_pooled_branch_has_the_bias_that_is_asked_for():
    biased = [layer.name for layer in _aspp(pool_bias=True).layers if getattr(layer, "use_bias", False)]
    assert biased == ["aspp_pool_conv"]
    assert not any(getattr(layer, "use_bias", False) for layer in _aspp().layers)


def test_aspp_drops_its_stated_share_while_training_only():
    model = _aspp(dropout=0.25)
    features = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    whole, dropped = keras.Model(model.input, [model.get_layer("aspp_projection_relu").output, model.output])(
        features, training=True
    )
    active = np.asarray(whole) > 0
    # About 2,000 active numbers: the share's standard deviation is below 0.01.
    assert np.mean(np.asarray(dropped)[active] == 0) == pytest.approx(0.25, abs=0.05)
    np.testing.assert_array_equal(model(features, training=False), model(features, training=False))


def _batch_norm(kind, shape, **options):
    layer = kind(momentum=0.9, **options)
    layer.build((None, None, None, shape[-1]))
    rng = np.random.default_rng(7)
    layer.set_weights([rng.uniform(0.5, 1.5, shape[-1]) for _ in layer.weights])
    return layer


@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (8, 1, 1, 6), (1, 2, 1, 3)])
@pytest.mark.parametrize("trainable", [True, False])
def test_fused_batch_norm_equals_that_of_keras_in_values_gradients_and_statistics(shape, trainable):
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(3, 2, shape), tf.float32)
    pull = tf.constant(rng.normal(0, 1, shape), tf.float32)
    seen = []
    for kind in (keras.layers.BatchNormalization, layers.BatchNormalization):
        layer = _batch_norm(kind, shape)
        layer.trainable = trainable
        with tf.GradientTape() as tape:
            tape.watch([x, layer.gamma.value, layer.beta.value])
            trained = layer(x, training=True)
            loss = tf.reduce_sum(trained * pull)
        gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        seen.append([trained, *gradients, *layer.get_weights(), layer(x, training=False)])
    for expected, said in zip(*seen, strict=True):
        np.testing.assert_allclose(said, expected, rtol=1e-4, atol=2e-5)


def test_fused_batch_norm_moves_its_statistics_by_hand():
    layer = layers.BatchNormalization(momentum=0.75)
    layer(tf.constant([[[[1.0]], [[3.0]]]]), training=True)
    # mean (1 + 3) / 2 = 2, biased variance 1; from 0 and 1: 0.75 * 0 + 0.25 * 2 and 0.75 * 1 + 0.25 * 1
    assert [float(layer.moving_mean[0]), float(layer.moving_variance[0])] == pytest.approx([0.5, 1.0])


def test_batch_norm_falls_back_on_keras_where_the_kernel_does_not_apply():
    x = np.random.default_rng(2).normal(0, 1, (2, 3, 3, 4)).astype("float32")
    for options, kind in (({"dtype": "mixed_float16"}, "float16"), ({"scale": False}, "float32")):
        expected = keras.layers.BatchNormalization(**options)(x, training=True)
        said = layers.BatchNormalization(**options)(x, training=True)
        assert said.dtype == kind
        np.testing.assert_array_equal(said, expected)


def test_rebuilding_with_fused_batch_norm_keeps_names_and_answers():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    plain = keras.Model(inputs, x)
    fused = layers.with_fused_batch_norm(plain)
    assert [layer.name for layer in fused.layers] == [layer.name for layer in plain.layers]
    assert type(fused.get_layer("bn")) is layers.BatchNormalization
    fused.set_weights(plain.get_weights())
    pixels = np.random.default_rng(3).uniform(0, 1, (2, 8, 9, 3)).astype("float32")
    np.testing.assert_allclose(fused(pixels), plain(pixels), atol=1e-6)
