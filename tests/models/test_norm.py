"""What becomes of batch norm: which numbers are trained, which statistics move, what group norm keeps of it.

B batch, H height, W width, C channels, K classes.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from segtrain.errors import ConfigError
from segtrain.models import Backbone, application, deeplabv3, frozen_norm, group_norm, synchronized_norm, trained_norm
from segtrain.models.backbones import WeightSource
from segtrain.models.blocks import classify, conv_block
from segtrain.models.layers import BatchNormalization, GroupNormalization

pytestmark = pytest.mark.tensorflow

BATCH_NORMS = [trained_norm, frozen_norm, synchronized_norm]


def _backbone(channels=4):
    """One convolution with batch norm, at stride 2; momentum and epsilon are those of no configuration."""
    pixels = keras.Input((None, None, 3), name="pixels")
    conv = keras.layers.Conv2D(channels, 3, 2, padding="same", use_bias=False, name="stem_conv")(pixels)
    norm = BatchNormalization(momentum=0.999, epsilon=3e-4, name="stem_bn")(conv)
    high = keras.layers.ReLU(name="stem_relu")(norm)
    tensors = {"pixels": pixels, "stem_conv": conv, "stem_bn": norm, "stem_relu": high}
    source = WeightSource(None, False, None)
    return Backbone(pixels, high, high, "stem_relu", "stem_relu", {2: high}, 2, tensors, source)


def _network(norm, backbone=None, **options):
    backbone = backbone or _backbone()
    x = conv_block(backbone.high, 6, 3, "head")
    return norm(keras.Model(backbone.pixels, classify(x, backbone, 3), name="network"), backbone, **options)


def _with_two_outputs(norm, **options):
    backbone = _backbone()
    x = conv_block(backbone.high, 6, 3, "head")
    outputs = {
        "logits": classify(x, backbone, 3),
        "auxiliary": keras.layers.Conv2D(2, 1, name="auxiliary_classifier")(
            conv_block(backbone.high, 5, 1, "auxiliary")
        ),
    }
    return norm(keras.Model(backbone.pixels, outputs), backbone, **options)


def _pixels(*shape):
    return np.random.default_rng(0).uniform(0, 2, (*shape, 3)).astype(np.float32)


def _moved(model):
    """The paths that one training step changes."""
    before, pixels = {weight.path: weight.numpy() for weight in model.weights}, _pixels(2, 8, 8)
    wanted = keras.tree.map_structure(lambda said: np.ones(said.shape), model(pixels, training=False))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.train_on_batch(pixels, wanted)
    return {weight.path for weight in model.weights if not np.array_equal(weight, before[weight.path])}


def _paths(layer, *names):
    return {f"{layer}/{name}" for name in names}


TRAINED_EVERYWHERE = (
    {"stem_conv/kernel", "head_conv/kernel"}
    | _paths("head_bn", "gamma", "beta")
    | _paths("classifier", "kernel", "bias")
)
STATISTICS = ("moving_mean", "moving_variance")


@pytest.mark.parametrize(
    "norm, backbones_own, statistics",
    [
        (trained_norm, _paths("stem_bn", "gamma", "beta"), _paths("stem_bn", *STATISTICS)),
        (synchronized_norm, _paths("stem_bn", "gamma", "beta"), _paths("stem_bn", *STATISTICS)),
        (frozen_norm, set(), set()),
        (group_norm, _paths("stem_bn", "gamma", "beta"), set()),
    ],
)
def test_what_one_training_step_changes(norm, backbones_own, statistics):
    model = _network(norm)
    trained = TRAINED_EVERYWHERE | backbones_own
    assert {weight.path for weight in model.trainable_weights} == trained
    of_the_head = set() if norm is group_norm else _paths("head_bn", *STATISTICS)
    assert _moved(model) == trained | statistics | of_the_head


@pytest.mark.parametrize("norm", BATCH_NORMS)
def test_momentum_is_set_everywhere_and_epsilon_behind_the_backbone_only(norm):
    for build in (_network, _with_two_outputs):
        model = build(norm, momentum=0.75, epsilon=0.01)
        layers = {layer.name: layer for layer in model.layers if isinstance(layer, BatchNormalization)}
        assert {name: (layer.momentum, layer.epsilon) for name, layer in layers.items()} == {
            name: (0.75, 3e-4 if name == "stem_bn" else 0.01) for name in layers
        }
        assert set(layers) == {"stem_bn", "head_bn"} | ({"auxiliary_bn"} if build is _with_two_outputs else set())


@pytest.fixture(scope="module")
def mobilenet():
    """A backbone of keras.applications and a network on it."""
    backbone = application(name="MobileNetV2", alpha=0.35, weights=None)
    return backbone, deeplabv3(backbone, 5, aspp_channels=8)


def test_every_batch_norm_of_a_real_network_is_reached(mobilenet):
    backbone, model = mobilenet
    trained_norm(model, backbone, momentum=0.9, epsilon=1e-4)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    behind = [layer.name for layer in layers if layer.name not in backbone.tensors]
    # The ASPP's pool, 1x1, three branches and projection.
    assert len(behind) == 6 and len(layers) - len(behind) > 40
    assert {layer.momentum for layer in layers} == {0.9}
    # Keras builds MobileNetV2 with 1e-3.
    assert {layer.name: layer.epsilon for layer in layers} == {
        layer.name: 1e-4 if layer.name in behind else 1e-3 for layer in layers
    }


@pytest.mark.parametrize("norm", [trained_norm, synchronized_norm])
def test_momentum_is_what_moves_the_statistics(norm):
    model, pixels = _network(norm, momentum=0.75), _pixels(2, 8, 8)
    convolved = np.asarray(keras.Model(model.input, model.get_layer("stem_conv").output)(pixels))
    model(pixels, training=True)
    statistics = model.get_layer("stem_bn")
    # From 0 and 1.
    np.testing.assert_allclose(statistics.moving_mean, 0.25 * convolved.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(statistics.moving_variance, 0.75 + 0.25 * convolved.var((0, 1, 2)), rtol=1e-5)


def test_frozen_batch_norm_normalises_by_its_own_statistics_while_training():
    model = _network(frozen_norm)
    # (x - 0.5) / sqrt(4 + 3e-4) * 2 + 1: by the stored numbers, whatever the batch.
    stem = model.get_layer("stem_bn")
    stem.set_weights([np.full(4, value) for value in (2.0, 1.0, 0.5, 4.0)])
    convolved, normalised = keras.Model(model.input, [model.get_layer("stem_conv").output, stem.output])(
        _pixels(2, 8, 8), training=True
    )
    np.testing.assert_allclose(normalised, (convolved - 0.5) / np.sqrt(4 + 3e-4) * 2 + 1, atol=1e-5)
    np.testing.assert_array_equal(stem.moving_mean, [0.5] * 4)


def test_synchronized_batch_norm_on_one_device_is_the_trained_one():
    one, other = _network(trained_norm), _network(synchronized_norm)
    assert all(layer.synchronized for layer in other.layers if isinstance(layer, BatchNormalization))
    assert not any(layer.synchronized for layer in one.layers if isinstance(layer, BatchNormalization))
    other.set_weights(one.get_weights())
    pixels = _pixels(2, 9, 8)
    np.testing.assert_allclose(other(pixels, training=True), one(pixels, training=True), atol=1e-5)
    for weight, expected in zip(other.weights, one.weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6, err_msg=weight.path)


# TensorFlow divides a CPU into devices before its first use only.
TWO_DEVICES = """
import tensorflow as tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from segtrain.models import Backbone, synchronized_norm, trained_norm
from segtrain.models.layers import BatchNormalization

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for norm in (trained_norm, synchronized_norm):
    with strategy.scope():
        pixels = keras.Input((1, 1, 1))
        model = keras.Model(pixels, BatchNormalization(epsilon=1e-6, name="bn")(pixels))
        norm(model, Backbone(pixels, None, None, "", "", {}, 1, {"bn": None}, None), momentum=0.75)
    value = lambda context: tf.fill((1, 1, 1, 1), [1.0, 5.0][context.replica_id_in_sync_group])
    values = strategy.experimental_distribute_values_from_function(value)
    said = strategy.run(tf.function(lambda x: model(x, training=True)), args=(values,))
    said = [round(float(each.numpy()[0, 0, 0, 0]), 3) for each in strategy.experimental_local_results(said)]
    print(said, [float(weight.numpy()[0]) for weight in model.weights[2:]])
"""


def test_synchronized_batch_norm_takes_its_statistics_over_two_devices():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == [
        # Each device alone: its one pixel is its mean, variance 0. The first device, which is the one that is saved,
        # saw a 1: 0.75 * 0 + 0.25 * 1 and 0.75 * 1 + 0.25 * 0.
        "[0.0, 0.0] [0.25, 0.75]",
        # Pixels 1 and 5 together: mean 3, variance 4. 0.75 * 0 + 0.25 * 3 and 0.75 * 1 + 0.25 * 4.
        "[-1.0, 1.0] [0.75, 1.75]",
    ], done.stderr


@pytest.mark.parametrize("build", [_network, _with_two_outputs])
def test_group_norm_keeps_every_variable_but_the_statistics(build):
    before, model = build(trained_norm), build(group_norm)
    kept = [(weight.path, weight.shape) for weight in before.weights if "moving" not in weight.path]
    assert [(weight.path, weight.shape) for weight in model.weights] == kept
    assert [layer.name for layer in model.layers] == [layer.name for layer in before.layers]
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


def test_group_norm_keeps_the_pixels_and_each_output_under_its_name():
    backbone = _backbone()
    model = _network(group_norm, backbone)
    assert model.input is backbone.pixels and model.name == "network"
    model = _with_two_outputs(group_norm)
    said = model(_pixels(2, 8, 12), training=True)
    assert {name: tuple(logits.shape) for name, logits in said.items()} == {
        "logits": (2, 8, 12, 3),
        "auxiliary": (2, 4, 6, 2),
    }


# channels, groups wanted, groups given: the largest divisor of the channels that is no larger than what was wanted.
DIVISORS = [(64, 32, 32), (48, 32, 24), (6, 4, 3), (7, 4, 1), (4, 32, 4), (6, 6, 6), (5, 1, 1)]


@pytest.mark.parametrize("channels, wanted, given", DIVISORS)
def test_groups_are_the_next_lower_divisor_of_the_channels(channels, wanted, given):
    model = _network(group_norm, _backbone(channels), groups=wanted, epsilon=0.5)
    layer = model.get_layer("stem_bn")
    assert (layer.groups, layer.epsilon) == (given, 0.5)


def test_group_norm_of_a_network_by_hand():
    # Four channels of one pixel: 1 3 10 30. In two groups, means 2 and 20, variances 1 and 100, epsilon 0.5625 makes
    # sqrt(1 + 0.5625) = 1.25 of the first; times 5, plus 1: 1 -+ 4.
    pixels = keras.Input((1, 1, 4))
    model = keras.Model(pixels, BatchNormalization(name="bn")(pixels))
    backbone = Backbone(pixels, model.output, model.output, "bn", "bn", {}, 1, {}, WeightSource(None, False, None))
    model = group_norm(model, backbone, groups=2, epsilon=0.5625)
    model.set_weights([np.full(4, 5.0), np.ones(4)])
    large = 50 / np.sqrt(100.5625)
    said = model(np.array([[[[1.0, 3.0, 10.0, 30.0]]]]), training=True)
    np.testing.assert_allclose(np.ravel(said), [-3, 5, 1 - large, 1 + large], rtol=1e-5)


def test_group_norm_treats_each_photograph_alone():
    model, pixels = _network(group_norm), _pixels(3, 8, 8)
    together = model(pixels, training=True)
    for place in range(3):
        np.testing.assert_allclose(model(pixels[place : place + 1], training=True)[0], together[place], atol=1e-5)
    np.testing.assert_array_equal(model(pixels, training=False), together)


def test_group_norm_gives_a_layer_no_scale_that_had_none():
    pixels = keras.Input((4, 4, 6))
    x = BatchNormalization(scale=False, name="unscaled")(pixels)
    model = keras.Model(pixels, BatchNormalization(center=False, name="uncentred")(x))
    backbone = Backbone(pixels, x, x, "unscaled", "unscaled", {}, 1, {}, WeightSource(None, False, None))
    model = group_norm(model, backbone)
    assert [weight.path for weight in model.weights] == ["unscaled/beta", "uncentred/gamma"]


def test_group_norm_fits_a_real_network_with_its_weights(mobilenet):
    backbone, batch_normed = mobilenet
    model = group_norm(batch_normed, backbone)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert sum(isinstance(layer, GroupNormalization) for layer in model.layers) > 46
    stored = {weight.path: weight for weight in batch_normed.weights}
    for weight in model.weights:
        weight.assign(stored[weight.path])
    logits = model(_pixels(1, 33, 47) * 127, training=False)
    assert logits.shape == (1, 33, 47, 5) and np.isfinite(logits).all() and np.std(logits) > 0


@pytest.mark.parametrize("norm", BATCH_NORMS)
@pytest.mark.parametrize("momentum", [0, 1, -0.1, 1.5, float("nan")])
def test_momentum_outside_0_to_1_is_refused(norm, momentum):
    with pytest.raises(ConfigError, match=rf"^momentum={momentum}: expected"):
        _network(norm, momentum=momentum)


@pytest.mark.parametrize("norm", BATCH_NORMS)
@pytest.mark.parametrize("epsilon", [0, -1e-3, float("nan")])
def test_an_epsilon_that_is_not_positive_is_refused(norm, epsilon):
    with pytest.raises(ConfigError, match=rf"^epsilon={epsilon}: expected"):
        _network(norm, epsilon=epsilon)


@pytest.mark.parametrize("groups", [0, -32])
def test_no_groups_are_refused(groups):
    with pytest.raises(ConfigError, match=rf"^groups={groups}: expected"):
        _network(group_norm, groups=groups)


def test_a_refused_network_is_left_as_it_was():
    backbone = _backbone()
    model = keras.Model(backbone.pixels, backbone.high)
    for norm, options in ((frozen_norm, {"momentum": 0}), (synchronized_norm, {"momentum": 0.5, "epsilon": 0})):
        with pytest.raises(ConfigError):
            norm(model, backbone, **options)
    stem = model.get_layer("stem_bn")
    assert (stem.momentum, stem.trainable, stem.synchronized) == (0.999, True, False)
