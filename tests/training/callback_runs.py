"""A one-layer network and a short run of it, for tests of callbacks."""

import keras
import tensorflow as tf


def small_network():
    """Build a network of one 1x1 convolution from RGB to two logits."""
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, keras.layers.Conv2D(2, 1, name="classifier")(pixels))


def run_steps(trainer, callbacks, *, epochs=2, steps_per_epoch=3, validate=dict):
    """Train on constant batches from the trainer's step to the end of `epochs`."""
    batch = tf.ones((2, 4, 4, 3)), tf.ones((2, 4, 4), tf.uint8)
    trainer.run(
        [batch] * (epochs * steps_per_epoch - trainer.step),
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        validate=validate,
        validate_every=1,
        callbacks=callbacks,
    )
