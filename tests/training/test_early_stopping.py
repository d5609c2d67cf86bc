"""A training ends when its score no longer gets better, at the same epoch whether or not it was interrupted."""

import math
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy
from segtrain.training import EarlyStopping, ReachScore
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow


def stops_after(callback, scores, direction="max"):
    """How many epochs of these validation scores are done when it stops; None where it never does."""
    history = []
    trainer = SimpleNamespace(progress=SimpleNamespace(history=history), direction=lambda name: direction)
    callback.set_params({"trainer": trainer})
    callback.set_model(SimpleNamespace(stop_training=False))
    for epoch, score in enumerate(scores):
        logs = {"loss": 1.0} if score == "none" else {"loss": 1.0, "val_mean_iou": score}
        # As Progress writes it: what is not finite is null.
        finite = {name: value if math.isfinite(value) else None for name, value in logs.items()}
        history.append({"epoch": epoch + 1, "step": epoch + 1, **finite})
        callback.on_epoch_end(epoch, logs)
        if callback.model.stop_training:
            return epoch + 1
    return None


@pytest.mark.parametrize(
    ("scores", "patience", "options", "end"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1, {}, None),
        ([0.1, 0.3, 0.2, 0.25, 0.4], 2, {}, 4),
        ([0.1, 0.3, 0.2, 0.31, 0.2, 0.2], 2, {}, 6),  # a better one begins the count anew
        ([0.3, 0.3], 1, {}, 2),  # as good is not better
        ([0.3, "none", "none", 0.2, "none", 0.1, "none"], 2, {}, 6),  # epochs without validation do not count
        ([0.1, 0.14, 0.16, 0.2, 0.16], 2, {"min_delta": 0.05}, 5),  # 0.16 is better by 0.06, 0.2 by 0.04 only
        ([0.1, 0.14, 0.15, 0.16], 2, {"min_delta": 0.05}, 3),
        ([0.3, 0.2, 0.25, 0.26], 2, {"mode": "min"}, 4),
        ([math.nan, math.nan, 0.1], 2, {}, 2),
        ([0.2, math.nan, 0.3], 2, {}, None),
    ],
)
def test_it_stops_when_patience_is_out(scores, patience, options, end):
    assert stops_after(EarlyStopping("val_mean_iou", patience, **options), scores) == end


def test_without_a_mode_the_direction_of_the_score_counts():
    # 0.3, 0.2, 0.1, 0.15: ever lower until the last.
    scores = [0.3, 0.2, 0.1, 0.15]
    assert stops_after(EarlyStopping("val_mean_iou", 1), scores, direction="min") == 4
    assert stops_after(EarlyStopping("val_mean_iou", 1), scores, direction="max") == 2
    assert stops_after(EarlyStopping("val_mean_iou", 1, mode="max"), scores, direction="min") == 2


def test_an_unknown_score_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="monitor=val_miou, .*expected one of loss, val_mean_iou"):
        stops_after(EarlyStopping("val_miou", 1), ["none", 0.1])
    with pytest.raises(ConfigError, match="monitor=lost, .*expected one of loss$"):
        stops_after(EarlyStopping("lost", 1), ["none"])


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"patience": 3, "min_delta": -0.1}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match="(patience=0|min_delta=-0.1): expected"):
        EarlyStopping("val_mean_iou", **wrong)


SCORES = [0.1, 0.3, 0.2, 0.31, 0.1, 0.2, 0.9]


def train(trainer, scores, epochs):
    given = iter(scores)
    batch = tf.ones((1, 2, 2, 3)), tf.ones((1, 2, 2), tf.uint8)
    trainer.run(
        [batch] * (epochs - trainer.step),
        steps_per_epoch=1,
        epochs=epochs,
        validate=lambda: {"val_mean_iou": next(given)},
        validate_every=1,
        callbacks=[EarlyStopping("val_mean_iou", 2)],
    )


def test_a_training_resumed_after_any_epoch_stops_at_the_same_one_and_not_again():
    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels))
    for interrupted in range(8):
        trainer = Trainer(model, keras.optimizers.SGD(0.01), CrossEntropy(255, 2), 2, 255)
        train(trainer, SCORES, interrupted)
        train(trainer, SCORES[trainer.step :], len(SCORES))
        # The best is the 4th of these; the 5th and the 6th are not better.
        assert (trainer.progress.epochs_done, trainer.step) == (6, 6)


def test_a_score_that_is_reached_ends_the_training_and_one_that_is_not_is_told(caplog):
    caplog.set_level("INFO", "segtrain")
    assert stops_after(callback := ReachScore("val_mean_iou", 0.3), [0.2, "none", math.nan, 0.3, 0.31, 0.9]) == 5
    callback.on_train_end()
    assert "val_mean_iou is 0.3100 after epoch 5: above 0.3" in caplog.text
    assert stops_after(callback := ReachScore("val_mean_iou", 0.95), [0.2, 0.5, 0.4]) is None
    callback.on_train_end()
    assert "val_mean_iou is 0.5000 at best, after epoch 2, expected above 0.95. Fix: " in caplog.text
