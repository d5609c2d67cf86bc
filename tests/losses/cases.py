"""Every loss of classes with its oracle, and batches to try them on.

K classes; labels are (B, H, W) uint8, logits (B, H, W, K) float32.
"""

from functools import partial

import numpy as np
import tensorflow as tf

from losses import oracle
from segtrain.losses import (
    BoundaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    Lovasz,
    OhemCrossEntropy,
    Part,
    Sum,
    Tversky,
)

VOID, CLASSES = 255, 4
WEIGHTS = [0.5, 1.0, 0.0, 3.0]


def cross_entropy_and_dice(ignore_class, num_classes):
    return Sum(
        {"a": Part(CrossEntropy(ignore_class, num_classes), 0.75), "b": Part(Dice(ignore_class, num_classes), 2)}
    )


def by_formula_of_sum(labels, logits, void):
    return 0.75 * oracle.cross_entropy(labels, logits, void) + 2 * oracle.dice(labels, logits, void)


# By name: the class, its arguments, and its oracle with its own.
CASES = {
    "cross-entropy": (CrossEntropy, {}, oracle.cross_entropy, {}),
    "cross-entropy, weights": (CrossEntropy, {"class_weights": WEIGHTS}, oracle.cross_entropy, {"weights": WEIGHTS}),
    "cross-entropy, smooth": (CrossEntropy, {"label_smoothing": 0.1}, oracle.cross_entropy, {"smoothing": 0.1}),
    "cross-entropy, both": (
        CrossEntropy,
        {"class_weights": WEIGHTS, "label_smoothing": 0.2},
        oracle.cross_entropy,
        {"weights": WEIGHTS, "smoothing": 0.2},
    ),
    "ohem": (OhemCrossEntropy, {}, oracle.ohem, {"threshold": 0.7, "top_k_fraction": 0.1}),
    "ohem, low": (
        OhemCrossEntropy,
        {"threshold": 0.05, "top_k_fraction": 0.5, "class_weights": WEIGHTS},
        oracle.ohem,
        {"threshold": 0.05, "top_k_fraction": 0.5, "weights": WEIGHTS},
    ),
    "top-k": (
        OhemCrossEntropy,
        {"threshold": 0.0, "top_k_fraction": 0.25},
        oracle.ohem,
        {"threshold": 0, "top_k_fraction": 0.25},
    ),
    "focal": (Focal, {}, oracle.focal, {"gamma": 2}),
    "focal, weights": (
        Focal,
        {"gamma": 0.5, "class_weights": WEIGHTS},
        oracle.focal,
        {"gamma": 0.5, "weights": WEIGHTS},
    ),
    "boundary": (
        BoundaryCrossEntropy,
        {"width": 1, "factor": 4.0, "class_weights": WEIGHTS},
        oracle.boundary,
        {"width": 1, "factor": 4, "weights": WEIGHTS},
    ),
    "dice": (Dice, {}, oracle.dice, {}),
    "dice, squared": (Dice, {"squared": True}, oracle.dice, {"power": 2}),
    "dice, absent": (
        Dice,
        {"absent": True, "smooth": 1.5, "class_weights": WEIGHTS},
        oracle.dice,
        {"absent": True, "smooth": 1.5, "weights": WEIGHTS},
    ),
    "tversky": (Tversky, {}, oracle.tversky, {"alpha": 0.3, "beta": 0.7}),
    "tversky, focal": (
        Tversky,
        {"alpha": 0.6, "beta": 0.2, "gamma": 0.75, "class_weights": WEIGHTS},
        oracle.tversky,
        {"alpha": 0.6, "beta": 0.2, "gamma": 0.75, "weights": WEIGHTS},
    ),
    "lovasz": (Lovasz, {}, oracle.lovasz, {}),
    "lovasz, weights": (Lovasz, {"class_weights": WEIGHTS}, oracle.lovasz, {"weights": WEIGHTS}),
    "sum": (cross_entropy_and_dice, {}, by_formula_of_sum, {}),
}


def build(name, void=VOID):
    """The loss of a case, for CLASSES classes."""
    made, arguments, _, _ = CASES[name]
    return made(void, CLASSES, **arguments)


def formula(name):
    """The oracle of a case: from labels, logits and the void id to a float."""
    _, _, by_formula, arguments = CASES[name]
    return partial(by_formula, **arguments)


def random_batch(seed, classes=(0, 1, 2, 3), void=0.2, scale=2.0, size=(2, 7, 9)):
    """Labels of some of the classes, a share of them void, and logits that lean to them or not."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, size)
    logits = rng.normal(0, scale, (*size, CLASSES)) + rng.uniform(0, 3) * (labels[..., None] == np.arange(CLASSES))
    return np.where(rng.random(size) < void, VOID, labels).astype(np.uint8), logits.astype(np.float32)


def loss_and_gradient(loss, labels, logits):
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(labels, logits)
    return float(value), tape.gradient(value, logits).numpy()
