"""Backbones: their taps, the pixels that reach them, and what a wrong key is told."""

import keras
import numpy as np
import pytest

from models.random_weights import random_pixels
from segtrain.errors import ConfigError
from segtrain.models import application, torch_resnet
from segtrain.models.cost import at_size

pytestmark = pytest.mark.tensorflow

# The stages of configs/backbone/mobilenet_v2.yaml.
STAGES = [
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_13_expand_relu",
    "block_16_project_BN",
]


def _mobilenet(**options):
    return application(name="MobileNetV2", alpha=0.35, weights=None, **options)


@pytest.mark.parametrize("output_stride", [8, pytest.param(16, marks=pytest.mark.slow), 32])
@pytest.mark.parametrize(
    "build, high_channels, low_channels",
    [
        # Keras rounds channels to multiples of 8: 320 * 0.35 -> 112; 24 * 0.35 -> 8, expanded by 6.
        (lambda stride: _mobilenet(stages=STAGES, output_stride=stride), 112, 48),
        (lambda stride: torch_resnet(depth=18, output_stride=stride), 512, 64),
        (lambda stride: application(name="VGG16", weights=None, output_stride=stride), 512, 256),
    ],
    ids=["mobilenet_v2", "torch_resnet18", "vgg16"],
)
def test_taps_and_stages_lie_at_their_strides(build, output_stride, high_channels, low_channels):
    backbone = build(output_stride)
    network = keras.Model(backbone.pixels, [backbone.high, backbone.low, *backbone.stages.values()])
    high, low, *stages = at_size(network, 64, 96).outputs
    assert backbone.output_stride == output_stride
    assert high.shape == (None, 64 // output_stride, 96 // output_stride, high_channels)
    assert low.shape == (None, 16, 24, low_channels)
    # Stages go by the stride they had: the deeper ones of a dilated network all lie at its output stride.
    assert list(backbone.stages) == [2, 4, 8, 16, 32]
    assert [stage.shape[1] for stage in stages] == [64 // min(stride, output_stride) for stride in backbone.stages]


def test_networks_of_one_output_stride_cost_nothing_more_for_the_key():
    # 32 is what keras.applications builds: the same layers, none of them dilated.
    whole = keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(None, None, 3))
    backbone = _mobilenet(output_stride=32)
    assert [name for name in backbone.tensors if name in {layer.name for layer in whole.layers}][:2] == [
        "Conv1",
        "bn_Conv1",
    ]
    network = keras.Model(backbone.pixels, backbone.high)
    assert network.count_params() == whole.count_params()
    assert not any(getattr(layer, "dilation_rate", (1, 1)) != (1, 1) for layer in network.layers)


def test_backbone_ends_at_its_taps():
    backbone = _mobilenet(output_stride=8, high="block_6_expand_relu")
    names = [layer.name for layer in keras.Model(backbone.pixels, [backbone.high, backbone.low]).layers]
    assert (backbone.high_tap, backbone.low_tap) == ("block_6_expand_relu", "block_3_expand_relu")
    assert "block_6_expand_relu" in names and "block_7_expand" not in names


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_raw_pixels_reach_the_network_as_keras_applications_would_prepare_them(mode):
    backbone = _mobilenet(output_stride=16, preprocessing=mode, high="block_13_expand_relu")
    ours = keras.Model(backbone.pixels, backbone.high)
    whole = keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(None, None, 3))
    plain = keras.Model(whole.input, whole.get_layer(backbone.high_tap).output)
    plain.set_weights(ours.get_weights())
    pixels = random_pixels(1, 64, 64)
    prepared = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    expected = np.asarray(plain(prepared, training=True))
    np.testing.assert_allclose(ours(pixels.astype(np.uint8), training=True), expected, atol=1e-3 * expected.max())


@pytest.mark.parametrize("name, mode", [("ResNet50", "caffe"), ("ResNet50V2", "tf"), ("DenseNet121", "torch")])
def test_preprocessing_is_that_of_the_networks_imagenet_weights(name, mode):
    backbone = application(name=name, weights=None, output_stride=32)
    pixels = random_pixels(1, 32, 32)
    prepared = keras.Model(backbone.pixels, backbone.tensors["preprocessing"])(pixels)
    wanted = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(prepared, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetV2B0"])
def test_networks_that_prepare_pixels_themselves_get_them_raw(name):
    backbone, pixels = application(name=name, weights=None, output_stride=32), random_pixels(1, 32, 32)
    prepared = keras.Model(backbone.pixels, backbone.tensors["preprocessing"])(pixels)
    np.testing.assert_array_equal(prepared, pixels)
    # Of 0-255 Keras' own layers make -1..1, or thereabouts by ImageNet's mean and deviation.
    own = next(name for name in ("normalization_0", "rescaling_0") if name in backbone.tensors)
    inside = np.asarray(keras.Model(backbone.pixels, backbone.tensors[own])(pixels))
    assert -3 < inside.min() < 0 < inside.max() < 3


@pytest.mark.parametrize("key", ["high", "low"])
def test_a_misspelt_tap_is_named_with_its_neighbours(key):
    with pytest.raises(ConfigError, match=rf"{key}=conv4_blok2_out: no such layer in torch_resnet18") as caught:
        torch_resnet(depth=18, **{key: "conv4_blok2_out"})
    assert f"Fix: {key}=conv4_block2_out" in str(caught.value)
    assert "conv4_block1_out" in str(caught.value)


def test_a_misspelt_tap_is_found_before_weights_are_looked_for():
    with pytest.raises(ConfigError, match=r"low=block_3:"):
        application(name="MobileNetV2", low="block_3", weights="no/such/file.h5")


@pytest.mark.parametrize(
    "options, said",
    [
        ({"output_stride": 12}, "output_stride=12: expected 8, 16 or 32. Fix: output_stride=16"),
        ({"output_stride": 4}, "output_stride=4: expected 8, 16 or 32"),
        ({"name": "ResNet51"}, "name=ResNet51: keras.applications has no such network, nearest are ResNet50"),
        ({"name": "resnet50"}, "name=resnet50: keras.applications has no such network, nearest are ResNet50"),
        ({"name": "imagenet_utils"}, "name=imagenet_utils: keras.applications has no such network"),
        ({"name": ""}, "name=: keras.applications has no such network"),
        ({"name": "ResNet50", "alpha": 0.5}, "alpha=0.5: ResNet50 has no such factor, expected null"),
        ({"name": "NASNetMobile"}, "name=NASNetMobile: keras.applications builds it for one size"),
        ({"stages": ["block_1"]}, "stages=block_1: no such layer in "),
        ({"multi_grid": [1, 2]}, "multi_grid=[1, 2]: expected for mobilenetv2_1.00_None null"),
    ],
    ids=str,
)
def test_a_wrong_key_is_one_line(options, said):
    options = {"name": "MobileNetV2", "weights": None, **options}
    with pytest.raises(ConfigError) as caught:
        application(**options)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_depths_that_there_are_not_are_refused():
    with pytest.raises(ConfigError, match=r"depth=51: expected one of 18, 34, 50, 101, 152"):
        torch_resnet(depth=51)
