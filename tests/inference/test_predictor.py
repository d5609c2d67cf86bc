"""Logits of single images at their own size."""

import keras
import numpy as np
import pytest

from segtrain.inference.predictor import Predictor

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def model():
    """Three logits of a pixel: its red, its green, its blue."""
    pixels = keras.Input((None, None, 3))
    eye = np.eye(3, dtype=np.float32)[None, None]
    return keras.Model(
        pixels, keras.layers.Conv2D(3, 1, use_bias=False, kernel_initializer=lambda *_, **__: eye)(pixels)
    )


def test_logits_come_back_at_the_size_of_the_image(model):
    image = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    logits = Predictor(model).logits(image)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, image)


def test_the_class_is_the_highest_logit_and_the_lowest_of_equal_ones(model):
    image = np.uint8([[[9, 1, 1], [1, 9, 1], [1, 9, 9], [7, 7, 7]]])
    predicted = Predictor(model).predict(image)
    assert predicted.dtype == np.uint8 and predicted.tolist() == [[0, 1, 1, 0]]


def test_a_resized_image_has_logits_of_its_own_size(model):
    # Red 0 0 100 100 seen as 0 100; half-pixel centers give 0 25 75 100.
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, 2:, 0] = 100
    np.testing.assert_allclose(Predictor(model, resize=(1, 2)).logits(image)[0, :, 0], [0, 25, 75, 100])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[[0, 0, 0]]],
    ],
    ids=["floats", "gray", "alpha", "batch", "empty", "list"],
)
def test_another_shape_or_type_is_refused(model, image):
    with pytest.raises(ValueError, match=r"^image: .*expected \(H, W, 3\) uint8 RGB"):
        Predictor(model).predict(image)
