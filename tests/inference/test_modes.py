"""Test-time augmentation against slow NumPy, on networks that can be computed by hand."""

import keras
import numpy as np
import pytest

from segtrain.inference.predictor import Predictor
from segtrain.models.layers import ResizeLike

pytestmark = pytest.mark.tensorflow


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def resized(maps, height, width):
    """Bilinear with half-pixel centers, one axis after the other."""
    for axis, wanted in ((0, height), (1, width)):
        length = maps.shape[axis]
        position = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, length - 1)
        weight = (position - low).reshape([-1 if each == axis else 1 for each in range(3)])
        maps = np.take(maps, low, axis) * (1 - weight) + np.take(maps, high, axis) * weight
    return maps


KERNEL = np.random.default_rng(1).normal(0, 0.02, (3, 3, 3, 4)).astype(np.float32)


def convolved(pixels):
    """A 3x3 convolution, padded with zeros."""
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    height, width = pixels.shape[:2]
    return sum(
        padded[y : y + height, x : x + width] @ KERNEL[y, x].astype(np.float64) for y in range(3) for x in range(3)
    )


@pytest.fixture(scope="module")
def model():
    pixels = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)
    logits = ResizeLike()([layer(pixels), pixels])
    layer.set_weights([KERNEL])
    return keras.Model(pixels, logits)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (18, 26, 3), np.uint8)


def mean_of(image, scales, flip, pairs=()):
    height, width = image.shape[:2]
    order = list(range(4))
    for left, right in pairs:
        order[left], order[right] = right, left
    found = []
    for scale in scales:
        scaled = resized(image.astype(float), round(scale * height), round(scale * width))
        found.append(softmax(resized(convolved(scaled), height, width)))
        if flip:
            mirrored = resized(convolved(scaled[:, ::-1])[:, ::-1], height, width)
            found.append(softmax(mirrored)[..., order])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("tta", "scales", "flip"),
    [
        ("none", [1], False),
        ("flip", [1], True),
        ("ms", [0.75, 1, 1.25, 1.5, 1.75, 2], False),
        ("ms_flip", [0.75, 1, 1.25, 1.5, 1.75, 2], True),
        ({"scales": [0.5, 1.3], "flip": True}, [0.5, 1.3], True),
    ],
)
def test_probabilities_are_the_mean_over_scales_and_mirror_images(model, image, tta, scales, flip):
    found = Predictor(model, tta=tta, flip_pairs=[(1, 2)]).probabilities(image)
    np.testing.assert_allclose(found, mean_of(image, scales, flip, [(1, 2)]), atol=2e-5)


def test_a_mirrored_image_exchanges_left_and_right_classes(model, image):
    swapped, plain = (Predictor(model, tta="flip", flip_pairs=pairs) for pairs in ([(1, 2)], []))
    assert np.abs(swapped.probabilities(image) - plain.probabilities(image)).max() > 0.1


def test_labels_and_confidence_are_those_of_the_mean_probabilities(model, image):
    predictor = Predictor(model, tta="ms_flip", flip_pairs=[(1, 2)])
    expected = predictor.probabilities(image)
    labels, confidence = predictor.label(image)
    assert labels.dtype == np.uint8 and confidence.dtype == np.float32
    np.testing.assert_array_equal(labels, expected.argmax(axis=-1))
    np.testing.assert_allclose(confidence, expected.max(axis=-1), rtol=1e-4)


def test_a_resized_image_is_augmented_at_the_size_that_the_network_sees(model, image):
    found = Predictor(model, resize=(9, 13), tta="flip").probabilities(image)
    seen = resized(image.astype(float), 9, 13)
    expected = np.mean([softmax(convolved(seen)), softmax(convolved(seen[:, ::-1])[:, ::-1])], axis=0)
    np.testing.assert_allclose(found, resized(expected, 18, 26), atol=2e-5)
