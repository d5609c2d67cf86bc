"""Backbones of models that keras.applications lacks: nested ones, attention, layers of a user's own."""

import keras
import numpy as np
import pytest

from models.random_weights import random_pixels
from segtrain.errors import ConfigError
from segtrain.models import backbone_from, deeplabv3plus, frozen_norm, lraspp
from segtrain.models.layers import BatchNormalization
from segtrain.models.weights import load_backbone_weights

pytestmark = pytest.mark.tensorflow


@keras.saving.register_keras_serializable("tests")
class Attention(keras.layers.Layer):
    """Self-attention over all positions of a map of any size."""

    def __init__(self, heads=1, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.attention = keras.layers.MultiHeadAttention(heads, 4)

    def build(self, shape):
        self.attention.build((shape[0], None, shape[-1]), (shape[0], None, shape[-1]))

    def call(self, x):
        shape = keras.ops.shape(x)
        tokens = keras.ops.reshape(x, (shape[0], -1, x.shape[-1]))
        return x + keras.ops.reshape(self.attention(tokens, tokens), shape)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


def _nested(size=None):
    """Stage 2 and 4 in a nested model, 8 in a Sequential, 16 behind attention and a skip connection."""
    inner = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="half")(inner)
    stem = keras.Model(
        inner,
        keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(8, 2, strides=2, name="conv")(x)),
        name="stem",
    )
    eighth = keras.Sequential(
        [keras.layers.Conv2D(8, 2, strides=2, name="conv"), keras.layers.ReLU(name="relu")], name="eighth"
    )
    pixels = keras.Input((size, size, 3))
    x = eighth(stem(pixels))
    x = keras.layers.Conv2D(8, 2, strides=2)(x)
    x = x + Attention(name="attention")(x)
    return keras.Model(pixels, keras.layers.ReLU(name="out")(x), name="nested")


TAPS = {4: "stem_bn", 8: "eighth_relu", 16: "out"}


def test_layers_of_nested_models_are_the_networks_own_layers():
    backbone = backbone_from(_nested(), TAPS)
    network = keras.Model(backbone.pixels, backbone.high)
    names = [layer.name for layer in network.layers]
    assert {"stem_half", "stem_conv", "stem_bn", "eighth_conv", "conv2d_0"} <= set(names)
    assert isinstance(network.get_layer("stem_bn"), BatchNormalization)  # segtrain's
    assert (backbone.output_stride, backbone.high_tap, backbone.low_tap) == (16, "out", "stem_bn")
    assert list(backbone.stages) == [4, 8, 16]
    frozen = frozen_norm(lraspp(backbone, 2), backbone)
    assert not frozen.get_layer("stem_bn").trainable


def test_the_features_are_those_of_the_model_and_its_weights():
    model = _nested()
    backbone = backbone_from(model, TAPS, preprocessing="tf")
    network = keras.Model(backbone.pixels, backbone.high)
    load_backbone_weights(network, backbone)
    pixels = random_pixels(1, 48, 32)
    # "tf" maps 0-255 to -1..1.
    expected = model.predict(pixels / 127.5 - 1, verbose=0)
    np.testing.assert_allclose(network.predict(pixels, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert expected.shape == (1, 3, 2, 8)


def test_a_head_is_built_and_trained_on_it():
    model = deeplabv3plus(backbone_from(_nested(), TAPS), 2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(random_pixels(2, 32, 32), np.zeros((2, 32, 32), np.uint8))
    assert model.predict(random_pixels(1, 40, 56), verbose=0).shape == (1, 40, 56, 2)


class Opaque(keras.layers.Layer):
    def __init__(self, factor):
        super().__init__(name="opaque")
        self.factor = factor

    def call(self, x):
        return x * self.factor


def _opaque():
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, Opaque(2)(pixels))


@pytest.mark.parametrize(
    "model, taps, parts",
    [
        (_nested, {4: "stem_bm"}, ["taps[4]=stem_bm", "stem_bn"]),
        (_nested, {}, ["taps is empty"]),
        # 4 * 8 = 32 pixels give 4 features a side at stride 8, and would give 8 at stride 4.
        (_nested, {4: "eighth_relu"}, ["taps[4]=eighth_re", "4 x 4", "Fix: taps={8: 'eighth_re"]),
        (lambda: _nested(32), TAPS, ["(None, 32, 32, 3)", "Fix: build it on keras.Input((None, None, 3))"]),
        (lambda: keras.layers.ReLU(), TAPS, ["ReLU", "Fix: wrap it"]),
        (_opaque, {1: "opaque"}, ["layer opaque (Opaque)", "get_config"]),
    ],
)
def test_an_error_names_the_tap_or_layer_and_its_fix(model, taps, parts):
    with pytest.raises(ConfigError) as caught:
        backbone_from(model(), taps)
    message = str(caught.value)
    for part in parts:
        assert part in message
