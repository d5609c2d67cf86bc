"""Cross-entropy of classes, of hard pixels and with focus: what holds for each alone; the oracle is in test_contract.

B batch, H height, W width, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from losses.cases import CLASSES, VOID, WEIGHTS, loss_and_gradient
from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy, Focal, OhemCrossEntropy

pytestmark = pytest.mark.tensorflow


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
    with pytest.raises(ConfigError, match=rf"class_weights=.*{len(weights)} numbers, expected 4 \(one a class\)"):
        CrossEntropy(VOID, CLASSES, weights)


def test_smoothing_by_hand():
    # Of K = 2 classes with s = 0.2 the true one is worth 0.9, the other 0.1; softmax(ln 3, 0) = (3/4, 1/4).
    loss = CrossEntropy(VOID, 2, label_smoothing=0.2)
    found = loss(np.zeros((1, 1, 1), np.uint8), np.array([[[[np.log(3), 0]]]], np.float32))
    assert float(found) == pytest.approx(-0.9 * np.log(3 / 4) - 0.1 * np.log(1 / 4), rel=1e-6)


def test_smoothed_loss_is_keras_own(batch):
    labels, logits = batch
    kept = labels != VOID
    oracle = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = oracle(np.eye(CLASSES, dtype=np.float32)[labels[kept]], logits[kept])
    found = CrossEntropy(VOID, CLASSES, label_smoothing=0.1)(labels, logits)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


# Of two classes, the true one has these probabilities; the last pixel is void.
PROBABILITIES = [0.9, 0.8, 0.6, 0.3, 0.95, 0.001]


def of_probabilities(loss):
    labels = np.array([[[0, 1, 0, 1, 0, VOID]]], np.uint8)
    logits = np.zeros((1, 1, 6, 2), np.float32)
    for place, probability in enumerate(PROBABILITIES):
        logits[0, 0, place, labels[0, 0, place] % 2] = np.log(probability / (1 - probability))
    return float(loss(labels, logits))


@pytest.mark.parametrize(
    ("threshold", "top_k_fraction", "hard"),
    [
        (0.7, 0.1, [0.6, 0.3]),  # the share is ceil(0.5) = 1 pixel, fewer than lie below the threshold
        (0.1, 0.1, [0.3]),  # none lies below it: the share
        (0.1, 0.5, [0.8, 0.6, 0.3]),  # ceil(2.5)
        (0.85, 0.0, [0.8, 0.6, 0.3]),
        (0.0, 0.4, [0.6, 0.3]),
        (0.0, 1.0, [0.9, 0.8, 0.6, 0.3, 0.95]),
    ],
)
def test_hard_pixels_by_hand(threshold, top_k_fraction, hard):
    found = of_probabilities(OhemCrossEntropy(VOID, 2, threshold=threshold, top_k_fraction=top_k_fraction))
    assert found == pytest.approx(-np.log(hard).mean(), rel=1e-5)


def test_no_hard_pixel_costs_zero():
    assert of_probabilities(OhemCrossEntropy(VOID, 2, threshold=0.2, top_k_fraction=0.0)) == 0


def test_pixels_that_cost_the_same_are_hard_together():
    # At the start of a training all logits may be 0: which of the pixels learn must not hang on their order.
    labels, logits = np.zeros((1, 2, 5), np.uint8), np.zeros((1, 2, 5, 3), np.float32)
    _, gradient = loss_and_gradient(OhemCrossEntropy(VOID, 3, threshold=0.0, top_k_fraction=0.1), labels, logits)
    assert (gradient == gradient[0, 0, 0]).all() and np.abs(gradient).max() > 0


def test_easy_pixels_pull_nothing(batch):
    labels, logits = batch
    _, gradient = loss_and_gradient(OhemCrossEntropy(VOID, CLASSES, threshold=0.0, top_k_fraction=0.25), labels, logits)
    num_counted = (labels != VOID).sum()
    assert (np.abs(gradient).max(-1) > 0).sum() == np.ceil(num_counted / 4)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_all_pixels_hard_and_no_focus_are_plain_cross_entropy(batch, weights):
    plain = float(CrossEntropy(VOID, CLASSES, weights)(*batch))
    assert float(OhemCrossEntropy(VOID, CLASSES, weights, top_k_fraction=1.0)(*batch)) == pytest.approx(plain, rel=1e-6)
    assert float(Focal(VOID, CLASSES, weights, gamma=0.0)(*batch)) == pytest.approx(plain, rel=1e-6)


def test_focus_by_hand():
    # One pixel of probability 3/4: (1/4)^2 ln 4/3.
    found = Focal(VOID, 2)(np.zeros((1, 1, 1), np.uint8), np.array([[[[np.log(3), 0]]]], np.float32))
    assert float(found) == pytest.approx(np.log(4 / 3) / 16, rel=1e-5)


def test_focal_loss_is_keras_own(batch):
    labels, logits = batch
    kept = labels != VOID
    oracle = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)
    expected = oracle(np.eye(CLASSES, dtype=np.float32)[labels[kept]], logits[kept])
    assert float(Focal(VOID, CLASSES)(labels, logits)) == pytest.approx(float(expected), rel=1e-4)


def test_focus_below_one_stays_finite_on_what_is_known():
    logits = np.array([[[[100.0, -100.0]]]], np.float32)
    value, gradient = loss_and_gradient(Focal(VOID, 2, gamma=0.5), np.zeros((1, 1, 1), np.uint8), logits)
    assert value == 0 and np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (CrossEntropy, {"label_smoothing": 1.0}, "label_smoothing=1.0: expected"),
        (CrossEntropy, {"label_smoothing": -0.1}, "label_smoothing=-0.1: expected"),
        (CrossEntropy, {"label_smoothing": float("nan")}, "label_smoothing=nan: expected"),
        (OhemCrossEntropy, {"threshold": 1.0}, "threshold=1.0: expected"),
        (OhemCrossEntropy, {"top_k_fraction": 1.5}, "top_k_fraction=1.5: expected"),
        (OhemCrossEntropy, {"threshold": 0.0, "top_k_fraction": 0.0}, "top_k_fraction=0.0: expected more than 0 where"),
        (OhemCrossEntropy, {"class_weights": [1]}, "class_weights=[1]: 1 numbers, expected 4"),
        (Focal, {"gamma": -1.0}, "gamma=-1.0: expected"),
        (Focal, {"gamma": float("inf")}, "gamma=inf: expected"),
        (Focal, {"class_weights": [1]}, "class_weights=[1]: 1 numbers, expected 4"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(loss, arguments, message):
    with pytest.raises(ConfigError) as caught:
        loss(VOID, CLASSES, **arguments)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
