"""Cross-entropy of classes and of edges against their formulas in float64.

B batch, H height, W width, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy, EdgeCrossEntropy, HeadLoss, scored

pytestmark = pytest.mark.tensorflow

VOID, CLASSES = 255, 4
WEIGHTS = [0.5, 1.0, 0.0, 3.0]


@pytest.fixture
def batch():
    """(2, 5, 6) labels of 4 classes, a fifth of them void, and (2, 5, 6, 4) logits."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 3, VOID], (2, 5, 6)).astype(np.uint8)
    return labels, rng.normal(0, 3, (2, 5, 6, CLASSES)).astype(np.float32)


def by_formula(labels, logits, weights=(1,) * CLASSES):
    """-sum w[y] log softmax(logits)[y] / sum w[y], pixel by pixel."""
    total = divisor = 0.0
    for label, scores in zip(labels.ravel(), logits.reshape(-1, CLASSES).astype(np.float64), strict=True):
        if label != VOID:
            log_sum = np.log(np.exp(scores).sum())
            total += weights[label] * (log_sum - scores[label])
            divisor += weights[label]
    return total / divisor


def loss_and_gradient(loss, labels, logits):
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(labels, logits)
    return float(value), tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_loss_is_its_formula(batch, weights):
    found = CrossEntropy(VOID, CLASSES, weights)(*batch)
    assert found.shape == () and found.dtype == "float32"
    expected = by_formula(*batch, weights or (1,) * CLASSES)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_equal_logits_cost_the_logarithm_of_the_classes():
    labels = np.array([[[0, 1, 2, 3]]], np.uint8)
    assert float(CrossEntropy(VOID, CLASSES)(labels, np.zeros((1, 1, 4, CLASSES), np.float32))) == pytest.approx(
        np.log(4), abs=1e-6
    )


def test_logits_are_no_probabilities():
    # softmax(2, 0) = 0.881; read as probabilities (2, 0) would cost 0.
    loss = CrossEntropy(VOID, 2)(np.zeros((1, 1, 1), np.uint8), np.array([[[[2.0, 0.0]]]], np.float32))
    assert float(loss) == pytest.approx(-np.log(np.exp(2) / (np.exp(2) + 1)), abs=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_void_pixels_cost_nothing(batch, weights):
    labels, logits = batch
    loss = CrossEntropy(VOID, CLASSES, weights)
    more_labels = np.concatenate([labels, np.full_like(labels, VOID)], axis=2)
    more_logits = np.concatenate([logits, np.full_like(logits, 1e4)], axis=2)
    more_logits[..., 6:, 0] = -1e4
    assert float(loss(more_labels, more_logits)) == pytest.approx(float(loss(labels, logits)), rel=1e-6)


def test_void_pixels_pull_nothing_and_others_do(batch):
    labels, logits = batch
    _, gradient = loss_and_gradient(CrossEntropy(VOID, CLASSES), labels, logits)
    assert (gradient[labels == VOID] == 0).all()
    assert (np.abs(gradient[labels != VOID]).max(-1) > 0).all()


@pytest.mark.parametrize("ignore_class", [4, 11, 255])
def test_any_id_may_be_void(batch, ignore_class):
    labels, logits = batch
    renamed = np.where(labels == VOID, ignore_class, labels).astype(np.uint8)
    assert float(CrossEntropy(ignore_class, CLASSES)(renamed, logits)) == pytest.approx(by_formula(*batch), rel=1e-6)


def test_void_alone_costs_zero_and_pulls_nowhere(batch):
    _, logits = batch
    labels = np.full(logits.shape[:3], VOID, np.uint8)
    value, gradient = loss_and_gradient(CrossEntropy(VOID, CLASSES, WEIGHTS), labels, logits)
    assert value == 0 and (gradient == 0).all()


def test_class_of_weight_zero_is_like_void(batch):
    labels, logits = batch
    without = np.where(labels == 2, VOID, labels).astype(np.uint8)
    loss = CrossEntropy(VOID, CLASSES, WEIGHTS)
    assert float(loss(labels, logits)) == pytest.approx(float(loss(without, logits)), rel=1e-6)


def test_class_of_weight_zero_alone_costs_zero(batch):
    _, logits = batch
    labels = np.full(logits.shape[:3], 2, np.uint8)
    value, gradient = loss_and_gradient(CrossEntropy(VOID, CLASSES, WEIGHTS), labels, logits)
    assert value == 0 and (gradient == 0).all()


def test_all_weights_times_ten_change_nothing(batch):
    one, ten = CrossEntropy(VOID, CLASSES, WEIGHTS), CrossEntropy(VOID, CLASSES, [10 * w for w in WEIGHTS])
    assert float(one(*batch)) == pytest.approx(float(ten(*batch)), rel=1e-6)


def test_whole_number_weights_are_numbers(batch):
    assert float(CrossEntropy(VOID, CLASSES, [1, 2, 3, 4])(*batch)) == pytest.approx(
        by_formula(*batch, (1, 2, 3, 4)), rel=1e-6
    )


def test_huge_logits_stay_finite():
    labels = np.array([[[0, 1]]], np.uint8)
    logits = np.array([[[[1e4, -1e4], [1e4, -1e4]]]], np.float32)
    value, gradient = loss_and_gradient(CrossEntropy(VOID, 2), labels, logits)
    assert value == pytest.approx((0 + 2e4) / 2) and np.isfinite(gradient).all()


def test_loss_in_a_compiled_graph_is_the_eager_one(batch):
    loss = CrossEntropy(VOID, CLASSES, WEIGHTS)
    compiled = tf.function(loss)
    assert float(compiled(*map(tf.constant, batch))) == pytest.approx(float(loss(*batch)), rel=1e-6)


def test_plain_loss_is_keras_own(batch):
    labels, logits = batch
    oracle = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=VOID, reduction="mean_with_sample_weight")
    assert float(CrossEntropy(VOID, CLASSES)(labels, logits)) == pytest.approx(
        float(oracle(labels.astype(np.int32), logits)), rel=1e-5
    )


@pytest.mark.parametrize(
    "weights",
    [[1, 1, 1], [1] * 5, [], [1, 1, -1, 1], [1, float("nan"), 1, 1], [1, float("inf"), 1, 1], [0, 0, 0, 0]],
    ids=["too few", "too many", "none", "negative", "NaN", "infinite", "all zero"],
)
def test_bad_weights_are_refused(weights):
    with pytest.raises(ConfigError, match=rf"loss\.class_weights=.*{len(weights)} numbers, expected 4 \(one a class\)"):
        CrossEntropy(VOID, CLASSES, weights)


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
    # Two photographs count together: hits 1 + 1, called 3 + 1, edges 2 + 4.
    found = loss.scores(counts + np.array([1, 1, 4]))
    assert found == {"precision": 2 / 4, "recall": 2 / 6, "f1": pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))}


def test_edge_scores_without_a_pixel_to_tell_from_are_nan():
    found = EdgeCrossEntropy(VOID, 2).scores(np.array([0, 0, 5]))
    assert np.isnan(found["precision"]) and found["recall"] == found["f1"] == 0
    assert np.isnan(list(EdgeCrossEntropy(VOID, 2).scores(np.zeros(3, np.int64)).values())).all()


def test_an_edge_of_no_width_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.width=0: expected at least 1, in pixels"):
        EdgeCrossEntropy(VOID, 2, width=0)


def test_heads_with_scores_are_picked():
    edges, classes = EdgeCrossEntropy(VOID, 2), CrossEntropy(VOID, 2)
    assert scored({"auxiliary": HeadLoss(classes, 0.4), "edges": HeadLoss(edges, 1.0)}) == {"edges": edges}
