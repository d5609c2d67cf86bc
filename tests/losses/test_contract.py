"""What every loss of classes keeps: its formula, void, types, extremes, shares of a batch; and networks learn by it.

K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from losses.cases import CASES, CLASSES, VOID, build, formula, loss_and_gradient, random_batch
from segtrain.evaluation import scores
from segtrain.losses import Loss, with_own_gradient

pytestmark = [pytest.mark.tensorflow, pytest.mark.parametrize("name", CASES)]

BATCHES = {
    "all classes": random_batch(0),
    "two classes absent": random_batch(1, classes=(1, 3)),
    "one class alone": random_batch(2, classes=(1,)),
    "mostly void": random_batch(3, void=0.9),
    "no void": random_batch(4, void=0),
    "well known": random_batch(5, scale=0.5),
}


@pytest.mark.parametrize("batch", BATCHES)
def test_a_loss_is_its_formula(name, batch):
    found = build(name)(*BATCHES[batch])
    assert found.shape == () and found.dtype == "float32"
    assert float(found) == pytest.approx(formula(name)(*BATCHES[batch], VOID), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("void", [4, 11])
def test_any_id_may_be_void(name, void):
    labels, logits = BATCHES["all classes"]
    renamed = np.where(labels == VOID, void, labels).astype(np.uint8)
    assert float(build(name, void)(renamed, logits)) == pytest.approx(formula(name)(labels, logits, VOID), rel=1e-6)


def test_more_void_pixels_change_nothing(name):
    labels, logits = BATCHES["all classes"]
    more = np.full_like(logits, 1e4)
    more[..., 0] = -1e4
    more_labels = np.concatenate([labels, np.full_like(labels, VOID)], axis=2)
    value, gradient = loss_and_gradient(build(name), labels, logits)
    again, wider = loss_and_gradient(build(name), more_labels, np.concatenate([logits, more], axis=2))
    assert again == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(wider[:, :, : labels.shape[2]], gradient, rtol=1e-4, atol=1e-8)
    assert (wider[:, :, labels.shape[2] :] == 0).all()


def test_void_pixels_pull_nothing_and_some_others_do(name):
    labels, logits = BATCHES["all classes"]
    _, gradient = loss_and_gradient(build(name), labels, logits)
    assert (gradient[labels == VOID] == 0).all() and np.abs(gradient).max() > 0
    # Softmax does not tell logits that are all larger by the same: a pixel's pulls cancel.
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-6)


def test_void_alone_costs_zero_and_pulls_nowhere(name):
    _, logits = BATCHES["all classes"]
    value, gradient = loss_and_gradient(build(name), np.full(logits.shape[:3], VOID, np.uint8), logits)
    assert value == 0 and (gradient == 0).all()


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_huge_logits_stay_finite(name, right):
    labels, _ = BATCHES["all classes"]
    shifted = labels if right else (labels + 1) % CLASSES
    logits = np.where(shifted[..., None] == np.arange(CLASSES), 1e4, -1e4).astype(np.float32)
    value, gradient = loss_and_gradient(build(name), labels, logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    if right and "smooth" not in name and "both" not in name:
        assert value == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_logits_of_few_bits_are_computed_with_in_float32(name, kind):
    labels, logits = BATCHES["all classes"]
    small = tf.cast(logits, kind)
    value, gradient = loss_and_gradient(build(name), labels, small)
    assert build(name)(labels, small).dtype == "float32"
    assert value == float(build(name)(labels, tf.cast(small, tf.float32)))
    assert np.isfinite(gradient.astype(np.float32)).all()


def test_gradient_is_the_slope(name):
    # In float32 along a random direction; kinks where pixels change their rank are rare.
    labels, logits = random_batch(6, size=(1, 4, 5))
    direction = np.random.default_rng(0).normal(size=logits.shape)
    _, gradient = loss_and_gradient(build(name), labels, logits)
    before, after = (formula(name)(labels, logits + step * direction, VOID) for step in (-1e-5, 1e-5))
    assert float((gradient * direction).sum()) == pytest.approx((after - before) / 2e-5, rel=1e-3, abs=1e-5)


def test_compiled_it_gives_the_same(name):
    loss, batch = build(name), BATCHES["all classes"]
    found = tf.function(loss, jit_compile=True)(*map(tf.constant, batch))
    assert float(found) == pytest.approx(float(loss(*batch)), rel=1e-5)


def test_a_graph_takes_photographs_of_any_size(name):
    shapes = [tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((None, None, None, CLASSES), tf.float32)]
    found = tf.function(build(name), input_signature=shapes)(*map(tf.constant, BATCHES["all classes"]))
    assert float(found) == pytest.approx(float(build(name)(*BATCHES["all classes"])), rel=1e-5)


# Ranks are told on each replica alone, so the whole batch's differ.
PER_REPLICA = ("lovasz", "ohem", "top-k")


def test_shares_of_a_batch_add_up_to_it(name):
    """Two replicas, with 100 and 26 pixels and other classes: the same loss and gradients as one with all."""
    loss = build(name)
    assert isinstance(loss, Loss)
    labels, logits = random_batch(7, size=(1, 14, 9))
    labels[:, 10:][labels[:, 10:] == 1] = 3
    shares = [(labels[:, :10], logits[:, :10]), (labels[:, 10:], logits[:, 10:])]
    total = tf.nest.map_structure(lambda *each: sum(each), *(loss.sums(*share) for share in shares))
    found = [
        loss_and_gradient(lambda *share: loss.value(with_own_gradient(loss.sums(*share), total)), *share)
        for share in shares
    ]
    assert found[0][0] == found[1][0] == float(loss.value(total))
    if not name.startswith(PER_REPLICA) and name != "boundary":  # the cut hides a border
        value, gradient = loss_and_gradient(loss, labels, logits)
        assert found[0][0] == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(np.concatenate([each for _, each in found], axis=1), gradient, rtol=1e-4, atol=1e-8)


def four_photographs():
    """(4, 24, 24, 3) float32 images of a disc, a square and a bar on a ground, and their (4, 24, 24) labels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :24]
    labels = np.zeros((4, 24, 24), np.uint8)
    for index in range(4):
        y, x = 6 + 3 * index, 17 - 3 * index
        labels[index][(rows - y) ** 2 + (columns - x) ** 2 < 20] = 1
        labels[index][2 + index : 8 + index, 2:8] = 2
        labels[index][18:22, 4 + index : 20] = 3
        labels[index][:, 0] = VOID
    colors = np.array([[0.1, 0.1, 0.2], [0.8, 0.3, 0.1], [0.2, 0.7, 0.3], [0.6, 0.6, 0.9]])
    images = colors[np.where(labels == VOID, 0, labels)] + rng.normal(0, 0.08, (4, 24, 24, 3))
    return images.astype(np.float32), labels


def test_a_network_learns_four_photographs_by_heart(name):
    keras.utils.set_random_seed(0)
    images, labels = four_photographs()
    layers = [keras.layers.Conv2D(16, 3, padding="same", activation="relu"), keras.layers.Conv2D(CLASSES, 1)]
    model = keras.Sequential([keras.Input((24, 24, 3)), *layers])
    loss, optimizer = build(name), keras.optimizers.Adam(0.03)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(steps):
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                value = loss(labels, model(images))
            optimizer.apply(tape.gradient(value, model.trainable_variables))

    train(tf.constant(150))
    said = np.argmax(model(images), -1)
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(matrix, (labels[labels != VOID], said[labels != VOID]), 1)
    # A class that weighs nothing is not learned.
    kept = [k for k in range(CLASSES) if CASES[name][1].get("class_weights", [1] * CLASSES)[k]]
    assert scores(matrix[np.ix_(kept, kept)]).mean_iou > 0.98
