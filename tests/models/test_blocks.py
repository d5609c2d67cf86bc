"""The blocks of segtrain's networks: what each convolution sees, what follows it, what it costs, how a network ends.

B batch, H height, W width, C channels, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.random_weights import random_pixels, randomise
from segtrain.models.backbones import Backbone, WeightSource
from segtrain.models.blocks import aspp, classify, conv_block
from segtrain.models.convolution import Conv2D
from segtrain.models.cost import count_parameters
from segtrain.models.layers import BatchNormalization

pytestmark = pytest.mark.tensorflow


def _features(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _block(channels=5, filters=7, **options):
    x = keras.Input((None, None, channels))
    return keras.Model(x, conv_block(x, filters, 3, "block", **options))


def _aspp(**options):
    x = keras.Input((None, None, 3))
    return keras.Model(x, aspp(x, **{"aspp_channels": 4, "aspp_dilations": [6, 12, 18]} | options))


def _names(model):
    return [layer.name for layer in model.layers[1:]]


def _outputs(model, *names):
    tensors = [model.get_layer(name).output for name in names]
    return keras.Model(model.input, tensors if len(tensors) > 1 else tensors[0])


@pytest.mark.parametrize("separable", [False, True])
def test_a_dilated_kernel_touches_pixels_that_far_apart(separable):
    model = _block(1, 1, dilation_rate=4, separable=separable)
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
        ({"conv_bias": True}, 9 * 5 * 7 + 7 + 4 * 7),
        ({"separable": True}, 9 * 5 + 4 * 5 + 5 * 7 + 4 * 7),  # depthwise, batch norm, pointwise, batch norm
        ({"separable": True, "depthwise_norm": False}, 9 * 5 + 5 * 7 + 4 * 7),
        ({"separable": True, "conv_bias": True}, 9 * 5 + 4 * 5 + 5 * 7 + 7 + 4 * 7),  # none between the two halves
        ({"relu": False, "relu_before_norm": True}, 9 * 5 * 7 + 4 * 7),
    ],
    ids=str,
)
def test_parameters_of_a_block_from_5_to_7_channels(options, numbers):
    assert sum(count_parameters(_block(**options))) == numbers


@pytest.mark.parametrize(
    "options, layers",
    [
        ({}, ["conv", "bn", "relu"]),
        ({"relu": False}, ["conv", "bn"]),
        ({"relu_before_norm": True}, ["conv", "first_relu", "bn", "relu"]),
        ({"separable": True}, ["depthwise", "depthwise_bn", "depthwise_relu", "conv", "bn", "relu"]),
        ({"separable": True, "depthwise_norm": False}, ["depthwise", "conv", "bn", "relu"]),
        (
            {"separable": True, "relu_before_norm": True, "relu": False},
            ["depthwise", "depthwise_bn", "depthwise_relu", "conv", "first_relu", "bn"],
        ),
    ],
    ids=str,
)
def test_layers_of_a_block_follow_each_other(options, layers):
    model = _block(**options)
    assert _names(model) == [f"block_{name}" for name in layers]
    for before, layer in zip(model.layers, model.layers[1:], strict=False):
        assert layer.input is before.output


def test_a_relu_before_batch_norm_by_hand():
    # Convolved -1 and 3, batch norm with mean 1 and variance 4: (x - 1) / 2.
    #   conv, norm, ReLU         -1  1  ->  0    1
    #   conv, ReLU, norm          0  3  -> -1/2  1
    #   conv, ReLU, norm, ReLU              0    1
    #   conv, norm                         -1    1
    said = []
    for first, last in ((False, True), (True, False), (True, True), (False, False)):
        x = keras.Input((1, 2, 1))
        model = keras.Model(x, conv_block(x, 1, 1, "block", relu_before_norm=first, relu=last))
        model.get_layer("block_bn").epsilon = 0
        model.set_weights([np.ones((1, 1, 1, 1)), np.ones(1), np.zeros(1), np.ones(1), np.full(1, 4.0)])
        said.append(np.ravel(model(np.array([[[[-1.0], [3.0]]]]), training=False)).tolist())
    assert said == [[0, 1], [-0.5, 1], [0, 1], [-1, 1]]


def test_blocks_are_made_of_segtrains_own_faster_layers():
    model = _block(separable=True)
    assert type(model.get_layer("block_conv")) is Conv2D
    assert type(model.get_layer("block_bn")) is type(model.get_layer("block_depthwise_bn")) is BatchNormalization


def test_aspp_joins_its_branches_in_the_order_of_the_keras_io_program():
    model = _aspp()
    branches = ["aspp_pool", "aspp_1x1", "aspp_branch_1", "aspp_branch_2", "aspp_branch_3"]
    outputs = _outputs(model, "aspp_concat", *(f"{name}_relu" for name in branches))
    joined, *parts = outputs(_features(2, 9, 7, 3), training=True)
    assert joined.shape == (2, 9, 7, 5 * 4)
    for index, part in enumerate(parts):
        # The pooled branch is one pixel, spread over the map.
        np.testing.assert_array_equal(joined[..., 4 * index : 4 * index + 4], np.broadcast_to(part, (2, 9, 7, 4)))


@pytest.mark.parametrize("separable, dilated", [(False, "conv"), (True, "depthwise")])
def test_branches_are_named_by_their_place_so_that_weights_serve_every_output_stride(separable, dilated):
    variables = []
    for dilations in ([6, 12, 18], [12, 24, 36]):
        model = _aspp(aspp_dilations=dilations, separable=separable)
        found = {layer.name: layer.dilation_rate for layer in model.layers if hasattr(layer, "dilation_rate")}
        assert {name: rates for name, rates in found.items() if max(rates) > 1} == {
            f"aspp_branch_{place}_{dilated}": (rate, rate) for place, rate in enumerate(dilations, start=1)
        }
        variables.append([(weight.path, weight.shape) for weight in model.weights])
    assert variables[0] == variables[1]


def test_aspp_pools_the_whole_map():
    features = _features(2, 5, 7, 3)
    pooled = _outputs(_aspp(), "aspp_pool")(features)
    np.testing.assert_allclose(pooled[:, 0, 0], features.mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize(
    "options, biased",
    [
        ({}, []),
        ({"pool_bias": True}, ["pool"]),
        ({"conv_bias": True, "aspp_dilations": [6]}, ["pool", "1x1", "branch_1", "projection"]),
    ],
    ids=str,
)
def test_only_those_convolutions_have_a_bias_that_are_asked_for_one(options, biased):
    found = [layer.name for layer in _aspp(**options).layers if getattr(layer, "use_bias", False)]
    assert sorted(found) == sorted(f"aspp_{name}_conv" for name in biased)


def test_an_aspp_without_relu_has_none_at_all():
    # Pool, 1x1, three branches and the projection.
    assert sum(isinstance(layer, keras.layers.ReLU) for layer in _aspp().layers) == 6
    model = _aspp(aspp_relu=False)
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in model.layers)
    assert np.min(model(_features(1, 6, 6, 3), training=True)) < 0


def test_parameters_of_aspp():
    # From 3 to 4 channels, batch norm's four behind each: pool and 1x1, three 3x3 branches; then 5 * 4 to 4.
    pointwise, branch, projection = 3 * 4 + 4 * 4, 9 * 3 * 4 + 4 * 4, 5 * 4 * 4 + 4 * 4
    assert sum(count_parameters(_aspp())) == 2 * pointwise + 3 * branch + projection
    # Split: 9 a channel with their own batch norm, then 3 to 4.
    split = 9 * 3 + 4 * 3 + 3 * 4 + 4 * 4
    assert sum(count_parameters(_aspp(separable=True))) == 2 * pointwise + 3 * split + projection
    without_norm = 2 * pointwise + 3 * (split - 4 * 3) + projection
    assert sum(count_parameters(_aspp(separable=True, depthwise_norm=False))) == without_norm


def test_aspp_drops_its_stated_share_while_training_only():
    model, features = _aspp(dropout=0.25), _features(1, 32, 32, 3)
    whole, dropped = _outputs(model, "aspp_projection_relu", "aspp_dropout")(features, training=True)
    active = np.asarray(whole) > 0
    # About 2,000 active numbers: the share's standard deviation is below 0.01.
    assert np.mean(np.asarray(dropped)[active] == 0) == pytest.approx(0.25, abs=0.05)
    np.testing.assert_array_equal(model(features, training=False), model(features, training=False))
    assert "aspp_dropout" not in _names(_aspp(dropout=0.0))


def _ending(num_classes=3, policy="float32", **options):
    """A network of one convolution at stride 4, ended by `classify`."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        pixels = keras.Input((None, None, 3), name="pixels")
        x = keras.layers.Conv2D(4, 3, 4, padding="same", name="features")(pixels)
        backbone = Backbone(pixels, x, x, "features", "features", {4: x}, 4, {}, WeightSource(None, False, None))
        return keras.Model(pixels, classify(x, backbone, num_classes, **options))
    finally:
        keras.config.set_dtype_policy(usual)


@pytest.mark.parametrize("options", [{}, {"classifier_before_upsampling": False}, {"align_corners": True}], ids=str)
@pytest.mark.parametrize("size", [(8, 12), (9, 13), (1, 1)], ids=str)
def test_logits_have_the_size_of_the_pixels(size, options):
    model = _ending(5, **options)
    assert model(random_pixels(2, *size)).shape == (2, *size, 5)
    assert model.get_layer("upsampling").align_corners == options.get("align_corners", False)


@pytest.mark.parametrize("align_corners", [False, True])
def test_classifying_first_commutes_with_upsampling_to_the_last_bits_of_float64(align_corners):
    # A 1x1 convolution mixes channels, bilinear weights mix places and sum to 1: the order does not matter.
    options = {"align_corners": align_corners, "policy": "float64"}
    first, last = (_ending(classifier_before_upsampling=each, **options) for each in (True, False))
    assert [_names(model)[-2:] for model in (first, last)] == [
        ["classifier", "upsampling"],
        ["upsampling", "classifier"],
    ]
    pixels = random_pixels(2, 33, 47).astype(np.float64)
    randomise(first, pixels)
    last.set_weights(first.get_weights())
    pull, results = np.random.default_rng(1).normal(size=(2, 33, 47, 3)), []
    for model in (first, last):
        with tf.GradientTape() as tape:
            logits = model(pixels)
            cost = tf.reduce_sum(tf.tanh(logits / 100) * pull)
        results.append([logits, *tape.gradient(cost, model.trainable_variables)])
    assert np.std(results[0][0]) > 1
    for said, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(said, wanted, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("before_upsampling", [True, False])
def test_a_single_logit_is_one_filter_whose_sigmoid_is_the_second_class(before_upsampling):
    model = _ending(2, single_logit=True, classifier_before_upsampling=before_upsampling)
    pixels = random_pixels(2, 9, 14) / 127
    assert model.get_layer("classifier").kernel.shape == (1, 1, 4, 1)
    one = _outputs(model, "upsampling" if before_upsampling else "classifier")(pixels)
    said = keras.ops.softmax(model(pixels))
    assert said.shape == (2, 9, 14, 2) and np.std(said) > 0.05
    np.testing.assert_allclose(said[..., 1:], keras.ops.sigmoid(one), atol=1e-6)


@pytest.mark.parametrize("policy, kind", [("mixed_float16", "float32"), ("float32", "float32"), ("float64", "float64")])
@pytest.mark.parametrize("single_logit", [False, True])
def test_logits_are_float32_and_float64_only_where_everything_is(policy, kind, single_logit):
    model = _ending(2, policy=policy, single_logit=single_logit)
    assert {layer.compute_dtype for layer in model.layers[2:]} == {kind}
    assert model(tf.ones((1, 5, 5, 3))).dtype == kind
