"""DeepLabV3+: the keras.io network to the parameter, any photograph's size, and what its options promise.

B batch, H height, W width, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models import Backbone, deeplabv3plus, mobilenet_v2, resnet50
from segtrain.models.cost import at_size, count_multiply_adds, count_parameters

pytestmark = pytest.mark.tensorflow

SIZES = [(32, 32), (64, 96), (65, 97), (33, 130)]


@pytest.fixture(scope="module")
def keras_io_backbone():
    return resnet50(
        high="conv4_block6_2_relu",
        low="conv2_block3_2_relu",
        weights=None,
        preprocessing="tf",
    )


def _keras_io_2021(backbone, classifier_before_upsampling=False):
    return deeplabv3plus(
        backbone,
        20,
        separable=False,
        dropout=0,
        pool_bias=True,
        classifier_before_upsampling=classifier_before_upsampling,
        batch_norm_momentum=0.99,
    )


def _tiny_backbone():
    """Two strided convolutions with batch norm: high at stride 4, low at stride 2."""
    pixels = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescaling")(pixels)
    taps = []
    for name in ("low", "high"):
        x = keras.layers.Conv2D(6, 3, 2, padding="same", use_bias=False, name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        taps.append(x)
    return Backbone(pixels, taps[1], taps[0], "high_relu", "low_relu")


def _tiny(num_classes=3, **options):
    channels = {"aspp_channels": 8, "low_level_channels": 4, "decoder_channels": 8}
    return deeplabv3plus(_tiny_backbone(), num_classes, **channels, **options)


def _pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.float32)


def test_keras_io_2021_has_the_published_number_of_parameters(keras_io_backbone):
    trainable, fixed = count_parameters(_keras_io_2021(keras_io_backbone))
    assert (trainable + fixed, trainable, fixed) == (11_857_236, 11_824_500, 32_736)


def test_keras_io_2021_taps(keras_io_backbone):
    model = at_size(_keras_io_2021(keras_io_backbone), 512, 512)
    assert model.get_layer("conv4_block6_2_relu").output.shape == (None, 32, 32, 256)
    assert model.get_layer("conv2_block3_2_relu").output.shape == (None, 128, 128, 64)


def test_keras_io_2021_has_a_biased_pool_branch_and_classifies_at_full_resolution(keras_io_backbone):
    model = at_size(_keras_io_2021(keras_io_backbone), 512, 512)
    assert model.get_layer("aspp_pool_conv").use_bias and not model.get_layer("aspp_1x1_conv").use_bias
    assert model.get_layer("classifier").input.shape == (None, 512, 512, 256)
    assert model.layers[-1].name == "classifier"
    assert model.output.shape == (None, 512, 512, 20)


def test_keras_io_2021_costs_40_8_billion_multiply_adds(keras_io_backbone):
    # performance.md counts each twice: 81.6 GFLOP, and 79.1 with the classifier first.
    full, classifier_first = (
        count_multiply_adds(at_size(_keras_io_2021(keras_io_backbone, classifier_before_upsampling=first), 512, 512))
        for first in (False, True)
    )
    assert 2 * full / 1e9 == pytest.approx(81.6, abs=0.05)
    assert 2 * classifier_first / 1e9 == pytest.approx(79.1, abs=0.05)
    assert full - classifier_first == (512 * 512 - 128 * 128) * 256 * 20


def test_classifier_before_upsampling_gives_the_same_logits_and_gradients():
    before, after = _tiny(dropout=0), _tiny(dropout=0, classifier_before_upsampling=False)
    after.set_weights(before.get_weights())
    pixels = _pixels(2, 33, 47)
    labels = np.random.default_rng(1).integers(0, 3, (2, 33, 47))
    results = []
    for model in (before, after):
        with tf.GradientTape() as tape:
            logits = model(pixels, training=True)
            loss = tf.reduce_mean(keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        results.append((logits, tape.gradient(loss, model.trainable_variables)))
    (logits, gradients), (other_logits, other_gradients) = results
    assert np.std(logits) > 0.1
    np.testing.assert_allclose(logits, other_logits, atol=1e-5)
    largest = max(np.abs(gradient).max() for gradient in gradients)
    for variable, gradient, other in zip(before.trainable_variables, gradients, other_gradients, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-5 * largest, err_msg=variable.path)


def test_one_network_takes_photographs_of_any_size():
    model = deeplabv3plus(mobilenet_v2(alpha=0.35, weights=None), 5)
    for size in SIZES:
        logits = model(_pixels(2, *size), training=False)
        assert logits.shape == (2, *size, 5)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_copy_at_a_known_size_gives_the_same_logits(size):
    free = deeplabv3plus(mobilenet_v2(alpha=0.35, weights=None), 5, dropout=0)
    fixed = at_size(free, *size)
    fixed.set_weights(free.get_weights())
    pixels = _pixels(2, *size)
    assert fixed.output_shape == (None, *size, 5)
    # Batch statistics keep the numbers of an untrained network near 1.
    expected = np.asarray(free(pixels, training=True))
    np.testing.assert_allclose(fixed(pixels, training=True), expected, atol=1e-3 * np.abs(expected).max())


def test_dropout_acts_in_training_only():
    model, pixels = _tiny(dropout=0.5), _pixels(1, 16, 16)
    assert np.ptp([model(pixels, training=True) for _ in range(2)], axis=0).max() > 0
    np.testing.assert_array_equal(model(pixels, training=False), model(pixels, training=False))


def test_batch_norm_momentum_is_set_on_every_layer():
    model = deeplabv3plus(mobilenet_v2(alpha=0.35, weights=None), 5, batch_norm_momentum=0.9)
    momenta = [layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert momenta == [0.9] * len(momenta)
    assert len(momenta) > 40


def test_batch_norm_momentum_is_what_moves_the_statistics():
    model, pixels = _tiny(batch_norm_momentum=0.75), _pixels(2, 16, 16)
    statistics = model.get_layer("low_bn")
    batch_mean = np.mean(keras.Model(model.input, model.get_layer("low").output)(pixels), axis=(0, 1, 2))
    model(pixels, training=True)
    np.testing.assert_allclose(statistics.moving_mean, 0.25 * batch_mean, atol=1e-6)


@pytest.mark.parametrize("momentum", [0, 1, -0.1, 1.5, float("nan")])
def test_batch_norm_momentum_outside_0_to_1_is_refused(momentum):
    with pytest.raises(ConfigError, match=rf"model\.batch_norm_momentum={momentum}: expected a number between 0 and 1"):
        _tiny(batch_norm_momentum=momentum)


@pytest.mark.parametrize("dilations", [[], [6, 0], [-6]])
def test_dilations_that_are_no_distances_are_refused(dilations):
    with pytest.raises(ConfigError, match=r"model\.aspp_dilations=.*expected positive numbers"):
        _tiny(aspp_dilations=dilations)


def test_each_dilation_is_a_branch_of_that_dilation():
    model = _tiny(aspp_dilations=[2, 5])
    depthwise = [layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    dilated = {layer.name: layer.dilation_rate for layer in depthwise if layer.name.startswith("aspp")}
    assert dilated == {"aspp_dilation_2_depthwise": (2, 2), "aspp_dilation_5_depthwise": (5, 5)}


def test_logits_stay_in_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = _tiny()
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("decoder_2_conv").compute_dtype == "float16"
    assert model(_pixels(1, 16, 16)).dtype == tf.float32
