"""Dilated = dense: a backbone whose strides became dilation computes the very numbers of the undilated one.

B batch, H height, W width, C channels.
"""

import keras
import numpy as np
import pytest

from models.random_weights import random_pixels, randomise
from segtrain.models import application, torch_resnet
from segtrain.models.dilation import StrideInfo, rebuild, stride_infos
from segtrain.models.pooling import DilatedPooling2D

pytestmark = pytest.mark.tensorflow

# Of each family, where the undilated network's first feature lies among the features at output strides 16 and 8 (which
# are 2 and 4 times as dense). A strided layer that is padded alike on both sides, or not at all, looks from place 2i:
# offset 0. Keras' "same" and MobileNet's ZeroPadding2D(((0, 1), (0, 1))) put all padding of an even map behind it, so
# that a 3x3 kernel with stride 2 has its center at 2i + 1; without the stride it is padded alike. One lost stride
# shifts by 1, a second one by 2 more positions of half the size. ConvNeXt's 2x2 kernels begin at 2i; dilated by 2 they
# are padded by 1 in front, and begin 1 earlier.
OFFSETS = {
    "ResNet50": (0, 0),
    "ResNet50V2": (0, 0),
    "torch_resnet50": (0, 0),
    "MobileNetV2": (1, 3),
    "MobileNetV3Small": (1, 3),
    "EfficientNetV2B0": (1, 3),
    "Xception": (0, 0),
    "ConvNeXtTiny": (0, 1),
    "DenseNet121": (0, 0),
    "VGG16": (0, 0),
}
# Xception adds a pooled branch, of center 2i + 1 on even maps, to a strided 1x1 convolution, of center 2i: no dilated
# network can have both. On odd maps, as its weights were trained on (299 -> 74, 37, 19), both centers are 2i. These
# sizes give maps of 13x17 and 7x9 before the lost strides: ((104 - 3) // 2 + 1) - 2 = 49 -> 25 -> 13 -> 7.
SIZES = {"Xception": (104, 136)}


def _backbone(family, output_stride, **options):
    if family == "torch_resnet50":
        return torch_resnet(depth=50, output_stride=output_stride, **options)
    return application(name=family, weights=None, output_stride=output_stride, **options)


def _features(backbone):
    return keras.Model(backbone.pixels, backbone.high)


# `make test` looks at one family with zero padding on both sides, and one with Keras' padding.
QUICK = {"torch_resnet50", "MobileNetV2"}
FAMILIES = [pytest.param(family, marks=() if family in QUICK else pytest.mark.slow) for family in OFFSETS]


@pytest.fixture(scope="module", params=FAMILIES)
def undilated(request):
    """A family's name, its network at output stride 32 with random weights, pixels and their features."""
    pixels = random_pixels(1, *SIZES.get(request.param, (96, 128)))
    network = _features(_backbone(request.param, 32))
    randomise(network, pixels)
    return request.param, network, pixels, np.asarray(network(pixels, training=False))


def _shared(dense, offset, stride):
    return np.asarray(dense)[:, offset::stride, offset::stride]


def _distance(dense, offset, stride, features):
    """Largest difference at the shared positions, in units of how far the features lie from their mean."""
    shared = _shared(dense, offset, stride)
    _, height, width, _ = np.minimum(shared.shape, features.shape)
    difference = shared[:, :height, :width] - features[:, :height, :width]
    return np.abs(difference).max() / np.abs(features - features.mean(axis=(1, 2))).max()


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_is_dense_at_the_shared_places_up_to_the_border(undilated, output_stride):
    family, network, pixels, features = undilated
    dilated = _features(_backbone(family, output_stride))
    # Dilation changes no variable: neither its name nor its shape.
    assert [(one.path, one.shape) for one in dilated.weights] == [(one.path, one.shape) for one in network.weights]
    dilated.set_weights(network.get_weights())
    dense, stride = dilated(pixels, training=False), 32 // output_stride
    offset = OFFSETS[family][0 if output_stride == 16 else 1]
    assert _shared(dense, offset, stride).shape == features.shape
    assert _distance(dense, offset, stride, features) < 2e-5
    # One place beside, it is another picture.
    assert _distance(dense, (offset + 1) % stride, stride, features) > 0.1


@pytest.mark.parametrize("options", [{"dilate_strided": True}, {"multi_grid": [1, 2]}], ids=str)
@pytest.mark.slow
def test_what_the_papers_and_other_programs_change_about_it_gives_other_features(options):
    pixels, networks = random_pixels(1, 64, 64), []
    for output_stride, changed in ((32, {}), (16, {}), (16, options)):
        network = _features(torch_resnet(depth=18, output_stride=output_stride, **changed))
        if networks:
            network.set_weights(networks[0].get_weights())
        else:
            randomise(network, pixels)
        networks.append(network)
    features, dense, other = (np.asarray(network(pixels, training=False)) for network in networks)
    assert _distance(dense, 0, 2, features) < 2e-5
    assert _distance(other, 0, 2, features) > 0.1


def _kernels(backbone, *names):
    network = _features(backbone)
    layers = [network.get_layer(name) for name in names]
    return [(layer.strides[0], layer.dilation_rate[0]) for layer in layers]


THREE_BY_THREES = [f"conv{stage}_block{block}_2_conv" for stage in (4, 5) for block in (1, 2, 3)]


def test_dilations_of_resnet50():
    # Keras' ResNet has its strides in the 1x1 before: all that follows a lost one is dilated.
    at_8 = _backbone("ResNet50", 8)
    assert _kernels(at_8, *THREE_BY_THREES) == [(1, 2)] * 3 + [(1, 4)] * 3
    assert _kernels(at_8, "conv4_block1_1_conv", "conv4_block1_0_conv") == [(1, 1), (1, 1)]
    assert _kernels(_backbone("ResNet50", 16), *THREE_BY_THREES) == [(1, 1)] * 3 + [(1, 2)] * 3


@pytest.mark.slow
def test_dilations_of_torchs_resnet50_are_torchvisions():
    # The stride is in the 3x3 itself: the first block of a stage keeps the dilation from before it.
    at_8 = _backbone("torch_resnet50", 8)
    assert _kernels(at_8, *THREE_BY_THREES) == [(1, 1), (1, 2), (1, 2), (1, 2), (1, 4), (1, 4)]
    # segmentation_models.pytorch dilates all of the stage.
    at_8 = _backbone("torch_resnet50", 8, dilate_strided=True)
    assert _kernels(at_8, *THREE_BY_THREES) == [(1, 2)] * 3 + [(1, 4)] * 3


def test_multi_grid_multiplies_the_dilation_of_the_last_stage():
    # 2 at output stride 16, times 1, 2, 4 (arXiv:1706.05587, section 3.2.1: "Multi_Grid = (1, 2, 4)" gives 2, 4, 8).
    blocks = ["conv5_block1_", "conv5_block2_", "conv5_block3_"]
    backbone = _backbone("ResNet50", 16, blocks=blocks, multi_grid=[1, 2, 4])
    assert _kernels(backbone, *THREE_BY_THREES) == [(1, 1)] * 3 + [(1, 2), (1, 4), (1, 8)]


def _toy():
    """Strides 2, 2 and 2 in a convolution, a pooling and a padded convolution, and a gate over the whole map."""
    pixels = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Conv2D(4, 3, 2, padding="same", name="stem")(pixels)
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = keras.layers.Conv2D(4, 1, name="excite")(gate)
    x = keras.layers.Multiply(name="gated")([x, gate])
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(x)
    x = keras.layers.DepthwiseConv2D(3, 2, name="strided")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="last")(x)
    return keras.Model(pixels, x)


def test_places_follow_the_strides_and_leave_gates_out():
    said = stride_infos(_toy(), output_stride=2)
    assert said == {
        "pixels": StrideInfo(nominal=1, stride=1, dilation=1),
        "stem": StrideInfo(2, 2, 1),
        "pool": StrideInfo(4, 2, 2),  # may not be coarser than 2: its stride becomes dilation
        "squeeze": None,
        "excite": None,
        "gated": StrideInfo(4, 2, 2),
        "pad": StrideInfo(4, 2, 2),
        "strided": StrideInfo(8, 2, 4),
        "last": StrideInfo(8, 2, 4),
    }
    assert stride_infos(_toy(), output_stride=8)["last"] == StrideInfo(8, 8, 1)


def test_rebuilding_at_a_stride_dilates_what_follows_and_widens_its_padding():
    network = rebuild(_toy(), 2)
    pool, strided, last = (network.get_layer(name) for name in ("pool", "strided", "last"))
    # The pooling itself looks at neighbors as before; its window is dilated by what lies before it: nothing.
    assert isinstance(pool, DilatedPooling2D) and (pool.kind, pool.dilation) == ("max", 1)
    assert (strided.strides, strided.dilation_rate) == ((1, 1), (2, 2))
    # A 3x3 kernel dilated by 2 covers 5 pixels: 2 on each side keep the map's size.
    assert network.get_layer("pad").padding == ((2, 2), (2, 2))
    assert (last.strides, last.dilation_rate) == ((1, 1), (4, 4))
    assert network(random_pixels(1, 12, 20)).shape == (1, 6, 10, 4)


def test_rebuilding_without_dilation_gives_the_same_numbers_under_the_same_names():
    plain, pixels = _toy(), random_pixels(2, 33, 47)
    again = rebuild(plain, 32)
    assert [layer.name for layer in again.layers] == [layer.name for layer in plain.layers]
    again.set_weights(plain.get_weights())
    np.testing.assert_allclose(again(pixels), plain(pixels), atol=1e-4)


def test_symmetric_padding_gives_every_map_the_size_that_torch_gives_it():
    # torch, kernel 3, padding 1, stride 2: (n - 1) // 2 + 1. So 65 -> 33 -> 17 -> 9 -> 5 -> 3.
    sizes = []
    for padding in ("symmetric", "keras"):
        backbone = application(
            name="MobileNetV2", alpha=0.35, weights=None, output_stride=32, padding=padding, high="block_16_project_BN"
        )
        stages = keras.Model(backbone.pixels, [backbone.stages[stride] for stride in (2, 4, 8, 16, 32)])
        # The first convolution's own "same" pads odd maps alike anyway, even ones at their end.
        assert stages.get_layer("Conv1").symmetric == (padding == "symmetric")
        sizes.append([stage.shape[1] for stage in stages(random_pixels(1, 65, 65))])
    # Keras' ZeroPadding2D(((0, 1), (0, 1))) loses a row of odd maps: 33 -> (33 + 1 - 3) // 2 + 1 = 16.
    assert sizes == [[33, 17, 9, 5, 3], [33, 16, 8, 4, 2]]
