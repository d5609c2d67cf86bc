"""DeepLabV3 and V3+: the keras.io network to the parameter, any image's size, and what each option promises.

B batch, H height, W width, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.random_weights import random_pixels, randomise
from segtrain.errors import ConfigError
from segtrain.models import Backbone, application, deeplabv3, deeplabv3plus
from segtrain.models.backbones import WeightSource
from segtrain.models.cost import at_size, count_multiply_adds, count_parameters

pytestmark = pytest.mark.tensorflow

SIZES = [(32, 32), (64, 96), (65, 97), (33, 130)]
NETWORKS = [deeplabv3, deeplabv3plus]


@pytest.fixture(scope="module")
def keras_io_2021():
    """The network of the keras.io program, which classifies at full resolution; and one that classifies first."""
    backbone = application(
        name="ResNet50", high="conv4_block6_2_relu", low="conv2_block3_2_relu", weights=None, preprocessing="tf"
    )
    options = {"separable": False, "dropout": 0, "pool_bias": True}
    models = [deeplabv3plus(backbone, 20, classifier_before_upsampling=first, **options) for first in (False, True)]
    return [at_size(model, 512, 512) for model in models]


@pytest.fixture(scope="module")
def mobilenet():
    return application(name="MobileNetV2", alpha=0.35, weights=None)


def _tiny_backbone(output_stride=16):
    """Two strided convolutions with batch norm: high at stride 4, whatever it says, low at stride 2."""
    pixels = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescaling")(pixels)
    taps = []
    for name in ("low", "high"):
        x = keras.layers.Conv2D(6, 3, 2, padding="same", use_bias=False, name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        taps.append(x)
    stages, source = {2: taps[0], 4: taps[1]}, WeightSource(None, False, None)
    return Backbone(pixels, taps[1], taps[0], "high_relu", "low_relu", stages, output_stride, {}, source)


def _tiny(build=deeplabv3plus, num_classes=3, output_stride=16, **options):
    channels = {"aspp_channels": 8}
    if build is deeplabv3plus:
        channels |= {"low_level_channels": 4, "decoder_channels": 8}
    return build(_tiny_backbone(output_stride), num_classes, **channels | options)


def _names(model, kind):
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


def test_keras_io_2021_has_the_published_number_of_parameters(keras_io_2021):
    trainable, fixed = count_parameters(keras_io_2021[0])
    assert (trainable + fixed, trainable, fixed) == (11_857_236, 11_824_500, 32_736)


def test_keras_io_2021_has_a_biased_pool_branch_and_classifies_at_full_resolution(keras_io_2021):
    model, _ = keras_io_2021
    assert model.get_layer("conv4_block6_2_relu").output.shape == (None, 32, 32, 256)
    assert model.get_layer("conv2_block3_2_relu").output.shape == (None, 128, 128, 64)
    assert model.get_layer("aspp_pool_conv").use_bias and not model.get_layer("aspp_1x1_conv").use_bias
    assert model.get_layer("classifier").input.shape == (None, 512, 512, 256)
    assert model.layers[-1].name == "classifier"
    assert model.output.shape == (None, 512, 512, 20)


def test_keras_io_2021_costs_40_8_billion_multiply_adds(keras_io_2021):
    # performance.md counts each twice: 81.6 GFLOP, and 79.1 with the classifier first.
    full, classifier_first = map(count_multiply_adds, keras_io_2021)
    assert 2 * full / 1e9 == pytest.approx(81.6, abs=0.05)
    assert 2 * classifier_first / 1e9 == pytest.approx(79.1, abs=0.05)
    assert full - classifier_first == (512 * 512 - 128 * 128) * 256 * 20


@pytest.fixture
def in_float64():
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(usual)


@pytest.mark.parametrize("options", [{}, {"align_corners": True}, {"single_logit": True}], ids=str)
@pytest.mark.parametrize("build", NETWORKS)
def test_classifier_before_upsampling_gives_the_same_logits_and_gradients_in_float64(build, options, in_float64):
    # A 1x1 convolution and interpolation commute, so that only the rounding differs.
    classes = 2 if "single_logit" in options else 3
    before, after = (
        _tiny(build, classes, dropout=0, classifier_before_upsampling=first, **options) for first in (True, False)
    )
    assert {weight.dtype for weight in before.weights} == {"float64"}
    pixels = random_pixels(2, 33, 47).astype(np.float64)
    randomise(before, pixels)
    after.set_weights(before.get_weights())
    labels, results = np.random.default_rng(1).integers(0, classes, (2, 33, 47)), []
    for model in (before, after):
        with tf.GradientTape() as tape:
            logits = model(pixels, training=True)
            loss = tf.reduce_mean(keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        results.append((logits, tape.gradient(loss, model.trainable_variables)))
    (logits, gradients), (other_logits, other_gradients) = results
    assert np.std(logits) > 0.1
    np.testing.assert_allclose(logits, other_logits, atol=1e-12 * np.abs(logits).max())
    largest = max(np.abs(gradient).max() for gradient in gradients)
    for variable, gradient, other in zip(before.trainable_variables, gradients, other_gradients, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-12 * largest, err_msg=variable.path)


@pytest.mark.parametrize("build", NETWORKS)
def test_one_network_takes_photographs_of_any_size(build, mobilenet):
    model = build(mobilenet, 5)
    for size in SIZES:
        logits = model(random_pixels(2, *size), training=False)
        assert logits.shape == (2, *size, 5)
        assert np.isfinite(logits).all()


def test_the_copy_at_a_known_size_gives_the_same_logits(mobilenet):
    free = deeplabv3plus(mobilenet, 5, dropout=0)
    for size in SIZES:
        fixed = at_size(free, *size)
        fixed.set_weights(free.get_weights())
        pixels = random_pixels(2, *size)
        assert fixed.output_shape == (None, *size, 5)
        # Batch statistics keep the numbers of an untrained network near 1.
        expected = np.asarray(free(pixels, training=True))
        np.testing.assert_allclose(fixed(pixels, training=True), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("build", NETWORKS)
def test_dropout_acts_in_training_only(build):
    model, pixels = _tiny(build, dropout=0.5), random_pixels(1, 16, 16)
    assert np.ptp([model(pixels, training=True) for _ in range(2)], axis=0).max() > 0
    np.testing.assert_array_equal(model(pixels, training=False), model(pixels, training=False))
    assert not _names(_tiny(build, dropout=0), keras.layers.Dropout)


def _dilations(model):
    """By layer, of the ASPP's 3x3 convolutions."""
    kernels = [layer for layer in model.layers if layer.name.startswith("aspp_branch") and hasattr(layer, "kernel")]
    return {layer.name: layer.dilation_rate for layer in kernels if layer.kernel_size == (3, 3)}


@pytest.mark.parametrize("separable, dilated", [(False, "conv"), (True, "depthwise")])
@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize(
    "output_stride, dilations",
    # arXiv:1706.05587, section 3.3: 6, 12, 18 at 16, "doubled when output_stride = 8"; at 32 they are halved. In
    # pixels of the image always 6 * 16 = 12 * 8 = 3 * 32 = 96, 192 and 288.
    [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])],
)
def test_dilations_follow_from_the_output_stride(build, output_stride, dilations, separable, dilated):
    model = _tiny(build, output_stride=output_stride, separable=separable)
    assert _dilations(model) == {
        f"aspp_branch_{place}_{dilated}": (rate, rate) for place, rate in enumerate(dilations, start=1)
    }


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_given_dilations_stand_at_every_output_stride(output_stride):
    model = _tiny(output_stride=output_stride, aspp_dilations=[2, 5])
    assert _dilations(model) == {"aspp_branch_1_depthwise": (2, 2), "aspp_branch_2_depthwise": (5, 5)}


def _behind_aspp(model):
    """Names of the layers with a kernel behind the ASPP's projection, and of the early tap's."""
    names = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
    return sorted(names[names.index("aspp_projection_conv") + 1 :])


@pytest.mark.parametrize(
    "build, options, names",
    [
        (deeplabv3, {}, ["classifier"]),
        (deeplabv3, {"head_convolutions": 1}, ["classifier", "head_1_conv"]),
        (
            deeplabv3,
            {"head_convolutions": 2, "separable": True},
            ["classifier", "head_1_conv", "head_1_depthwise", "head_2_conv", "head_2_depthwise"],
        ),
        (deeplabv3plus, {"separable": False}, ["classifier", "decoder_1_conv", "decoder_2_conv", "low_level_conv"]),
        (
            deeplabv3plus,
            {"aspp_convolutions": 1, "decoder_convolutions": 1},
            ["aspp_head_1_conv", "aspp_head_1_depthwise"]
            + ["classifier", "decoder_1_conv", "decoder_1_depthwise", "low_level_conv"],
        ),
        (deeplabv3plus, {"decoder_convolutions": 0}, ["classifier", "low_level_conv"]),
    ],
)
def test_convolutions_behind_the_aspp(build, options, names):
    model = _tiny(build, **options)
    assert _behind_aspp(model) == names
    assert model(random_pixels(1, 16, 24), training=False).shape == (1, 16, 24, 3)


@pytest.mark.parametrize("build", NETWORKS)
def test_conv_bias_is_of_every_convolution_before_a_batch_norm(build):
    model = _tiny(build, conv_bias=True, separable=False)
    heads = [layer for layer in model.layers if layer.name.endswith("_conv")]
    assert len(heads) == {deeplabv3: 6, deeplabv3plus: 6 + 3}[build] and all(layer.use_bias for layer in heads)
    assert not any(layer.use_bias for layer in _tiny(build).layers if layer.name.endswith("_conv"))


@pytest.mark.parametrize("build, split", [(deeplabv3, 3), (deeplabv3plus, 3 + 2)])
def test_separable_networks_have_no_norm_between_the_halves_where_it_is_not_wanted(build, split):
    with_norm, without = (_tiny(build, separable=True, depthwise_norm=each) for each in (True, False))
    assert len(_names(with_norm, keras.layers.DepthwiseConv2D)) == split
    assert _names(without, keras.layers.DepthwiseConv2D) == _names(with_norm, keras.layers.DepthwiseConv2D)
    norms = [_names(model, keras.layers.BatchNormalization) for model in (with_norm, without)]
    assert [sum("depthwise" in name for name in each) for each in norms] == [split, 0]


def test_an_aspp_without_relu_leaves_that_of_the_head():
    model = _tiny(deeplabv3, aspp_relu=False, head_convolutions=1)
    assert _names(model, keras.layers.ReLU) == ["low_relu", "high_relu", "head_1_relu"]


def test_only_the_decoder_has_a_relu_before_batch_norm_where_it_is_asked_for():
    model = _tiny(relu_before_norm=True)
    doubled = [name for name in _names(model, keras.layers.ReLU) if name.endswith("first_relu")]
    assert doubled == ["decoder_1_first_relu", "decoder_2_first_relu"]
    for place in ("decoder_1", "decoder_2"):
        order = [model.get_layer(f"{place}_{name}") for name in ("conv", "first_relu", "bn", "relu")]
        for before, layer in zip(order, order[1:], strict=False):
            assert layer.input is before.output


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("before", [True, False])
def test_align_corners_reaches_the_logits_and_the_decoder(build, before):
    model = _tiny(build, align_corners=True, classifier_before_upsampling=before)
    aligned = {layer.name: layer.align_corners for layer in model.layers if hasattr(layer, "align_corners")}
    decoder = {"decoder_upsampling": True} if build is deeplabv3plus else {}
    # The pooled branch is one pixel: the same everywhere in either way.
    assert aligned == {"aspp_pool_upsampling": False, "upsampling": True} | decoder


@pytest.mark.parametrize("build", NETWORKS)
def test_a_single_logit_is_a_sigmoid_network(build):
    model, pixels = _tiny(build, 2, single_logit=True), random_pixels(2, 17, 26)
    randomise(model, pixels)
    sigmoid_network = keras.Model(model.input, keras.ops.sigmoid(model.get_layer("upsampling").output))
    expected = np.asarray(sigmoid_network(pixels, training=False))
    assert expected.shape == (2, 17, 26, 1) and np.std(expected) > 0.05
    shares = keras.ops.softmax(model(pixels, training=False))
    np.testing.assert_allclose(shares, np.concatenate([1 - expected, expected], axis=-1), atol=1e-6)
    # One filter less than for two classes: 8 channels and a bias.
    assert sum(count_parameters(_tiny(build, 2))) - sum(count_parameters(model)) == 8 + 1


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize(
    "options, said",
    [
        ({"aspp_dilations": []}, "aspp_dilations=[]: expected at least one"),
        ({"aspp_dilations": [6, 0]}, "aspp_dilations=[6, 0]: expected"),
        ({"aspp_dilations": [-6]}, "aspp_dilations=[-6]: expected"),
        ({"aspp_channels": 0}, "aspp_channels=0: expected"),
        ({"dropout": 1}, "dropout=1: expected"),
        ({"dropout": -0.1}, "dropout=-0.1: expected"),
        ({"dropout": float("nan")}, "dropout=nan: expected"),
        (
            {"single_logit": True},
            "single_logit=true: the dataset has 3 classes, expected 2. Fix: single_logit=false",
        ),
    ],
    ids=str,
)
def test_an_option_out_of_its_range_is_one_line(build, options, said):
    with pytest.raises(ConfigError) as caught:
        _tiny(build, **options)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["low_level_channels", "decoder_channels"])
def test_a_decoder_without_channels_is_refused(key):
    with pytest.raises(ConfigError, match=rf"{key}=0: expected"):
        _tiny(**{key: 0})


@pytest.mark.parametrize("build", NETWORKS)
def test_networks_come_back_from_their_configs(build):
    model, pixels = _tiny(build, 2, align_corners=True, single_logit=True), random_pixels(1, 33, 47)
    again = keras.Model.from_config(model.get_config())
    assert again.name == build.__name__
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(pixels), model(pixels))
