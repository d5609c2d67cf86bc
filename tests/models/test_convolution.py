"""Convolution by the direct kernel and pooling over dilated windows, against Keras' own ways and a loop in NumPy.

B batch, H height, W width, C channels.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.models import convolution
from segtrain.models.convolution import Conv2D, DepthwiseConv2D
from segtrain.models.pooling import DilatedPooling2D

pytestmark = pytest.mark.tensorflow


def _values_and_gradients(layer, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        pull = tf.constant(np.random.default_rng(9).normal(size=y.shape), y.dtype)
        cost = tf.reduce_sum(y * pull)
    return [y, *tape.gradient(cost, [x, *layer.trainable_variables])]


def _pair(*arguments, channels=5, **options):
    """Keras' layer and ours with the same random weights."""
    layers = [kind(*arguments, **options) for kind in (keras.layers.Conv2D, Conv2D)]
    for layer in layers:
        layer.build((None, None, None, channels))
    layers[1].set_weights(layers[0].get_weights())
    return layers


@pytest.fixture
def direct_kernels(monkeypatch):
    """The dilations that TensorFlow's direct convolution is called with."""
    called, conv2d = [], tf.nn.conv2d

    def spy(*arguments, **options):
        called.append(options.get("dilations"))
        return conv2d(*arguments, **options)

    monkeypatch.setattr(tf.nn, "conv2d", spy)
    return called


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel, dilation", [(3, 2), (3, (2, 3)), (3, 6), (2, 3), ((1, 3), 4)], ids=str)
def test_dilated_convolution_equals_that_of_keras_in_values_and_gradients(kernel, dilation, padding, direct_kernels):
    x = np.random.default_rng(0).normal(size=(2, 15, 17, 5)).astype(np.float32)
    plain, ours = _pair(7, kernel, dilation_rate=dilation, padding=padding)
    expected = _values_and_gradients(plain, x)
    assert not direct_kernels  # Keras takes space-to-batch
    for said, wanted in zip(_values_and_gradients(ours, x), expected, strict=True):
        np.testing.assert_allclose(said, wanted, atol=2e-5 * np.abs(wanted).max())
    assert direct_kernels == [ours.dilation_rate]


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (8, 3)], ids=str)
def test_of_a_dilation_beyond_the_map_the_middle_of_the_kernel_is_left(size, direct_kernels):
    x = np.random.default_rng(0).normal(size=(2, *size, 5)).astype(np.float32)
    plain, ours = _pair(7, 3, dilation_rate=8, padding="same")
    # All other taps lie 8 away, outside of a map of at most 8: a 1x1 convolution.
    expected = x @ np.asarray(ours.kernel)[1, 1]
    said, *gradients = _values_and_gradients(ours, x)
    np.testing.assert_allclose(said, expected, atol=1e-5)
    assert direct_kernels == [(8, 8)]
    for gradient, wanted in zip(gradients, _values_and_gradients(plain, x)[1:], strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("options", [{"strides": 2}, {"dilation_rate": 1}, {"dilation_rate": 2, "groups": 5}], ids=str)
def test_other_convolutions_are_left_to_keras(options, direct_kernels):
    x = np.random.default_rng(0).normal(size=(1, 9, 8, 5)).astype(np.float32)
    plain, ours = _pair(5, 3, padding="same", **options)
    np.testing.assert_array_equal(ours(x), plain(x))
    assert not direct_kernels


def test_other_dtypes_are_left_to_keras(direct_kernels):
    x = np.random.default_rng(0).normal(size=(1, 9, 8, 5))
    plain, ours = _pair(5, 3, padding="same", dilation_rate=2, dtype="float64")
    np.testing.assert_array_equal(ours(x), plain(x))
    assert not direct_kernels


def test_without_a_gradient_of_the_direct_kernel_keras_way_is_kept(monkeypatch, direct_kernels):
    monkeypatch.setattr(convolution, "_dilation_has_a_gradient", lambda: False)
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 5)).astype(np.float32)
    plain, ours = _pair(5, 3, padding="same", dilation_rate=2)
    for said, wanted in zip(_values_and_gradients(ours, x), _values_and_gradients(plain, x), strict=True):
        np.testing.assert_array_equal(said, wanted)
    assert not direct_kernels


def test_a_dilated_convolution_trains_where_tensorflow_runs_without_onednn():
    # There the direct kernel has no gradient on a CPU. The switch is read when TensorFlow is first imported.
    program = (
        "import tensorflow as tf; from segtrain.models import convolution\n"
        "layer, x = convolution.Conv2D(2, 3, dilation_rate=2, padding='same'), tf.ones((1, 6, 6, 3))\n"
        "with tf.GradientTape() as tape: cost = tf.reduce_sum(layer(x))\n"
        "print(convolution._dilation_has_a_gradient(), *(g.shape for g in tape.gradient(cost, layer.variables)))\n"
    )
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout == "False (3, 3, 3, 2) (2,)\n", done.stderr


def test_symmetric_padding_is_torchs_rule_by_hand():
    # A row 1 2 3 4 5 6, kernel 1 1 1, stride 2. torch pads one zero on each side:
    # 0+1+2, 2+3+4, 4+5+6. TensorFlow pads the end of an even row only: 1+2+3, 3+4+5, 5+6+0.
    row = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 6, 1)
    options = {"strides": (1, 2), "padding": "same", "use_bias": False, "kernel_initializer": "ones"}
    assert np.ravel(Conv2D(1, (1, 3), symmetric=True, **options)(row)).tolist() == [3, 9, 15]
    assert np.ravel(Conv2D(1, (1, 3), **options)(row)).tolist() == [6, 12, 11]


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(8, 12), (9, 13), (8, 13), (1, 2)], ids=str)
def test_symmetric_padding_is_half_the_kernel_on_every_side_at_even_and_odd_sizes(size, kernel):
    pixels = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    options, half = {"strides": 2, "use_bias": False}, kernel // 2
    ours, plain = (
        Conv2D(4, kernel, padding="same", symmetric=True, **options),
        keras.layers.Conv2D(4, kernel, **options),
    )
    x = keras.Input((*size, 3))
    # torch: (n + 2 * half - kernel) // 2 + 1.
    height, width = ((length + 2 * half - kernel) // 2 + 1 for length in size)
    assert ours(x).shape == (None, height, width, 4)
    plain.build((None, None, None, 3))
    plain.set_weights(ours.get_weights())
    padded = np.pad(pixels, [(0, 0), (half, half), (half, half), (0, 0)])
    np.testing.assert_allclose(ours(pixels), plain(padded), atol=1e-5)


def test_convolution_and_pooling_come_back_from_their_configs():
    x = keras.Input((None, None, 3))
    y = Conv2D(4, 3, 2, padding="same", symmetric=True, name="conv")(x)
    model = keras.Model(x, DilatedPooling2D("mean", (3, 2), 2, name="pool")(y))
    again = keras.Model.from_config(model.get_config())
    assert again.get_layer("conv").symmetric and again.get_layer("pool").pool_size == (3, 2)
    again.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).normal(size=(1, 9, 12, 3))
    np.testing.assert_array_equal(again(pixels), model(pixels))


def _pooled(kind, x, pool_size, dilation, pull):
    """Pool (H, W) numbers in a loop over places; with the gradient of the sum of `pull` times the result."""
    height, width = x.shape
    result, gradient = np.zeros_like(x), np.zeros_like(x)
    for i in range(height):
        for j in range(width):
            rows = [i + (place - (pool_size[0] - 1) // 2) * dilation for place in range(pool_size[0])]
            columns = [j + (place - (pool_size[1] - 1) // 2) * dilation for place in range(pool_size[1])]
            inside = [(r, c) for r in rows for c in columns if 0 <= r < height and 0 <= c < width]
            if kind == "max":
                largest = max(inside, key=lambda place: x[place])
                result[i, j] = x[largest]
                gradient[largest] += pull[i, j]
            else:
                result[i, j] = np.mean([x[place] for place in inside])
                for place in inside:
                    gradient[place] += pull[i, j] / len(inside)
    return result, gradient


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("pool_size, dilation", [((2, 2), 1), ((3, 3), 1), ((2, 2), 2), ((3, 3), 4), ((3, 2), 3)])
def test_pooling_over_a_dilated_window_equals_a_loop_over_its_places(kind, pool_size, dilation):
    rng = np.random.default_rng(0)
    x, pull = rng.normal(-3, 1, (2, 7, 9, 2)), rng.normal(size=(2, 7, 9, 2))  # all below 0: a border of 0 would win
    layer = DilatedPooling2D(kind, pool_size, dilation, dtype="float64")
    features = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(features)
        said = layer(features)
        cost = tf.reduce_sum(said * pull)
    gradient = tape.gradient(cost, features)
    for image in range(2):
        for channel in range(2):
            place = (image, slice(None), slice(None), channel)
            wanted, wanted_gradient = _pooled(kind, x[place], pool_size, dilation, pull[place])
            np.testing.assert_allclose(said[place], wanted)
            np.testing.assert_allclose(gradient[place], wanted_gradient, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_pooling_works_in_halves(dtype):
    x = tf.reshape(tf.cast(tf.range(-12, 0), dtype), (1, 3, 4, 1))
    # Rows -12..-9, -8..-5, -4..-1: the largest lies at the window's end.
    said = DilatedPooling2D("max", (2, 2), 1, dtype=dtype)(x)
    assert np.ravel(tf.cast(said, tf.float32)).tolist() == [-7, -6, -5, -5, -3, -2, -1, -1, -3, -2, -1, -1]


@pytest.mark.parametrize("kind, layer", [("max", keras.layers.MaxPooling2D), ("mean", keras.layers.AveragePooling2D)])
def test_every_second_place_is_what_the_strided_pooling_gives(kind, layer):
    x = np.random.default_rng(0).normal(size=(1, 8, 10, 3)).astype(np.float32)
    dense = DilatedPooling2D(kind, (2, 2), 1)(x)
    np.testing.assert_allclose(dense[:, ::2, ::2], layer(2)(x), atol=1e-6)


@pytest.fixture
def space_to_batch(monkeypatch):
    """The dilations that Keras' own depthwise convolution is called with."""
    called, own = [], keras.layers.DepthwiseConv2D.call

    def spy(layer, inputs):
        called.append(layer.dilation_rate[0])
        return own(layer, inputs)

    monkeypatch.setattr(keras.layers.DepthwiseConv2D, "call", spy)
    return called


# 7/8 of 9 and 13, the longer side, is 11.4: from 12 on the products are summed one by one.
@pytest.mark.parametrize("dilation, summed", [(1, False), (6, False), (11, False), (12, True), (13, True), (40, True)])
@pytest.mark.parametrize("kernel", [3, 5, (3, 5)], ids=str)
def test_far_dilated_depthwise_convolution_equals_that_of_keras(kernel, dilation, summed, space_to_batch):
    x = np.random.default_rng(0).normal(size=(2, 9, 13, 4)).astype(np.float32)
    options = {"padding": "same", "dilation_rate": dilation, "use_bias": False}
    plain, ours = keras.layers.DepthwiseConv2D(kernel, **options), DepthwiseConv2D(kernel, **options)
    for layer in (plain, ours):
        layer.build(x.shape)
    ours.set_weights(plain.get_weights())
    expected = _values_and_gradients(plain, x)
    space_to_batch.clear()
    for value, wanted in zip(_values_and_gradients(ours, x), expected, strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-5 * np.abs(wanted).max())
    assert space_to_batch == ([] if summed else [dilation])


@pytest.mark.parametrize("options", [{"use_bias": True}, {"padding": "valid"}, {"depth_multiplier": 2}], ids=str)
def test_other_depthwise_convolutions_are_left_to_keras(options, space_to_batch):
    layer = DepthwiseConv2D(1, **{"padding": "same", "dilation_rate": 20, "use_bias": False} | options)
    layer(np.ones((1, 9, 13, 4), np.float32))
    assert space_to_batch == [20]
