"""Parameters and multiply-adds of small models, by hand."""

import keras
import pytest

from segtrain.models.cost import count_multiply_adds, count_parameters

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


def test_parameters_by_whether_they_are_trained():
    # convolution 3*3*3*4 + 4, batch norm 2*4 trained and 2*4 statistics, depthwise 3*3*4
    assert count_parameters(_two_layers()) == (108 + 4 + 8 + 36, 8)


def test_frozen_layers_count_as_non_trainable():
    model = _two_layers()
    model.layers[0].trainable = False
    assert count_parameters(model) == (8 + 36, 8 + 112)
