"""Recomputed stages: the same numbers, gradients and statistics as the plain network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models import application, deeplabv3plus, synchronized_norm, trained_norm
from segtrain.training.recompute import recomputing

pytestmark = pytest.mark.tensorflow

ENDS = ("block_2_add", "block_5_add")


def _network():
    # One block past the last that is recomputed.
    backbone = application(name="MobileNetV2", alpha=0.35, weights=None, output_stride=8, high="block_6_expand_relu")
    model = deeplabv3plus(backbone, 3, aspp_channels=8, decoder_channels=8, low_level_channels=8, dropout=0)
    return trained_norm(model, backbone), backbone


def _loss_and_gradients(model, forward):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3)).astype(np.float32)

    @tf.function
    def step(pixels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward(pixels, training=True) ** 2)
        return loss, tape.gradient(loss, model.trainable_variables)

    return step(pixels)


def test_loss_gradients_and_statistics_equal_the_plain_networks():
    model, _ = _network()
    first = model.get_weights()
    loss, gradients = _loss_and_gradients(model, model)
    moved = model.get_weights()
    model.set_weights(first)
    again, recomputed = _loss_and_gradients(model, recomputing(model, ENDS))
    assert float(loss) == pytest.approx(float(again), rel=1e-6)
    largest = max(np.abs(gradient).max() for gradient in gradients)
    for variable, gradient, other in zip(model.trainable_variables, gradients, recomputed, strict=True):
        np.testing.assert_allclose(other, gradient, atol=1e-6 * largest, err_msg=variable.path)
    for plain, after in zip(moved, model.get_weights(), strict=True):
        np.testing.assert_allclose(after, plain, atol=1e-6)
    # Once is 5 % of the batch's mean; twice, 9.75 %, would have failed above.
    assert np.abs(model.get_layer("block_1_expand_BN").moving_mean).max() > 0


def test_early_features_are_forgotten_and_computed_again():
    model, _ = _network()
    plain, twice = (_count_convolutions(model, forward) for forward in (model, recomputing(model, ENDS)))
    # The stem, the two of block 0, three each of blocks 1 to 5.
    assert twice - plain == 1 + 2 + 5 * 3


def _count_convolutions(model, forward):
    @tf.function
    def step(pixels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward(pixels, training=True) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    graph = step.get_concrete_function(tf.TensorSpec((2, 40, 56, 3))).graph
    kinds = {"Conv2D", "DepthwiseConv2dNative"}
    graphs = [graph, *(function.graph for function in _inner(graph))]
    return sum(operation.type in kinds for each in graphs for operation in each.get_operations())


def _inner(graph):
    return [one for one in graph._functions.values() if hasattr(one, "graph")] if hasattr(graph, "_functions") else []


def test_synchronized_batch_norm_is_refused():
    model, backbone = _network()
    with pytest.raises(
        ConfigError, match=r"activation_checkpointing=true: layer bn_Conv1 .* cannot be computed twice alike"
    ):
        recomputing(synchronized_norm(model, backbone), ENDS)


def test_random_layers_are_refused():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Dropout(0.5, name="drop")(pixels)
    x = keras.layers.ReLU(name="end")(x)
    model = keras.Model(pixels, keras.layers.Conv2D(2, 1)(x))
    with pytest.raises(ConfigError, match=r"layer drop \(Dropout\) cannot be computed twice alike"):
        recomputing(model, ["end"])


def test_further_heads_come_along():
    model, backbone = _network()
    edges = keras.layers.Conv2D(1, 1, name="edges_classifier")(backbone.stages[4])
    both = keras.Model(model.input, {"logits": model.output, "edges": edges})
    pixels = np.zeros((1, 40, 56, 3), np.float32)
    expected, outputs = both(pixels, training=True), recomputing(both, ENDS)(pixels)
    assert outputs.keys() == {"logits", "edges"}
    for name, output in outputs.items():
        np.testing.assert_allclose(output, expected[name], atol=1e-6)
