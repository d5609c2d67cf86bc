"""Dice, Tversky and Lovasz by hand, and against Keras' own where these agree; the oracle is in test_contract.

K classes.
"""

import keras
import numpy as np
import pytest

from losses import oracle
from losses.cases import CLASSES, VOID, random_batch
from segtrain.errors import ConfigError
from segtrain.losses import Dice, Lovasz, Tversky

pytestmark = pytest.mark.tensorflow

# Two classes; said of class 1: 1/2, 3/4, 1/4, 1/2 at pixels of classes 1, 1, 0, 0; a fifth is void.
LABELS = np.array([[[1, 1, 0, 0, VOID]]], np.uint8)
LOGITS = np.array([[[[0, 0], [0, np.log(3)], [np.log(3), 0], [0, 0], [-9, 9]]]], np.float32)


def hard(said, num_classes=CLASSES):
    """Logits that are sure of (B, H, W) class ids."""
    return np.where(said[..., None] == np.arange(num_classes), 1e4, 0).astype(np.float32)


def unmasked(batch):
    """One-hot labels and probabilities of a batch without void, as Keras wants them."""
    labels, logits = batch
    return np.eye(CLASSES, dtype=np.float32)[labels], keras.ops.softmax(logits)


def test_dice_by_hand():
    # Class 1: q g = 5/4, q = 2, g = 2: 1 - 2.5/4 = 3/8. Class 0: q g = 3/4 + 1/2, the same.
    found = Dice(VOID, 2).per_class(Dice(VOID, 2).sums(LABELS, LOGITS))
    assert np.array(found) == pytest.approx([3 / 8, 3 / 8], rel=1e-6)
    # smooth: 1 - (2.5 + 4) / (4 + 4)
    assert float(Dice(VOID, 2, smooth=4.0)(LABELS, LOGITS)) == pytest.approx(1 - 6.5 / 8, rel=1e-6)
    # Squares: q^2 of class 1 sum to 1/4 + 9/16 + 1/16 + 1/4 = 9/8, g^2 to 2.
    assert float(Dice(VOID, 2, squared=True)(LABELS, LOGITS)) == pytest.approx(1 - 2.5 / (25 / 8), rel=1e-6)


def test_tversky_by_hand():
    # Class 1: hits 5/4, false 1/4 + 1/2, missed 1/2 + 1/4: T = 1.25 / (1.25 + 0.75 (alpha + beta)).
    assert float(Tversky(VOID, 2, alpha=0.2, beta=0.4)(LABELS, LOGITS)) == pytest.approx(0.45 / 1.7, rel=1e-6)
    # Missing half of class 1 and saying nothing false of it: beta alone counts there, alpha alone for class 0.
    loss = Tversky(VOID, 2, alpha=0.25, beta=0.75)
    labels, said = np.array([[[1, 1, 0, 0]]], np.uint8), np.array([[[1, 0, 0, 0]]])
    found = loss.per_class(loss.sums(labels, hard(said, 2)))
    assert np.array(found) == pytest.approx([0.25 / 2.25, 0.75 / 1.75], rel=1e-6)


def test_lovasz_by_hand():
    # Class 1 of the first two pixels: errors 1/2 (its own), 1/4 (its own), 1/4 and 1/2 (others). From the largest: its
    # own 1/2 leaves IoU 1/2, the other's 1/2 1/3, both 1/4 nothing: 1/2 (1/2 + 1/6) + 1/4 (1/3). Class 0 alike.
    assert float(Lovasz(VOID, 2)(LABELS, LOGITS)) == pytest.approx(1 / 2 * 2 / 3 + 1 / 4 * 1 / 3, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_lovasz_of_sure_logits_is_the_mean_iou_of_classes_present(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 3, VOID], (2, 8, 9)).astype(np.uint8)
    said = np.where(rng.random(labels.shape) < 0.5, labels, rng.integers(0, CLASSES, labels.shape))
    counted = labels != VOID
    shares = [((labels == k) & (said == k)).sum() / (((labels == k) | (said == k)) & counted).sum() for k in (0, 1, 3)]
    assert float(Lovasz(VOID, CLASSES)(labels, hard(said))) == pytest.approx(1 - np.mean(shares), rel=1e-5)


def test_dice_and_tversky_are_keras_own_without_void():
    batch = random_batch(8, void=0)
    truth, said = unmasked(batch)
    dice = keras.ops.mean(keras.losses.dice(truth, said, axis=(0, 1, 2)))
    assert float(Dice(VOID, CLASSES)(*batch)) == pytest.approx(float(dice), rel=1e-5)
    # Keras' alpha is of what is missed, its beta of what is false.
    tversky = keras.ops.mean(keras.losses.tversky(truth, said, alpha=0.7, beta=0.3, axis=(0, 1, 2)))
    assert float(Tversky(VOID, CLASSES, alpha=0.3, beta=0.7)(*batch)) == pytest.approx(float(tversky), rel=1e-5)


def test_tversky_of_two_halves_is_dice():
    batch = random_batch(9)
    assert float(Tversky(VOID, CLASSES, alpha=0.5, beta=0.5)(*batch)) == pytest.approx(
        float(Dice(VOID, CLASSES)(*batch)), rel=1e-6
    )


def test_absent_classes_cost_only_where_they_shall():
    # Class 1 is not there; 3 of 4 pixels are said to be it: 3 / (3 + 1).
    labels, logits = np.zeros((1, 2, 2), np.uint8), hard(np.array([[[0, 1], [1, 1]]]), 2)
    of_class_0 = 1 - 2 * 1 / (1 + 4)
    assert float(Dice(VOID, 2)(labels, logits)) == pytest.approx(of_class_0, rel=1e-6)
    smoothed = 1 - (2 * 1 + 1) / (1 + 4 + 1)
    found = float(Dice(VOID, 2, smooth=1.0, absent=True)(labels, logits))
    assert found == pytest.approx((smoothed + 3 / 4) / 2, rel=1e-6)


@pytest.mark.parametrize("made", [Dice, Tversky, Lovasz])
def test_a_class_of_weight_zero_is_left_out(made):
    # Whatever is said of class 0: its own loss is out of the mean. One class alone in the mean is that class' loss.
    labels, logits = random_batch(10)
    only = made(VOID, CLASSES, [0, 0, 1, 0])(labels, logits)
    both = made(VOID, CLASSES, [0, 3, 1, 0])(labels, logits)
    other = made(VOID, CLASSES, [0, 1, 0, 0])(labels, logits)
    assert float(both) == pytest.approx((float(only) + 3 * float(other)) / 4, rel=1e-6)


def test_a_million_pixels_are_summed_exactly():
    # Added one by one in float32, a million probabilities would be off by 1e-5.
    batch = random_batch(11, size=(2, 512, 1024), scale=0.5)
    assert float(Dice(VOID, CLASSES)(*batch)) == pytest.approx(oracle.dice(*batch, VOID), rel=1e-6)
    tversky = oracle.tversky(*batch, VOID, alpha=0.3, beta=0.7)
    assert float(Tversky(VOID, CLASSES)(*batch)) == pytest.approx(tversky, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (Dice, {"smooth": -1.0}, "smooth=-1.0: expected"),
        (Dice, {"absent": True}, "smooth=0.0: expected more than 0 where absent=true"),
        (Dice, {"class_weights": [0] * 4}, "class_weights=[0, 0, 0, 0]: 4 numbers, expected 4 (one a class)"),
        (Tversky, {"alpha": -0.5}, "alpha=-0.5: expected"),
        (Tversky, {"alpha": 0.0, "beta": 0.0}, "beta=0.0: expected more than 0 where alpha=0"),
        (Tversky, {"gamma": 0.0}, "gamma=0.0: expected"),
        (Tversky, {"gamma": float("nan")}, "gamma=nan: expected"),
        (Tversky, {"class_weights": [1]}, "class_weights=[1]: 1 numbers, expected 4"),
        (Lovasz, {"class_weights": [1]}, "class_weights=[1]: 1 numbers, expected 4"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(loss, arguments, message):
    with pytest.raises(ConfigError) as caught:
        loss(VOID, CLASSES, **arguments)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
