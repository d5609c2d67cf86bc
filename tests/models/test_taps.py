"""Taps: names that last, stages found and named, and what a wrong one is told."""

import keras
import pytest

from segtrain.errors import ConfigError
from segtrain.models import application, torch_resnet
from segtrain.models.dilation import StrideInfo
from segtrain.models.taps import grid_factors, last_of_each_stride, named_stages, require_map, require_stride
from segtrain.models.taps import stable_names as stable

pytestmark = pytest.mark.tensorflow


def _nameless():
    """Layers that nobody named, which Keras numbers through the whole process."""
    x = pixels = keras.Input((None, None, 3))
    for _ in range(2):
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3)(x))
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(keras.layers.ReLU()(x))
    return keras.Model(pixels, x)


def test_nameless_layers_are_numbered_from_0_in_every_network():
    first, second = _nameless(), _nameless()
    assert [layer.name for layer in first.layers] != [layer.name for layer in second.layers]
    wanted = ["input_layer_0", "conv2d_0", "batch_normalization_0", "conv2d_1", "batch_normalization_1", "re_lu_0"]
    assert list(stable(first).values()) == list(stable(second).values()) == [*wanted, "depthwise"]
    assert list(stable(second)) == [layer.name for layer in second.layers]


# Those whose builders leave layers nameless, and ConvNeXt, whose scales have nameless variables in Keras.
@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", *(pytest.param(each, marks=pytest.mark.slow) for each in ("Xception", "ConvNeXtTiny"))]
)
def test_two_backbones_of_one_process_have_the_same_names(name):
    layers, variables = [], []
    for _ in range(2):
        backbone = application(name=name, weights=None)
        layers.append(list(backbone.tensors))
        variables.append([one.path for one in keras.Model(backbone.pixels, backbone.high).variables])
    assert layers[0] == layers[1]
    assert variables[0] == variables[1]
    assert len(set(variables[0])) == len(variables[0]) > 50


def _network():
    x = pixels = keras.Input((None, None, 3), name="pixels")
    for stride, name in ((2, "a"), (1, "b"), (2, "c"), (1, "d")):
        x = keras.layers.Conv2D(2, 3, stride, padding="same", name=name)(x)
    x = keras.layers.ZeroPadding2D(1, name="pad")(x)
    return keras.Model(pixels, x, name="toy")


FOUND = {
    "pixels": StrideInfo(1, 1, 1),
    "a": StrideInfo(2, 2, 1),
    "b": StrideInfo(2, 2, 1),
    "c": StrideInfo(4, 2, 2),
    "d": StrideInfo(4, 2, 2),
    "pad": StrideInfo(4, 2, 2),
}


def test_stages_are_the_last_maps_at_each_nominal_stride():
    # Not the padding, which belongs to what follows.
    assert last_of_each_stride(FOUND, _network()) == {2: "b", 4: "d"}


def test_named_stages_go_by_their_nominal_stride():
    assert named_stages(["c", "a"], FOUND, _network()) == {4: "c", 2: "a"}
    with pytest.raises(ConfigError, match=r"stages=z: no such layer in toy"):
        named_stages(["a", "z"], FOUND, _network())


def test_a_tap_that_is_no_layer_names_those_that_are():
    with pytest.raises(ConfigError, match=r"high=pat: no such layer in toy, nearest are pad.*Fix: high=pad$"):
        require_map("high", "pat", FOUND, _network())
    with pytest.raises(ConfigError, match=r"nearest are pad \(stride 2\)\. Fix: high=pad$"):
        require_map("high", "@@@@", FOUND, _network())


def test_a_tap_that_is_no_map_is_refused():
    maps = {name: place for name, place in FOUND.items() if name != "d"}
    with pytest.raises(ConfigError, match=r"low=d: no map of features in toy"):
        require_map("low", "d", maps, _network())
    with pytest.raises(ConfigError, match=r"squeeze_excite_conv: no map of features in .*Fix: high="):
        application(name="MobileNetV3Small", weights=None, high="expanded_conv_10_squeeze_excite_conv")


def test_a_deep_tap_at_another_stride_is_told_which_layers_lie_there():
    with pytest.raises(ConfigError) as caught:
        torch_resnet(depth=18, output_stride=16, high="conv3_block1_out")
    # At stride 16 lie stages 4 and 5, of two blocks each: four sums, eight ReLUs; few enough ends are shown.
    assert str(caught.value).startswith(
        "high=conv3_block1_out lies at stride 8, expected 16; at stride 16 lie conv4_block1_1_relu, "
    )
    assert "conv5_block2_out. Fix: high=conv5_block2_out, or output_stride=8" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_early_tap_must_be_finer_than_the_deep_one():
    with pytest.raises(ConfigError, match=r"low=conv4_block1_out lies at stride 16, expected a finer one; at "):
        torch_resnet(depth=18, output_stride=16, low="conv4_block1_out")


def test_without_any_layer_at_the_stride_the_message_still_stands():
    with pytest.raises(ConfigError, match=r"lies at stride 2, expected 16; at stride 16 lie no layers\. Fix: "):
        require_stride("high", "c", FOUND, 16, fits=False)


@pytest.mark.parametrize(
    "blocks, grid, expected",
    [
        (["c", "d"], [1], r"multi_grid=\[1\]: expected for toy 2 numbers.*Fix: 'multi_grid=\[1,2\]'"),
        (["c", "d"], [], r"multi_grid=\[\]: expected for toy 2 numbers"),
        ([], [1, 2, 4], r"multi_grid=\[1, 2, 4\]: expected for toy null\. Fix: multi_grid=null"),
    ],
)
def test_a_multi_grid_of_another_length_is_refused(blocks, grid, expected):
    with pytest.raises(ConfigError, match=expected):
        grid_factors(_network(), blocks, grid)


def test_a_multi_grid_goes_by_the_beginnings_of_names():
    network = torch_resnet(depth=18)
    names = list(network.tensors)
    factors = grid_factors(keras.Model(network.pixels, network.high), ["conv5_block1_", "conv5_block2_"], [2, 3])
    assert factors == {name: 2 if "block1" in name else 3 for name in names if name.startswith("conv5")}
    assert grid_factors(_network(), [], None) == {}
