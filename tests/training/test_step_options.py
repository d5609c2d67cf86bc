"""Effects of step options: what freezes and for how long, what is logged, and that defaults cost nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import NumericError
from segtrain.losses import CrossEntropy
from segtrain.training.step_options import StepOptions
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow

CLASSES, VOID, BACKBONE = 3, 255, ("stem", "stem_bn")


def _trainer(options=None, loss=None):
    keras.utils.set_random_seed(0)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(pixels)
    x = keras.layers.BatchNormalization(momentum=0.5, name="stem_bn")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="head")(x)
    x = keras.layers.BatchNormalization(momentum=0.5, name="head_bn")(x)
    model = keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1, name="classifier")(x))
    more = {} if options is None else {"options": options}
    return Trainer(model, keras.optimizers.Adam(0.01), loss or CrossEntropy(VOID, CLASSES), CLASSES, VOID, **more)


def _batch(step=0):
    images = np.random.default_rng(step).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)
    return tf.constant(images), tf.constant(images[..., 0] // 86)


def _moved(trainer, epochs=3, steps_per_epoch=2):
    """By path of each weight, the epochs in which it moved."""
    weights, found = trainer.model.weights, {weight.path: [] for weight in trainer.model.weights}
    before = [weight.numpy() for weight in weights]

    def compare(epoch, logs):
        for place, weight in enumerate(weights):
            if (weight.numpy() != before[place]).any():
                found[weight.path].append(epoch)
            before[place] = weight.numpy()

    trainer.run(
        map(_batch, range(epochs * steps_per_epoch)),
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        validate=dict,
        validate_every=1,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=compare)],
    )
    return found


def test_a_frozen_backbone_moves_from_its_epoch_on_statistics_and_all():
    moved = _moved(_trainer(StepOptions(freeze_backbone_epochs=2, backbone=BACKBONE)))
    assert {path.split("/")[0] for path in moved} == {*BACKBONE, "head", "head_bn", "classifier"}
    for path, epochs in moved.items():
        assert epochs == ([2] if path.startswith(BACKBONE) else [0, 1, 2]), path


def test_layers_of_factor_0_never_move_statistics_and_all():
    factors = {"stem_bn/gamma": 0.0, "stem_bn/beta": 0.0}
    for path, epochs in _moved(_trainer(StepOptions(factors=factors))).items():
        assert epochs == ([] if path.startswith("stem_bn/") else [0, 1, 2]), path


def test_the_norm_of_gradients_is_logged_where_they_are_clipped():
    trainer = _trainer(StepOptions(clip_norm=1e-3))
    _moved(trainer, epochs=1, steps_per_epoch=1)
    images, labels = _batch()
    plain = _trainer()
    with tf.GradientTape() as tape:
        loss = CrossEntropy(VOID, CLASSES)(labels, plain.model(images, training=True))
    gradients = tape.gradient(loss, plain.model.trainable_variables)
    norm = np.sqrt(sum(np.sum(gradient.numpy() ** 2) for gradient in gradients))
    assert trainer.progress.history[0]["gradient_norm"] == pytest.approx(norm, rel=1e-3)


def test_gradients_without_a_norm_stop_the_run_before_they_are_saved():
    # sqrt(0) is a number, its gradient is not.
    trainer = _trainer(StepOptions(clip_norm=1.0), lambda labels, logits: tf.reduce_sum(tf.sqrt(logits * 0.0)))
    with pytest.raises(NumericError, match=r"loss=0\.0, gradient_norm=nan at step 1"):
        _moved(trainer)


def test_a_plain_recipe_leaves_the_step_as_it_was():
    trainer = _trainer()
    graph = trainer._train_step.get_concrete_function(*_batch(), False).graph

    @tf.function
    def by_hand(images, labels):
        model, optimizer = trainer.model, trainer.optimizer
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = CrossEntropy(VOID, CLASSES)(labels, logits)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return {"loss": loss}, trainer._objective._count(labels, tf.argmax(logits, axis=-1, output_type=tf.int32))

    wanted = by_hand.get_concrete_function(*_batch()).graph
    assert len(graph.get_operations()) == len(wanted.get_operations()) > 100
    assert sorted(one.type for one in graph.get_operations()) == sorted(one.type for one in wanted.get_operations())
