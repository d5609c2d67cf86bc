"""Backbones: their taps, and the pixels that reach them."""

import keras
import numpy as np
import pytest

from segtrain.errors import ConfigError
from segtrain.models import mobilenet_v2, resnet50
from segtrain.models.cost import at_size

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("builder, high_channels, low_channels", [(resnet50, 1024, 256), (mobilenet_v2, 576, 144)])
def test_default_taps_lie_at_strides_16_and_4(builder, high_channels, low_channels):
    backbone = builder(weights=None)
    taps = at_size(keras.Model(backbone.pixels, [backbone.high, backbone.low]), 64, 96)
    assert taps.outputs[0].shape == (None, 64 // 16, 96 // 16, high_channels)
    assert taps.outputs[1].shape == (None, 64 // 4, 96 // 4, low_channels)


def test_alpha_scales_the_channels():
    backbone = mobilenet_v2(alpha=0.35, weights=None)
    # Keras rounds channels to multiples of 8: 96 * 0.35 -> 32, expanded by 6; 24 * 0.35 -> 8, expanded by 6.
    assert (backbone.high.shape[-1], backbone.low.shape[-1]) == (192, 48)


def test_backbone_ends_at_its_taps():
    backbone = mobilenet_v2(alpha=0.35, weights=None, high="block_6_expand_relu")
    names = [layer.name for layer in keras.Model(backbone.pixels, [backbone.high, backbone.low]).layers]
    assert backbone.high_tap == "block_6_expand_relu" and backbone.low_tap == "block_3_expand_relu"
    assert "block_6_expand_relu" in names and "block_7_expand" not in names


@pytest.mark.parametrize("mode", ["tf", "caffe"])
def test_raw_pixels_reach_the_network_as_keras_applications_would_prepare_them(mode):
    backbone = mobilenet_v2(alpha=0.35, weights=None, preprocessing=mode)
    ours = keras.Model(backbone.pixels, backbone.high)
    whole = keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(None, None, 3))
    plain = keras.Model(whole.input, whole.get_layer(backbone.high_tap).output)
    plain.set_weights(ours.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3))
    prepared = keras.applications.imagenet_utils.preprocess_input(pixels.astype(np.float32), mode=mode)
    expected = np.asarray(plain(prepared, training=True))
    np.testing.assert_allclose(ours(pixels.astype(np.uint8), training=True), expected, atol=1e-3 * expected.max())


@pytest.mark.parametrize("key", ["high", "low"])
def test_a_misspelt_tap_is_named_with_its_neighbours(key):
    with pytest.raises(ConfigError, match=rf"backbone\.{key}=conv4_blok6_out: no such layer in resnet50") as caught:
        resnet50(weights=None, **{key: "conv4_blok6_out"})
    assert f"Fix: backbone.{key}=conv4_block6_out" in str(caught.value)
    assert "conv4_block5_out" in str(caught.value)


def test_a_tap_like_no_layer_names_one_that_exists():
    with pytest.raises(ConfigError, match=r"backbone\.high=@@@@.*Fix: backbone\.high=out_relu$"):
        mobilenet_v2(alpha=0.35, weights=None, high="@@@@")


def test_a_misspelt_tap_is_found_before_weights_are_looked_for():
    with pytest.raises(ConfigError, match=r"backbone\.low=block_3"):
        mobilenet_v2(low="block_3", weights="no/such/file.h5")
