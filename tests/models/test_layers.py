"""Preprocessing, resizing, batch norm and the small layers, against Keras' own, a NumPy oracle and by hand.

B batch, H height, W width, C channels.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.models import layers
from segtrain.models.layers import (
    GroupNormalization,
    LayerScale,
    Preprocessing,
    ResizeLike,
    SigmoidLogits,
    keep_moving_statistics,
)

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocessing_equals_that_of_keras_applications(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(Preprocessing(mode)(pixels), expected, atol=1e-5)


@pytest.mark.parametrize(
    "mode, expected",
    [
        # RGB (10, 20, 30) -> BGR (30, 20, 10) minus (103.939, 116.779, 123.68)
        ("caffe", [-73.939, -96.779, -113.68]),
        # The same mean in RGB order, and RGB it stays: 10 - 123.68, 20 - 116.779, 30 - 103.939
        ("mean", [-113.68, -96.779, -73.939]),
        # 10 / 127.5 - 1 and so on
        ("tf", [-0.921569, -0.843137, -0.764706]),
        # (10/255 - 0.485) / 0.229, (20/255 - 0.456) / 0.224, (30/255 - 0.406) / 0.225
        ("torch", [-1.946656, -1.685574, -1.281569]),
        ("none", [10, 20, 30]),
    ],
)
def test_preprocessing_by_hand(mode, expected):
    said = Preprocessing(mode)(np.array([[[[10, 20, 30]]]], np.uint8))
    assert said.dtype == tf.float32
    np.testing.assert_allclose(said[0, 0, 0], expected, rtol=2e-6)


def _resized(features, height, width, align_corners):
    """What bilinear resizing is: linear interpolation down the columns, then along the rows; no anti-aliasing."""

    def along(axis, wanted, x):
        length = x.shape[axis]
        if align_corners:
            centres = np.linspace(0, length - 1, wanted)
        else:
            centres = (np.arange(wanted) + 0.5) * length / wanted - 0.5  # np.interp holds the borders
        return np.apply_along_axis(lambda values: np.interp(centres, np.arange(length), values), axis, x)

    return along(2, width, along(1, height, features))


# Down to one pixel and up from it, finer, coarser, both, and the same.
RESIZED = [
    ((7, 9), (1, 1)),
    ((1, 1), (5, 7)),
    ((7, 9), (13, 18)),
    ((7, 9), (5, 3)),
    ((3, 9), (30, 4)),
    ((4, 6), (4, 6)),
]


@pytest.mark.parametrize("size, wanted", RESIZED, ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-14)])
def test_resize_like_interpolates_between_pixel_centres(size, wanted, align_corners, dtype, tolerance):
    features = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(dtype)
    said = ResizeLike(align_corners, dtype=dtype)([features, np.zeros((2, *wanted, 1), dtype)])
    assert said.dtype == dtype
    expected = _resized(features, *wanted, align_corners)
    np.testing.assert_allclose(said, expected, atol=tolerance * max(1, 2 * np.abs(expected).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("align_corners, expected", [(False, [0, 0.25, 0.75, 1]), (True, [0, 1 / 3, 2 / 3, 1])])
def test_resize_like_by_hand(align_corners, expected, dtype):
    # Two pixels 0 1 over a length of 1 have their centers at 1/4 and 3/4, the four new ones at 1/8 3/8 5/8 7/8: the
    # outer ones hold the border, (3/8 - 1/4) / (1/2) = 1/4. Corners aligned: the four lie at 0 1/3 2/3 1 of the way.
    features, like = np.array([0, 1], dtype).reshape(1, 1, 2, 1), np.zeros((1, 1, 4, 1), dtype)
    said = ResizeLike(align_corners, dtype=dtype)([features, like])
    np.testing.assert_allclose(np.ravel(said), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (9, 13), (14, 18), (4, 30)], ids=str)
def test_resize_like_equals_tensorflows_bilinear_resize(size):
    features = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)
    resized = ResizeLike()([features, np.zeros((2, *size, 1), np.float32)])
    np.testing.assert_array_equal(resized, tf.image.resize(features, size))


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_gradient_of_resizing_is_what_each_place_gave(align_corners):
    # Resizing is linear: its gradient against one weight per result is that of every single place's own picture.
    features, pull = tf.Variable(tf.zeros((1, 3, 2, 1))), np.random.default_rng(0).normal(size=(1, 5, 6, 1))
    with tf.GradientTape() as tape:
        cost = tf.reduce_sum(ResizeLike(align_corners)([features, pull]) * pull)
    impulses = np.eye(6).reshape(6, 3, 2, 1)
    expected = [np.sum(_resized(impulse[None], 5, 6, align_corners) * pull) for impulse in impulses]
    np.testing.assert_allclose(np.ravel(tape.gradient(cost, features)), expected, atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
def test_one_pixel_becomes_a_constant_map(align_corners):
    features = np.array([3.5, -2.0], np.float32).reshape(1, 1, 1, 2)
    resized = ResizeLike(align_corners)([features, np.zeros((1, 5, 7, 1), np.float32)])
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
    low = keras.layers.AveragePooling2D(2)(Preprocessing("torch")(pixels))
    low = LayerScale(0.5, 3)(GroupNormalization(3)(layers.BatchNormalization(momentum=0.75)(low)))
    model = keras.Model(pixels, SigmoidLogits()(keras.layers.Conv2D(1, 1)(ResizeLike(True)([low, pixels]))))
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(image), model(image))


def _batch_norm(kind, shape, **options):
    layer = kind(momentum=0.9, **options)
    layer.build((None, None, None, shape[-1]))
    rng = np.random.default_rng(7)
    layer.set_weights([rng.uniform(0.5, 1.5, shape[-1]) for _ in layer.weights])
    return layer


@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (8, 1, 1, 6), (1, 2, 1, 3)])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_fused_batch_norm_equals_that_of_keras_in_values_gradients_and_statistics(shape, trainable, scale):
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(3, 2, shape), tf.float32)
    pull = tf.constant(rng.normal(0, 1, shape), tf.float32)
    seen = []
    for kind in (keras.layers.BatchNormalization, layers.BatchNormalization):
        layer = _batch_norm(kind, shape, scale=scale)
        assert len(layer.weights) == 3 + scale
        layer.trainable = trainable
        of = [x, layer.beta.value, *([layer.gamma.value] if scale else [])]
        with tf.GradientTape() as tape:
            tape.watch(of)
            trained = layer(x, training=True)
            loss = tf.reduce_sum(trained * pull)
        seen.append([trained, *tape.gradient(loss, of), *layer.get_weights(), layer(x, training=False)])
    for expected, said in zip(*seen, strict=True):
        np.testing.assert_allclose(said, expected, rtol=1e-4, atol=2e-5)


def test_fused_batch_norm_moves_its_statistics_by_hand():
    layer = layers.BatchNormalization(momentum=0.75)
    layer(tf.constant([[[[1.0]], [[3.0]]]]), training=True)
    # mean (1 + 3) / 2 = 2, biased variance 1; from 0 and 1: 0.75 * 0 + 0.25 * 2 and 0.75 * 1 + 0.25 * 1
    assert [float(layer.moving_mean[0]), float(layer.moving_variance[0])] == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(
    "options, kind",
    [({"dtype": "mixed_float16"}, "float16"), ({"dtype": "float64"}, "float64"), ({"center": False}, "float32")],
    ids=str,
)
def test_batch_norm_falls_back_on_keras_where_the_kernel_does_not_apply(options, kind):
    x = np.random.default_rng(2).normal(0, 1, (2, 3, 3, 4)).astype("float32")
    expected = keras.layers.BatchNormalization(**options)(x, training=True)
    said = layers.BatchNormalization(**options)(x, training=True)
    assert said.dtype == kind
    np.testing.assert_array_equal(said, expected)


@pytest.mark.parametrize("traced", [False, True])
def test_a_second_forward_pass_leaves_the_statistics_alone_and_gives_the_same_numbers(traced):
    x = tf.constant(np.random.default_rng(0).normal(3, 2, (2, 4, 5, 3)), tf.float32)
    layer = _batch_norm(layers.BatchNormalization, x.shape)

    def first():
        return layer(x, training=True)

    def second():
        with keep_moving_statistics():
            return layer(x, training=True)

    if traced:
        first, second = tf.function(first), tf.function(second)
    before = layer.get_weights()
    again = second()
    np.testing.assert_array_equal(layer.get_weights(), before)
    np.testing.assert_array_equal(first(), again)
    # Outside of the block they move: 0.9 of the old and 0.1 of the batch's own mean.
    moved = 0.9 * before[2] + 0.1 * np.mean(x, axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, moved, rtol=1e-5)


def test_statistics_move_again_after_an_error_in_the_second_pass():
    layer = layers.BatchNormalization(momentum=0.5)
    with pytest.raises(ZeroDivisionError), keep_moving_statistics():
        1 / 0  # noqa: B018
    layer(tf.fill((1, 2, 2, 1), 8.0), training=True)
    assert float(layer.moving_mean[0]) == 0.5 * 0 + 0.5 * 8


def test_group_norm_by_hand():
    # Two groups of the four channels 1 3 10 30: means 2 and 20, deviations 1 and 10.
    said = GroupNormalization(2, epsilon=1e-6)(np.array([[[[1.0, 3.0, 10.0, 30.0]]]]), training=True, mask=None)
    np.testing.assert_allclose(np.ravel(said), [-1, 1, -1, 1], rtol=1e-5)


def test_group_norm_is_that_of_keras_in_training_and_out_of_it():
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 5, 6)).astype(np.float32)
    expected = keras.layers.GroupNormalization(3)(x)
    for training in (True, False):
        np.testing.assert_array_equal(GroupNormalization(3)(x, training=training), expected)


def test_layer_scale_multiplies_each_channel_by_its_number_under_a_name_that_lasts():
    first, layer = (LayerScale(0.5, 2, name="scale") for _ in range(2))
    # 0.5 * 3 and 0.5 * 4; then by 2 and -1.
    x = np.array([[[[3.0, 4.0]]]])
    assert np.ravel(first(x)).tolist() == np.ravel(layer(x)).tolist() == [1.5, 2]
    assert [weight.path for weight in [*first.trainable_weights, *layer.trainable_weights]] == ["scale/gamma"] * 2
    layer.set_weights([np.array([2.0, -1.0])])
    assert np.ravel(layer(x)).tolist() == [6, -4]


def test_one_logit_becomes_two_whose_softmax_is_its_sigmoid():
    # Odds of 3 to 1: the logit log 3 is the probability 3/4, and e^0 / (e^0 + e^(log 3)) = 1/4 is the rest.
    logits = np.array([0.0, np.log(3), -np.log(3), 200, -200]).reshape(1, 1, 5, 1)
    said = SigmoidLogits()(logits)
    np.testing.assert_array_equal(said[0, 0, :, 0], np.zeros(5))
    np.testing.assert_allclose(said[0, 0, :, 1], np.ravel(logits), rtol=1e-6)
    shares = [[1 / 2, 1 / 2], [1 / 4, 3 / 4], [3 / 4, 1 / 4], [0, 1], [1, 0]]
    np.testing.assert_allclose(keras.ops.softmax(said)[0, 0], shares, atol=1e-6)
    assert SigmoidLogits()(keras.Input((None, 7, 1))).shape == (None, None, 7, 2)
