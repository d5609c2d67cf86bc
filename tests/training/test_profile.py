"""A profile of some steps, where TensorBoard's plugin looks for it."""

import keras
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy
from segtrain.training import Profile
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow


def train(callback, epochs):
    """Epochs of 2 steps; return how many steps were done."""
    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels))
    trainer = Trainer(model, keras.optimizers.SGD(0.01), CrossEntropy(255, 2), 2, 255)
    batch = tf.ones((1, 4, 4, 3)), tf.ones((1, 4, 4), tf.uint8)
    trainer.run(
        [batch] * 2 * epochs,
        steps_per_epoch=2,
        epochs=epochs,
        validate=dict,
        validate_every=1,
        callbacks=[callback],
    )
    return trainer.step


def profiles(run_folder):
    return list(run_folder.glob("tensorboard/plugins/profile/*/*.xplane.pb"))


def test_the_steps_are_recorded_and_the_training_stops_after_their_epoch(tmp_path):
    # Step 5 is the first of the third epoch, of 2 steps each.
    assert train(Profile(tmp_path, first_step=3, last_step=5), epochs=10) == 6
    (path,) = profiles(tmp_path)
    assert path.stat().st_size > 1000


def test_a_training_that_is_too_short_keeps_what_there_is_and_says_so(tmp_path, caplog):
    assert train(Profile(tmp_path, first_step=3, last_step=99), epochs=2) == 4
    assert len(profiles(tmp_path)) == 1
    assert "ended at step 4, before the last of the steps 3 to 99" in caplog.text


@pytest.mark.parametrize("steps", [(0, 5), (6, 5)])
def test_steps_that_there_are_not_are_refused(tmp_path, steps):
    with pytest.raises(ConfigError, match="first_step=.*: expected"):
        Profile(tmp_path, *steps)
