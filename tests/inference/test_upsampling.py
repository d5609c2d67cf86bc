"""Strips of upsampled logits against the layer that resizes them at once."""

import keras
import numpy as np
import pytest

from segtrain.inference.upsampling import strips, without_upsampling
from segtrain.models.layers import ResizeLike, SigmoidLogits

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("low", "full"),
    [((13, 17), (97, 129)), ((1, 1), (5, 7)), ((30, 40), (30, 40)), ((64, 80), (33, 41)), ((3, 5), (1, 1))],
)
def test_strips_hold_the_numbers_of_the_resizing_layer(low, full, align_corners):
    maps = np.random.default_rng(0).normal(size=(*low, 3)).astype(np.float32)
    expected = ResizeLike(align_corners)([maps[None], np.zeros((1, *full, 3), np.float32)])[0]
    found = list(strips(maps, full, align_corners, rows=5))
    assert [(rows.start, rows.stop) for rows, _ in found][:2] == [(0, min(5, full[0])), (5, min(10, full[0]))][
        : len(found)
    ]
    np.testing.assert_array_equal(np.concatenate([block for _, block in found]), expected)


def network(*, sigmoid=False, like_input=True, last=None):
    pixels = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(1 if sigmoid else 4, 3, strides=4, padding="same")(pixels)
    like = pixels if like_input else keras.layers.ReLU()(pixels)
    logits = ResizeLike(align_corners=True)([features, like])
    if sigmoid:
        logits = SigmoidLogits()(logits)
    return keras.Model(pixels, last(logits) if last else logits)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_a_network_without_its_last_resizing_gives_the_same_logits_after_it(sigmoid):
    model = network(sigmoid=sigmoid)
    image = np.random.default_rng(0).uniform(0, 255, (1, 30, 41, 3)).astype(np.float32)
    split = without_upsampling(model)
    low = np.asarray(split.model(image))
    assert low.shape == (1, 8, 11, 2 if sigmoid else 4) and split.align_corners is True
    found = np.concatenate([block for _, block in strips(low[0], (30, 41), split.align_corners)])
    np.testing.assert_allclose(found, model(image)[0], atol=1e-5)


@pytest.mark.parametrize(
    "other", [{"like_input": False}, {"last": keras.layers.Conv2D(2, 1)}], ids=["other size", "later layer"]
)
def test_a_network_that_ends_otherwise_is_left_complete(other):
    model = network(**other)
    assert without_upsampling(model) == (model, None)
