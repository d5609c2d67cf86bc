"""ResNet in torchvision's layout: its parameters, its strides, its borders."""

import keras
import pytest

from models.random_weights import random_pixels
from segtrain.models import torch_resnet
from segtrain.models.cost import count_parameters
from segtrain.models.torch_resnet import torch_resnet_network

pytestmark = pytest.mark.tensorflow


# torchvision's own counts, less those of the classifier: 1000 x (channels + 1).
@pytest.mark.parametrize(
    "depth, published, channels",
    [(18, 11_689_512, 512), (34, 21_797_672, 512), (50, 25_557_032, 2048), (101, 44_549_160, 2048)],
)
@pytest.mark.slow
def test_parameters_are_torchvisions(depth, published, channels):
    network = torch_resnet_network(keras.Input((None, None, 3)), depth)
    assert count_parameters(network)[0] == published - 1000 * (channels + 1)
    assert network.name == f"torch_resnet{depth}"


def test_the_stride_is_in_the_3x3_and_no_convolution_has_a_bias():
    network = torch_resnet_network(keras.Input((None, None, 3)), 50)
    block = {name: network.get_layer(f"conv3_block1_{name}_conv") for name in "0123"}
    assert {name: (layer.kernel_size[0], layer.strides[0]) for name, layer in block.items()} == {
        "0": (1, 2),
        "1": (1, 1),
        "2": (3, 2),
        "3": (1, 1),
    }
    assert not any(getattr(layer, "use_bias", False) for layer in network.layers)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    # The stem's, and of each of 3 + 4 + 6 + 3 blocks three, and one in each of 4 shortcuts.
    assert len(norms) == 1 + 3 * 16 + 4 and {layer.epsilon for layer in norms} == {1e-5}


def test_shallow_ones_have_two_3x3_a_block_and_no_shortcut_convolution_where_nothing_changes():
    network = torch_resnet_network(keras.Input((None, None, 3)), 18)
    names = [layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    first = [name for name in names if name.startswith(("conv2_block1", "conv3_block1"))]
    assert sorted(first) == [
        "conv2_block1_1_conv",
        "conv2_block1_2_conv",
        "conv3_block1_0_conv",
        "conv3_block1_1_conv",
        "conv3_block1_2_conv",
    ]


def test_every_map_has_the_size_that_torch_gives_it():
    backbone = torch_resnet(depth=18, output_stride=32)
    stages = keras.Model(backbone.pixels, [backbone.stages[stride] for stride in (2, 4, 8, 16, 32)])
    # (n - 1) // 2 + 1 at each stride: 65 -> 33 -> 17 -> 9 -> 5 -> 3, and 96 -> 48 -> 24 -> 12 -> 6 -> 3.
    sizes = [tuple(stage.shape[1:3]) for stage in stages(random_pixels(1, 65, 96))]
    assert sizes == [(33, 48), (17, 24), (9, 12), (5, 6), (3, 3)]
    assert [stage.shape[-1] for stage in stages.outputs] == [64, 64, 128, 256, 512]
