"""The baselines: sizes, parameters by hand, what their papers add up, and pooling over cells of any map.

B batch, H height, W width, C channels, K classes.
"""

import inspect
import math
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models import backbones, baselines
from segtrain.models.backbones import Backbone, WeightSource
from segtrain.models.cost import at_size, count_parameters
from segtrain.models.pooling import AdaptiveAveragePooling

pytestmark = pytest.mark.tensorflow

CHANNELS = {2: 4, 4: 6, 8: 8, 16: 10, 32: 12}  # of the tiny backbone's stages

NETWORKS = {
    "fcn": partial(baselines.fcn, channels=5),
    "fcn_8s": partial(baselines.fcn, channels=5, skips=[16, 8]),
    "unet": partial(baselines.unet, decoder_channels=[9, 8, 7, 6]),
    "pspnet": partial(baselines.pspnet, channels=7),
    "lraspp": partial(baselines.lraspp, channels=5),
    "segformer_mlp": partial(baselines.segformer_mlp, channels=5),
}


def _tiny_backbone(output_stride=32, strides=tuple(CHANNELS)):
    """One 3x3 convolution with ReLU a stage; beyond `output_stride` without its stride."""
    pixels = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescaling")(pixels)
    stages = {}
    for stride, channels in CHANNELS.items():
        step = 2 if stride <= output_stride else 1
        x = keras.layers.Conv2D(channels, 3, step, padding="same", activation="relu", name=f"stage_{stride}")(x)
        stages[stride] = x
    stages = {stride: stages[stride] for stride in strides}
    taps = {"high": x, "low": stages.get(4), "high_tap": "stage_32", "low_tap": "stage_4"}
    rest = {"output_stride": output_stride, "tensors": {}, "source": _NO_WEIGHTS}
    return Backbone(pixels=pixels, stages=stages, **rest, **taps)


_NO_WEIGHTS = WeightSource(None, False, None)


def _pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.float32)


def _head_parameters(model):
    """Trainable numbers outside of the backbone."""
    layers = [layer for layer in model.layers if not layer.name.startswith("stage_")]
    return sum(math.prod(weight.shape) for layer in layers for weight in layer.trainable_weights)


def _outputs(model, *names):
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


@pytest.mark.parametrize("output_stride", [8, 32])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_have_the_size_of_the_photograph(name, output_stride):
    model = NETWORKS[name](_tiny_backbone(output_stride), 3)
    assert model.output.shape == (None, None, None, 3)
    assert at_size(model, 33, 47).output.shape == (None, 33, 47, 3)
    for size in [(33, 47), (64, 96), (1, 1)]:
        logits = model(_pixels(2, *size), training=False)
        assert logits.shape == (2, *size, 3)
        assert np.isfinite(logits).all()


def test_parameters_of_fcn():
    # 3x3 from 12 to 5, batch norm's two, classifier with bias.
    fcn = 9 * 12 * 5 + 2 * 5 + (5 + 1) * 3
    assert _head_parameters(NETWORKS["fcn"](_tiny_backbone(), 3)) == fcn
    # One classifier more for each skip: of 10 channels at stride 16, of 8 at stride 8.
    assert _head_parameters(NETWORKS["fcn_8s"](_tiny_backbone(), 3)) == fcn + (10 + 1) * 3 + (8 + 1) * 3


def test_fcn_takes_a_quarter_of_the_deep_taps_channels_unless_told():
    assert _head_parameters(baselines.fcn(_tiny_backbone(), 3)) == 9 * 12 * 3 + 2 * 3 + (3 + 1) * 3


def test_parameters_of_unet():
    # At each stage, what comes from below joined with the stage, then a second convolution.
    blocks = [(12 + 10, 9), (9, 9), (9 + 8, 8), (8, 8), (8 + 6, 7), (7, 7), (7 + 4, 6), (6, 6)]
    numbers = sum(9 * incoming * channels + 2 * channels for incoming, channels in blocks)
    assert _head_parameters(NETWORKS["unet"](_tiny_backbone(), 3)) == numbers + (6 + 1) * 3


def test_parameters_of_pspnet():
    # Four levels of 12 / 4 channels; tap and levels are 12 + 4 * 3 = 24 wide.
    levels = 4 * (12 * 3 + 2 * 3)
    assert _head_parameters(NETWORKS["pspnet"](_tiny_backbone(), 3)) == levels + 9 * 24 * 7 + 2 * 7 + (7 + 1) * 3


def test_parameters_of_lraspp():
    # Projection with batch norm, gate without bias, classifiers of 5 channels and of the 8 at stride 8.
    numbers = 12 * 5 + 2 * 5 + 12 * 5 + (5 + 1) * 3 + (8 + 1) * 3
    assert _head_parameters(NETWORKS["lraspp"](_tiny_backbone(), 3)) == numbers


def test_parameters_of_segformer_mlp():
    projections = (6 + 1) * 5 + (8 + 1) * 5 + (10 + 1) * 5 + (12 + 1) * 5
    numbers = projections + 4 * 5 * 5 + 2 * 5 + (5 + 1) * 3
    assert _head_parameters(NETWORKS["segformer_mlp"](_tiny_backbone(), 3)) == numbers


def test_lraspp_has_torchvisions_number_of_parameters():
    # lraspp_mobilenet_v3_large, 21 classes: 3,221,538, moving statistics not counted. Its low tap is the end of the
    # strided block at stride 8.
    stages = ["expanded_conv_3_project_bn", "activation_19"]
    backbone = backbones.application(name="MobileNetV3Large", stages=stages, weights=None)
    assert (backbone.high.shape[-1], backbone.stages[8].shape[-1]) == (960, 40)
    head = 960 * 128 + 2 * 128 + 960 * 128 + (128 + 1) * 21 + (40 + 1) * 21
    assert count_parameters(baselines.lraspp(backbone, 21))[0] == 3_221_538 == 2_971_952 + head


@pytest.mark.slow
def test_fcn_has_torchvisions_number_of_parameters():
    # fcn_resnet50, 21 classes: 35,322,218, of which its auxiliary head 9 * 1024 * 256 + 2 * 256 + (256 + 1) * 21.
    model = baselines.fcn(backbones.torch_resnet(depth=50, output_stride=8, weights=None), 21)
    assert count_parameters(model)[0] == 35_322_218 - 2_365_205


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_of_training_reaches_every_weight_and_lowers_the_loss(name):
    keras.utils.set_random_seed(0)
    network = NETWORKS[name]
    model = network(
        _tiny_backbone(), 3, **({"dropout": 0} if "dropout" in inspect.signature(network).parameters else {})
    )
    pixels, labels = _pixels(4, 64, 96), np.random.default_rng(1).integers(0, 3, (4, 64, 96))
    losses = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            losses.append(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(pixels, training=True)))
        gradients = tape.gradient(losses[-1], model.trainable_variables)
        size = math.sqrt(sum(np.square(gradient).sum() for gradient in gradients))
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            assert np.isfinite(gradient).all(), variable.path
            # Batch norm takes off what a projection's bias adds; it counts once the statistics are frozen.
            if not (variable.path.startswith("projection") and variable.path.endswith("bias")):
                assert np.abs(gradient).max() > 1e-6 * size, variable.path
            variable.assign_sub(gradient * (1e-2 / size))
    assert np.mean(losses[1]) < np.mean(losses[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_stay_in_float32_under_mixed_precision(name):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = NETWORKS[name](_tiny_backbone(), 3)
    finally:
        keras.config.set_dtype_policy(policy)
    logits = model(_pixels(1, 32, 32))
    assert logits.dtype == tf.float32
    # Sums in bfloat16 would leave 8 bits: not one classifier may run in it.
    classifiers = [layer for layer in model.layers if layer.name.endswith("classifier")]
    assert {layer.compute_dtype for layer in classifiers} == {"float32"}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_as_wide_as_the_classes_is_a_classifier_by_name(name):
    # `reset_classifier=true` goes by that name.
    model = NETWORKS[name](_tiny_backbone(), 11)
    wide = {layer.name for layer in model.layers if getattr(layer, "filters", None) == 11}
    assert wide == {layer.name for layer in model.layers if layer.name.endswith("classifier")}
    assert "classifier" in wide and model.layers[-1].name == "upsampling"


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_come_back_from_their_configs(name):
    model = NETWORKS[name](_tiny_backbone(), 3)
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(_pixels(1, 33, 47)), model(_pixels(1, 33, 47)))


@pytest.mark.parametrize("name", ["fcn", "pspnet", "segformer_mlp"])
def test_dropout_acts_in_training_only(name):
    model, pixels = NETWORKS[name](_tiny_backbone(), 3, dropout=0.5), _pixels(2, 33, 47)
    assert np.ptp([model(pixels, training=True) for _ in range(2)], axis=0).max() > 0
    np.testing.assert_array_equal(model(pixels, training=False), model(pixels, training=False))


def test_fcn_8s_starts_as_fcn_32s_and_adds_the_scores_of_its_skips():
    backbone, pixels = _tiny_backbone(), _pixels(1, 64, 96)
    model = baselines.fcn(backbone, 3, channels=5, skips=[16, 8])
    plain = keras.Model(model.input, model.get_layer("classifier").output)
    scores = tf.image.resize(tf.image.resize(plain(pixels), (4, 6)), (8, 12))
    np.testing.assert_allclose(model(pixels), tf.image.resize(scores, (64, 96)), atol=1e-5)
    # A bias of 1 on one skip and of 2 on the other lifts every score by 3.
    before = np.asarray(model(pixels))
    for stride, bias in ((16, 1), (8, 2)):
        model.get_layer(f"skip_{stride}_classifier").bias.assign([bias] * 3)
    np.testing.assert_allclose(model(pixels), before + 3, atol=1e-5)
    assert model.get_layer("skip_16_sum").output.shape[-1] == model.get_layer("skip_8_sum").output.shape[-1] == 3


def test_lraspp_gives_the_numbers_of_features_upsampled_before_they_are_classified():
    model, pixels = NETWORKS["lraspp"](_tiny_backbone(), 3), _pixels(2, 40, 72)
    high, low, gated, head = _outputs(model, "stage_32", "stage_8", "gated", "head_relu")(pixels)
    gate = 1 / (1 + np.exp(-np.mean(high, axis=(1, 2)) @ model.get_layer("gate").kernel[0, 0]))
    np.testing.assert_allclose(gated, head * gate[:, None, None], rtol=1e-4, atol=1e-6)
    upsampled = tf.image.resize(gated, (5, 9))
    scores = sum(
        features @ model.get_layer(name).kernel[0, 0] + model.get_layer(name).bias
        for features, name in ((upsampled, "classifier"), (low, "low_classifier"))
    )
    np.testing.assert_allclose(model(pixels), tf.image.resize(scores, (40, 72)), atol=1e-5)


def test_unet_joins_each_stage_at_its_own_size():
    model = at_size(NETWORKS["unet"](_tiny_backbone(), 3), 33, 47)
    # 33 x 47 halved, rounding up: 17 x 24, 9 x 12, 5 x 6, 3 x 3, 2 x 2
    sizes = {2: (17, 24, 7 + 4), 4: (9, 12, 8 + 6), 8: (5, 6, 9 + 8), 16: (3, 3, 12 + 10)}
    said = {stride: model.get_layer(f"decoder_{stride}_concat").output.shape[1:] for stride in sizes}
    assert said == sizes


def test_unet_with_fewer_channels_ends_at_a_coarser_stage():
    model = at_size(baselines.unet(_tiny_backbone(), 3, decoder_channels=[9, 8]), 64, 96)
    assert model.get_layer("classifier").output.shape == (None, 8, 12, 3)
    assert model.output.shape == (None, 64, 96, 3)


def test_resizing_between_stages_of_one_size_changes_nothing():
    # At output stride 8, stages 8, 16 and 32 are equally large.
    model = NETWORKS["unet"](_tiny_backbone(output_stride=8), 3)
    below, stage, joined = _outputs(model, "decoder_16_2_relu", "stage_8", "decoder_8_concat")(_pixels(1, 33, 47))
    assert joined.shape == (1, 5, 6, 9 + 8)
    np.testing.assert_array_equal(joined, np.concatenate([below, stage], axis=-1))


def test_pspnet_joins_the_deep_tap_and_its_means():
    model = baselines.pspnet(_tiny_backbone(), 3, bins=[1, 2])
    high, one, two, joined = _outputs(model, "stage_32", "pyramid_1", "pyramid_2", "pyramid_concat")(
        _pixels(1, 128, 128)
    )
    assert joined.shape == (1, 4, 4, 12 + 2 * 6)
    np.testing.assert_array_equal(joined[..., :12], high)
    np.testing.assert_allclose(one[:, 0, 0], np.mean(high, axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(two[:, 0, 1], np.mean(high[:, :2, 2:], axis=(1, 2)), rtol=1e-5)


def test_cells_of_a_line_by_hand():
    # 5 places in 3 cells: from floor(0 5/3 10/3) = 0 1 3 to ceil(5/3 10/3 5) = 2 4 5, so (0+1)/2, (1+2+3)/3, (3+4)/2.
    line = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    pooled = AdaptiveAveragePooling(3)(line)
    np.testing.assert_allclose(pooled[0, :, :, 0], [[0.5, 2, 3.5]] * 3)


def _cells(length, size):
    return [slice(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(1, 1), (6, 12), (5, 7), (33, 2), (17, 23)], ids=str)
def test_adaptive_pooling_is_the_mean_of_each_cell(shape, size):
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(2, *shape, 3)), rng.normal(size=(2, size, size, 3))
    expected, expected_gradient = np.zeros_like(weights), np.zeros_like(features)
    for i, rows in enumerate(_cells(shape[0], size)):
        for j, columns in enumerate(_cells(shape[1], size)):
            cell = features[:, rows, columns]
            expected[:, i, j] = cell.mean(axis=(1, 2))
            # Each place of a cell has an equal share in its mean.
            share = weights[:, i, j] / (cell.shape[1] * cell.shape[2])
            expected_gradient[:, rows, columns] += share[:, None, None]
    x = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = AdaptiveAveragePooling(size, dtype="float64")(x)
        total = tf.reduce_sum(pooled * weights)
    np.testing.assert_allclose(pooled, expected, atol=1e-12)
    np.testing.assert_allclose(tape.gradient(total, x), expected_gradient, atol=1e-12)


def test_one_graph_pools_maps_of_any_size():
    layer = AdaptiveAveragePooling(2)
    pool = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 2))])
    for shape in [(1, 4, 4, 2), (3, 5, 9, 2)]:
        features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(pool(features), layer(features), atol=1e-6)


def test_pooling_in_half_precision_weighs_in_float32():
    # 1/103 in float16 is 0.036 % too large; over rows and columns that makes 1,000.7 of 1,000, hence 1,000.5.
    pooled = AdaptiveAveragePooling(1, dtype="float16")(np.full((1, 103, 103, 1), 1000, np.float16))
    assert pooled.dtype == tf.float16
    assert pooled[0, 0, 0, 0] == 1000


@pytest.mark.parametrize(
    "network, strides, message",
    [
        (
            partial(baselines.fcn, skips=[16, 8]),
            (2, 8, 32),
            r"skips=\[16, 8\]: .*no stage at stride 16, only 2, 8",
        ),
        (baselines.lraspp, (4, 16), r"no stage at stride 8, only 4, 16\. Fix: "),
        (baselines.segformer_mlp, (8, 16, 32), r"no stage at stride 4, only 8, 16, 32\. Fix: "),
        (
            baselines.unet,
            (4, 8, 16, 32),
            r"decoder_channels=\[256, 128, 64, 32\]: 4 numbers, expected at most 3, .* strides 4, 8, 16\. "
            r"Fix: 'decoder_channels=\[256,128,64\]'",
        ),
    ],
)
def test_a_missing_stage_is_told_with_those_there_are(network, strides, message):
    with pytest.raises(ConfigError, match=message):
        network(_tiny_backbone(strides=strides), 3)


@pytest.mark.parametrize(
    "network, key, value, expected",
    [
        (baselines.fcn, "channels", 0, "expected a number from 1"),
        (baselines.fcn, "skips", [8, 16], "expected strides from coarse to fine, each once"),
        (baselines.fcn, "skips", [8, 8], "expected strides from coarse to fine, each once"),
        (baselines.fcn, "dropout", 1.0, "expected a number from 0 to below 1"),
        (baselines.unet, "decoder_channels", [], "expected at least one"),
        (baselines.unet, "decoder_channels", [64, 0], "expected each a number from 1"),
        (baselines.pspnet, "bins", [], "expected positive numbers, each once"),
        (baselines.pspnet, "bins", [1, 0], "expected each a number from 1"),
        (baselines.pspnet, "bins", [1, 1], "expected positive numbers, each once"),
        (baselines.pspnet, "channels", -1, "expected a number from 1"),
        (baselines.pspnet, "dropout", -0.1, "expected a number from 0 to below 1"),
        (baselines.lraspp, "channels", 0, "expected a number from 1"),
        (baselines.segformer_mlp, "channels", 0, "expected a number from 1"),
        (baselines.segformer_mlp, "dropout", float("nan"), "expected a number from 0 to below 1"),
    ],
)
def test_options_out_of_range_are_refused(network, key, value, expected):
    with pytest.raises(ConfigError) as refused:
        network(_tiny_backbone(), 3, **{key: value})
    assert str(refused.value).removeprefix("model.").startswith(f"{key}={value}: {expected}")
