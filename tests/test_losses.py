"""Cross-entropy against its formula in float64.

B batch, H height, W width, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy

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
