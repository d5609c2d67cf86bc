"""Parameters and multiply-adds of small models, by hand."""

import keras
import pytest

from segtrain.models import application
from segtrain.models.cost import at_size, count_multiply_adds, count_parameters

pytestmark = pytest.mark.tensorflow


def _two_layers():
    return keras.Sequential(
        [
            keras.Input((8, 6, 3)),
            keras.layers.Conv2D(4, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False),
        ]
    )


def test_multiply_adds_of_a_convolution_and_a_depthwise_one():
    # 8 x 6 places x 3x3 kernel x 3 in x 4 out, then 4 x 3 places x 3x3 kernel x 4 channels
    assert count_multiply_adds(_two_layers()) == 8 * 6 * 9 * 3 * 4 + 4 * 3 * 9 * 4


def test_multiply_adds_of_a_grouped_convolution():
    model = keras.Sequential([keras.Input((5, 5, 6)), keras.layers.Conv2D(4, 1, groups=2)])
    # Each of the 4 filters sees 6 / 2 channels.
    assert count_multiply_adds(model) == 5 * 5 * 3 * 4


def test_multiply_adds_of_a_separable_convolution_and_a_dense_layer():
    layers = [keras.layers.SeparableConv2D(4, 3, strides=2, padding="same"), keras.layers.Dense(5)]
    # 4 x 3 places x (3x3 kernel x 3 channels, then 3 in x 4 out), and 4 x 3 places x 4 in x 5 out
    assert count_multiply_adds(keras.Sequential([keras.Input((8, 6, 3)), *layers])) == 12 * (27 + 12) + 12 * 20


def test_multiply_adds_within_a_network_of_networks():
    pixels = keras.Input((8, 6, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 2, 2), keras.layers.Conv2D(5, 1)])
    # 4 x 3 places x (2x2 kernel x 3 in x 4 out, then 4 in x 5 out)
    assert count_multiply_adds(keras.Model(pixels, inner(pixels))) == 12 * (48 + 20)


@pytest.mark.parametrize(
    "name, size, published",
    [
        ("MobileNetV2", 224, 0.300),  # arXiv:1801.04381, table 4
        ("ConvNeXtTiny", 224, 4.5),  # arXiv:2201.03545, table 1
        ("Xception", 299, 8.4),  # as torch's and TF's model zoos count it
    ],
)
@pytest.mark.slow
def test_multiply_adds_of_published_networks_in_billions(name, size, published):
    backbone = application(name=name, weights=None, output_stride=32)
    model = at_size(keras.Model(backbone.pixels, backbone.high), size, size)
    # Papers count the classifier too: below 2 % of these.
    assert count_multiply_adds(model) / 1e9 == pytest.approx(published, rel=0.02)


def test_parameters_by_whether_they_are_trained():
    # convolution 3*3*3*4 + 4, batch norm 2*4 trained and 2*4 statistics, depthwise 3*3*4
    assert count_parameters(_two_layers()) == (108 + 4 + 8 + 36, 8)


def test_frozen_layers_count_as_non_trainable():
    model = _two_layers()
    model.layers[0].trainable = False
    assert count_parameters(model) == (8 + 36, 8 + 112)
