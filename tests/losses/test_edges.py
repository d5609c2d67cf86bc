"""Losses that know where classes meet, against edges found pixel by pixel.

B batch, H height, W width.
"""

import numpy as np
import pytest
import tensorflow as tf

from losses.cases import VOID, loss_and_gradient
from segtrain.errors import ConfigError
from segtrain.losses import BoundaryCrossEntropy, CrossEntropy, EdgeCrossEntropy, HeadLoss, scored, with_own_gradient

pytestmark = pytest.mark.tensorflow

V = VOID
MAP = [
    [0, 0, 0, 1, 1],
    [0, 0, 0, 1, 1],
    [0, 0, 0, V, 1],
    [2, 2, 0, V, 1],
    [2, 2, 0, 0, 1],
]
# (2, 4) has only void to its left; (3, 4) sees the 0 at (4, 3).
EDGES = [
    [0, 0, 1, 1, 0],
    [0, 0, 1, 1, 0],
    [1, 1, 1, 0, 0],
    [1, 1, 1, 0, 1],
    [0, 1, 1, 1, 1],
]


def edges_of(labels, width):
    """Look around each pixel of (B, H, W) labels, one by one."""
    found = np.zeros(labels.shape, bool)
    for index, y, x in np.argwhere(labels != VOID):
        window = labels[index, max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        found[index, y, x] = len(set(window[window != VOID].tolist())) > 1
    return found


def edge_batch(seed, size=(9, 11)):
    """(2, H, W) labels in patches of 3x3, a tenth void, and (2, H, W, 1) logits."""
    rng = np.random.default_rng(seed)
    patches = rng.choice([0, 1, 7, 19], (2, *size)).repeat(3, 1).repeat(3, 2)[:, : size[0], : size[1]]
    labels = np.where(rng.random((2, *size)) < 0.1, VOID, patches).astype(np.uint8)
    return labels, rng.normal(0, 2, (*labels.shape, 1)).astype(np.float32)


def test_edges_of_a_map_by_hand():
    counted, edges = EdgeCrossEntropy(VOID, 3).targets(np.array([MAP], np.uint8))
    assert np.array(edges[0], int).tolist() == EDGES
    assert np.array(counted[0]).tolist() == [[label != V for label in row] for row in MAP]


def test_a_wider_edge_reaches_further():
    # A border between columns 3 and 4: two columns to either side.
    labels = np.array([[[0, 0, 0, 0, 5, 5, 5, 5]]], np.uint8)
    _, edges = EdgeCrossEntropy(VOID, 20, width=2).targets(labels)
    assert np.array(edges[0, 0], int).tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("ignore_class", [VOID, 11])
def test_edges_are_those_found_pixel_by_pixel(width, ignore_class):
    for seed in range(5):
        labels, _ = edge_batch(seed)
        renamed = np.where(labels == VOID, ignore_class, labels).astype(np.uint8)
        counted, edges = EdgeCrossEntropy(ignore_class, 20, width=width).targets(renamed)
        np.testing.assert_array_equal(counted, labels != VOID)
        np.testing.assert_array_equal(edges, edges_of(labels, width))


def test_edge_loss_by_hand():
    # Five pixels count, two of them edges: weights 3/5 at edges, 2/5 elsewhere, 6/5 for either kind. An edge at
    # logit ln 3 has probability 3/4 and costs -ln 3/4; elsewhere logit 0 costs ln 2. The void one costs nothing.
    labels = np.array([[[0, 0, 0, 0, 1, VOID]]], np.uint8)
    logits = np.array([[[0, 0, 0, np.log(3), np.log(3), 50]]], np.float32)[..., None]
    expected = (6 / 5 * -np.log(3 / 4) + 6 / 5 * np.log(2)) / (12 / 5)
    assert float(EdgeCrossEntropy(VOID, 2)(labels, logits)) == pytest.approx(expected, rel=1e-6)


def test_edge_loss_is_its_formula():
    for seed in range(3):
        labels, logits = edge_batch(seed)
        edges, counted, z = edges_of(labels, 1), labels != VOID, logits[..., 0].astype(np.float64)
        share = edges.sum() / counted.sum()
        total = divisor = 0.0
        for place in np.argwhere(counted):
            is_edge, logit = edges[tuple(place)], z[tuple(place)]
            weight = 1 - share if is_edge else share
            total += weight * np.log1p(np.exp(-logit if is_edge else logit))
            divisor += weight
        found = EdgeCrossEntropy(VOID, 20)(labels, logits)
        assert found.shape == () and found.dtype == "float32"
        assert float(found) == pytest.approx(total / divisor, rel=1e-5)
        assert float(tf.function(EdgeCrossEntropy(VOID, 20))(*map(tf.constant, (labels, logits)))) == pytest.approx(
            float(found), rel=1e-6
        )


def test_edge_loss_pulls_edges_up_others_down_and_void_nowhere():
    labels, logits = edge_batch(0)
    _, gradient = loss_and_gradient(EdgeCrossEntropy(VOID, 20), labels, logits)
    edges = edges_of(labels, 1)
    assert (gradient[edges] < 0).all()
    assert (gradient[(labels != VOID) & ~edges] > 0).all()
    assert (gradient[labels == VOID] == 0).all()


@pytest.mark.parametrize("label", [VOID, 4], ids=["void alone", "one class alone"])
def test_no_border_costs_zero_and_pulls_nowhere(label):
    value, gradient = loss_and_gradient(
        EdgeCrossEntropy(VOID, 20), np.full((2, 5, 6), label, np.uint8), np.full((2, 5, 6, 1), 3.0, np.float32)
    )
    assert value == 0 and (gradient == 0).all()


def test_huge_edge_logits_stay_finite():
    labels = np.array([[[0, 0, 0, 1]]], np.uint8)
    logits = np.array([[[1e4, -1e4, 1e4, -1e4]]], np.float32)[..., None]
    value, gradient = loss_and_gradient(EdgeCrossEntropy(VOID, 2), labels, logits)
    # Wrong at 0 and at 3, right at 1 and 2, half of the pixels edges.
    assert value == pytest.approx(2e4 / 4) and np.isfinite(gradient).all()


def test_edge_scores_by_hand():
    labels = np.array([[[0, 0, 0, 0, 1, VOID, 1, 1]]], np.uint8)  # edges at 3 and 4
    logits = np.array([[[-1, -1, 2, 1, -1, 9, -1, 0.5]]], np.float32)[
        ..., None
    ]  # called at 2, 3, 7; void does not count
    loss = EdgeCrossEntropy(VOID, 2)
    counts = np.array(loss.count(labels, logits))
    assert counts.tolist() == [1, 3, 2] and counts.dtype == np.int64
    # Two images count together: hits 1 + 1, called 3 + 1, edges 2 + 4.
    found = loss.scores(counts + np.array([1, 1, 4]))
    assert found == {"precision": 2 / 4, "recall": 2 / 6, "f1": pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))}


def test_edge_scores_without_a_pixel_to_tell_from_are_nan():
    found = EdgeCrossEntropy(VOID, 2).scores(np.array([0, 0, 5]))
    assert np.isnan(found["precision"]) and found["recall"] == found["f1"] == 0
    assert np.isnan(list(EdgeCrossEntropy(VOID, 2).scores(np.zeros(3, np.int64)).values())).all()


def test_an_edge_of_no_width_is_refused():
    with pytest.raises(ConfigError, match=r"width=0: expected"):
        EdgeCrossEntropy(VOID, 2, width=0)


def test_pixels_near_a_border_weigh_more_by_hand():
    # Logits 0 cost ln 2; the last pixel costs 0. A border between columns 3 and 4, two pixels to either side weigh 3:
    # (2 + 2 x 3 + 1 x 3 + 0) ln 2 / (2 + 4 x 3), the void one without a weight.
    labels = np.array([[[0, 0, 0, 0, 1, 1, VOID]]], np.uint8)
    logits = np.zeros((1, 1, 7, 2), np.float32)
    logits[0, 0, 5] = [-1e3, 1e3]
    found = BoundaryCrossEntropy(VOID, 2, width=2, factor=3.0)(labels, logits)
    assert float(found) == pytest.approx(11 * np.log(2) / 14, rel=1e-6)


def test_a_border_to_void_is_none_and_factor_1_is_cross_entropy():
    labels = np.array([[[0, 0, VOID, 1, 1, 1]]], np.uint8)
    logits = np.random.default_rng(0).normal(size=(1, 1, 6, 2)).astype(np.float32)
    plain = float(CrossEntropy(VOID, 2)(labels, logits))
    assert float(BoundaryCrossEntropy(VOID, 2, width=1, factor=9.0)(labels, logits)) == pytest.approx(plain)
    assert float(BoundaryCrossEntropy(VOID, 2, width=3, factor=1.0)(labels, logits)) == pytest.approx(plain)


def test_edge_shares_of_a_batch_add_up_to_it():
    loss = EdgeCrossEntropy(VOID, 20)
    labels, logits = edge_batch(0)
    total = loss.sums(labels[:1], logits[:1]) + loss.sums(labels[1:], logits[1:])
    whole, gradient = loss_and_gradient(loss, labels, logits)
    for place in (0, 1):
        share = labels[place : place + 1], logits[place : place + 1]
        value, part = loss_and_gradient(lambda *each: loss.value(with_own_gradient(loss.sums(*each), total)), *share)
        assert value == pytest.approx(whole, rel=1e-6)
        np.testing.assert_allclose(part[0], gradient[place], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_edge_logits_of_few_bits_are_computed_with_in_float32(kind):
    labels, logits = edge_batch(1)
    small = tf.cast(logits, kind)
    found = EdgeCrossEntropy(VOID, 20)(labels, small)
    assert found.dtype == "float32"
    assert float(found) == float(EdgeCrossEntropy(VOID, 20)(labels, tf.cast(small, tf.float32)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"width=0: expected"),
        ({"factor": -1.0}, r"factor=-1\.0: expected"),
        ({"class_weights": [1, 2, 3]}, r"class_weights=\[1, 2, 3\]: 3 numbers, expected 2"),
    ],
)
def test_bad_arguments_of_the_boundary_loss_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        BoundaryCrossEntropy(VOID, 2, **arguments)


def test_heads_with_scores_are_picked():
    edges, classes = EdgeCrossEntropy(VOID, 2), CrossEntropy(VOID, 2)
    assert scored({"auxiliary": HeadLoss(classes, 0.4), "edges": HeadLoss(edges, 1.0)}) == {"edges": edges}
