"""The loss and its gradients, for a batch at once and in parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy, Dice, HeadLoss, Part, Sum
from segtrain.training.objective import Objective
from segtrain.training.step_options import StepOptions
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow

CLASSES, VOID = 3, 255


def _network(norm=False, heads=False):
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    if norm:
        x = keras.layers.BatchNormalization(momentum=0.5, name="bn")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    logits = keras.layers.Conv2D(CLASSES, 1, name="classifier")(x)
    outputs = {"logits": logits, "more": keras.layers.Conv2D(CLASSES, 1, name="more")(x)} if heads else logits
    return keras.Model(pixels, outputs)


def _batch(seed=0):
    """Four images; the first two have few pixels that are not void."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
    labels = rng.integers(0, CLASSES, (4, 6, 5)).astype(np.uint8)
    labels[:2, 1:] = VOID
    return tf.constant(images), tf.constant(labels)


def _sum():
    return Sum({"entropy": Part(CrossEntropy(VOID, CLASSES), 1.0), "dice": Part(Dice(VOID, CLASSES), 0.5)})


@pytest.mark.parametrize("heads", [False, True])
def test_the_parts_of_a_sum_are_told_before_their_weights(heads):
    keras.utils.set_random_seed(0)
    model, (images, labels) = _network(heads=heads), _batch()
    more = {"more": HeadLoss(CrossEntropy(VOID, CLASSES), 0.4)} if heads else {}
    objective = Objective(model, _sum(), more, CLASSES, VOID)
    found = {name: float(loss) for name, loss in objective.gradients(images, labels, []).losses.items()}
    outputs = model(images)
    logits = outputs["logits"] if heads else outputs
    assert found["loss_entropy"] == pytest.approx(float(CrossEntropy(VOID, CLASSES)(labels, logits)), rel=1e-6)
    assert found["loss_dice"] == pytest.approx(float(Dice(VOID, CLASSES)(labels, logits)), rel=1e-6)
    own = found["loss_entropy"] + 0.5 * found["loss_dice"]
    if heads:
        assert found["loss_logits"] == pytest.approx(own, rel=1e-6)
    assert found["loss"] == pytest.approx(own + (0.4 * found["loss_more"] if heads else 0), rel=1e-6)
    # Of a batch in parts, by the same names.
    in_parts = objective.gradients_in_parts(images, labels, model.trainable_variables, 2)
    assert in_parts.losses.keys() == found.keys()


def test_a_part_and_a_head_of_one_name_are_refused():
    head = HeadLoss(CrossEntropy(VOID, CLASSES), 0.4)
    with pytest.raises(
        ConfigError, match=r"heads\.dice and loss\.parts\.dice: both would be loss_dice in the logs, .*Fix"
    ):
        Objective(_network(), _sum(), {"dice": head}, CLASSES, VOID)


def _objective(model, heads):
    more = {"more": HeadLoss(CrossEntropy(VOID, CLASSES), 0.4)} if heads else {}
    return Objective(model, CrossEntropy(VOID, CLASSES), more, CLASSES, VOID)


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_amount_to_the_batch_however_void_is_spread(parts, heads):
    keras.utils.set_random_seed(0)
    model = _network(heads=heads)
    objective, (images, labels) = _objective(model, heads), _batch()
    whole = objective.gradients(images, labels, model.trainable_variables)
    compiled = tf.function(lambda *batch: objective.gradients_in_parts(*batch, model.trainable_variables, parts))
    found = compiled(images, labels)
    assert found.losses.keys() == whole.losses.keys()
    for name, loss in whole.losses.items():
        assert float(found.losses[name]) == pytest.approx(float(loss), rel=1e-6), name
    np.testing.assert_array_equal(found.counts, whole.counts)
    for variable, one, other in zip(model.trainable_variables, found.gradients, whole.gradients, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-6, err_msg=variable.path)


def test_parts_of_void_alone_count_for_nothing():
    keras.utils.set_random_seed(0)
    model = _network()
    objective, (images, labels) = _objective(model, False), _batch()
    # With the last two images all void, the batch is its first part.
    labels = tf.concat([labels[:2], tf.fill((2, 6, 5), tf.constant(VOID, tf.uint8))], axis=0)
    first = objective.gradients(images[:2], labels[:2], model.trainable_variables)
    found = objective.gradients_in_parts(images, labels, model.trainable_variables, 2)
    assert float(found.losses["loss"]) == pytest.approx(float(first.losses["loss"]), rel=1e-6)
    for one, other in zip(found.gradients, first.gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    void = objective.gradients_in_parts(images, tf.fill((4, 6, 5), VOID), model.trainable_variables, 2)
    assert float(void.losses["loss"]) == 0
    assert all((gradient.numpy() == 0).all() for gradient in void.gradients)


def _train(options, batches, norm=False):
    keras.utils.set_random_seed(0)
    optimizer = keras.optimizers.Adam(0.01)
    trainer = Trainer(_network(norm), optimizer, CrossEntropy(VOID, CLASSES), CLASSES, VOID, options=options)
    before = [weight.numpy() for weight in trainer.model.weights]
    trainer.run(batches, steps_per_epoch=len(batches), epochs=1, validate=dict, validate_every=1, callbacks=[])
    return trainer, before


def test_a_step_of_two_parts_is_one_step_of_the_optimizer():
    batches = [_batch(seed) for seed in range(3)]
    (plain, before), (parted, _) = (
        _train(StepOptions(), batches),
        _train(StepOptions(gradient_accumulation_steps=2), batches),
    )
    assert int(parted.optimizer.iterations) == parted.step == 3
    for one, other, earlier in zip(parted.model.get_weights(), plain.model.get_weights(), before, strict=True):
        assert np.abs(other - earlier).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert parted.progress.history[0]["loss"] == pytest.approx(plain.progress.history[0]["loss"], rel=1e-5)
    assert parted.progress.history[0]["mean_iou"] == pytest.approx(plain.progress.history[0]["mean_iou"])


def test_batch_norm_sees_each_part_by_itself():
    images, labels = _batch()
    trainer, _ = _train(StepOptions(gradient_accumulation_steps=2), [(images, labels)], norm=True)
    first, second = (images.numpy()[part].mean(axis=(0, 1, 2)) / 127.5 - 1 for part in (slice(2), slice(2, 4)))
    # Momentum 1/2, from 0, the second part after the first.
    np.testing.assert_allclose(trainer.model.get_layer("bn").moving_mean, first / 4 + second / 2, atol=1e-5)


def test_a_batch_that_does_not_fall_into_equal_parts_is_an_error():
    images, labels = _batch()
    model = _network()
    with pytest.raises(tf.errors.InvalidArgumentError):
        _objective(model, False).gradients_in_parts(images[:3], labels[:3], model.trainable_variables, 2)
