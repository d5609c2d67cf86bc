"""The training loop: what it learns, logs, calls, and when it ends.

B batch, H height, W width, K classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import NumericError
from segtrain.losses import CrossEntropy, EdgeCrossEntropy, HeadLoss
from segtrain.training import Poly
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow

CLASSES, VOID = 3, 255
COLORS = np.array([(30, 30, 30), (220, 40, 40), (40, 200, 60)], np.uint8)


def _network():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1)(x))


def _trainer(optimizer=None, loss=None, model=None):
    keras.utils.set_random_seed(0)
    optimizer = optimizer or keras.optimizers.SGD(0.01)
    return Trainer(model or _network(), optimizer, loss or CrossEntropy(VOID, CLASSES), CLASSES, VOID)


def _batch(seed, size=(12, 10)):
    """Two pictures of colored rectangles and noise, a tenth of their labels void."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((2, *size), np.uint8)
    for index in range(2):
        for id_ in (1, 2):
            top, left = rng.integers(0, 6, 2)
            labels[index, top : top + 5, left : left + 4] = id_
    images = np.clip(COLORS[labels] + rng.integers(-9, 10, (*labels.shape, 3)), 0, 255).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = VOID
    return tf.constant(images), tf.constant(labels)


class Recorder(keras.callbacks.Callback):
    """Write down every call, and each epoch's logs."""

    def __init__(self):
        super().__init__()
        self.calls, self.logs = [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train_begin")

    def on_train_end(self, logs=None):
        self.calls.append("train_end")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch_begin {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch_end {epoch}")
        self.logs.append(dict(logs))

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(f"batch_begin {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch_end {batch}")


def _run(trainer, batches, *, steps_per_epoch, epochs=1, validate=dict, validate_every=1, callbacks=()):
    recorder = Recorder()
    trainer.run(
        batches,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        validate=validate,
        validate_every=validate_every,
        callbacks=[recorder, *callbacks],
    )
    return recorder


def test_two_batches_are_learnt_by_heart():
    trainer = _trainer(keras.optimizers.Adam(0.02))
    batches = [_batch(0), _batch(1)] * 40
    *_, last = _run(trainer, batches, steps_per_epoch=8, epochs=10).logs
    assert last["loss"] < 0.1
    assert last["mean_iou"] > 0.9 and last["pixel_accuracy"] > 0.95


def test_an_epochs_logs_have_the_stated_names():
    recorder = _run(_trainer(), [_batch(0)], steps_per_epoch=1, validate=lambda: {"val_loss": 1.5})
    [logs] = recorder.logs
    assert logs.keys() == {"loss", "pixel_accuracy", "mean_iou", "learning_rate", "val_loss"}
    assert all(isinstance(value, float) for value in logs.values())


def test_an_epochs_scores_equal_those_counted_pixel_by_pixel():
    # A rate of 0 leaves the network as it is, so that its answers can be had again.
    trainer = _trainer(keras.optimizers.SGD(0.0))
    batches = [_batch(seed) for seed in range(3)]
    [logs] = _run(trainer, batches, steps_per_epoch=3).logs
    truth, said, losses = [], [], []
    for images, labels in batches:
        logits = trainer.model(images).numpy().astype(np.float64)
        counted = labels.numpy() != VOID
        truth.append(labels.numpy()[counted])
        said.append(logits.argmax(axis=-1)[counted])
        log_sum = np.log(np.exp(logits[counted]).sum(axis=-1))
        losses.append(np.mean(log_sum - logits[counted, truth[-1]]))
    truth, said = np.concatenate(truth), np.concatenate(said)
    ious = [np.sum((truth == id_) & (said == id_)) / np.sum((truth == id_) | (said == id_)) for id_ in range(CLASSES)]
    assert logs["mean_iou"] == pytest.approx(np.mean(ious))
    assert logs["pixel_accuracy"] == pytest.approx(np.mean(truth == said))
    assert logs["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_one_step_of_gradient_descent_by_hand():
    # One pixel of color 1, weights 0, two classes: p = 1/2 each; label 1: gradients (1/2, -1/2).
    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 1, kernel_initializer="zeros")(pixels))
    trainer = Trainer(model, keras.optimizers.SGD(0.2), CrossEntropy(VOID, 2), 2, VOID)
    _run(trainer, [(tf.ones((1, 1, 1, 3)), tf.ones((1, 1, 1), tf.uint8))], steps_per_epoch=1)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel[0, 0], [[-0.1, 0.1]] * 3, atol=1e-6)
    np.testing.assert_allclose(bias, [-0.1, 0.1], atol=1e-6)


def test_batch_norm_and_dropout_are_in_training_mode():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.BatchNormalization(momentum=0.5, name="bn")(pixels)
    model = keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1)(x))
    images, labels = _batch(0)
    _run(_trainer(model=model), [(images, labels)], steps_per_epoch=1)
    mean = images.numpy().mean(axis=(0, 1, 2))
    np.testing.assert_allclose(model.get_layer("bn").moving_mean, 0.5 * mean, rtol=1e-4)


def test_the_learning_rate_in_the_logs_is_the_schedules():
    schedule = Poly(0.1, 6)
    logs = _run(_trainer(keras.optimizers.SGD(schedule)), [_batch(0)] * 6, steps_per_epoch=2, epochs=3).logs
    assert [log["learning_rate"] for log in logs] == pytest.approx([float(schedule(step)) for step in (2, 4, 6)])


def test_callbacks_are_called_by_keras_names_in_keras_order():
    recorder = _run(_trainer(), [_batch(0)] * 4, steps_per_epoch=2, epochs=2)
    epoch = [
        "epoch_begin {}",
        "batch_begin 0",
        "batch_end 0",
        "batch_begin 1",
        "batch_end 1",
    ]
    assert recorder.calls == [
        "train_begin",
        *(call.format(number) for number in (0, 1) for call in [*epoch, "epoch_end {}"]),
        "train_end",
    ]


def test_callbacks_know_model_epochs_and_steps():
    seen = keras.callbacks.LambdaCallback()
    trainer = _trainer()
    _run(trainer, [_batch(0)] * 6, steps_per_epoch=3, epochs=2, callbacks=[seen])
    assert seen.model is trainer.model
    assert (seen.params["epochs"], seen.params["steps"]) == (2, 3)


def test_batch_logs_hold_the_loss_and_the_epochs_mean_iou_so_far():
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs))
    [epoch] = _run(_trainer(), [_batch(0), _batch(1)], steps_per_epoch=2, callbacks=[watch]).logs
    assert epoch["loss"] == pytest.approx((seen[0]["loss"] + seen[1]["loss"]) / 2)
    assert seen[1]["mean_iou"] == epoch["mean_iou"] != seen[0]["mean_iou"]


def test_keras_early_stopping_ends_the_run():
    losses = iter([3.0, 2.0, 2.5, 2.6, 2.7, 2.8])
    stop = keras.callbacks.EarlyStopping("val_loss", mode="min", patience=2, restore_best_weights=True)
    trainer = _trainer()
    recorder = _run(
        trainer,
        [_batch(seed) for seed in range(6)],
        steps_per_epoch=1,
        epochs=6,
        validate=lambda: {"val_loss": next(losses)},
        callbacks=[stop],
    )
    # 2.0 is the best; two epochs without a better one, and the fourth is the last.
    assert len(recorder.logs) == 4 and trainer.step == 4
    assert recorder.calls[-1] == "train_end"


def test_keras_csv_logger_writes_each_epoch(tmp_path):
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    _run(_trainer(), [_batch(0)] * 3, steps_per_epoch=1, epochs=3, callbacks=[logger])
    header, *lines = (tmp_path / "log.csv").read_text().splitlines()
    assert header.startswith("epoch,learning_rate,loss,mean_iou,pixel_accuracy")
    assert [line.split(",")[0] for line in lines] == ["0", "1", "2"]


def test_keras_learning_rate_scheduler_finds_the_optimizer():
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    logs = _run(
        _trainer(keras.optimizers.SGD(0.4)), [_batch(0)] * 2, steps_per_epoch=1, epochs=2, callbacks=[rates]
    ).logs
    assert [log["learning_rate"] for log in logs] == pytest.approx([0.2, 0.1])


def test_a_callback_that_stops_in_an_epoch_ends_the_run_at_that_step():
    # As Keras' own loop does, so that TerminateOnNaN and time limits work in epochs of hours.
    trainer = _trainer()

    def stop_at_step_2(batch, logs):
        if batch == 1:
            trainer.model.stop_training = True

    _run(
        trainer,
        [_batch(0)] * 10,
        steps_per_epoch=5,
        epochs=2,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop_at_step_2)],
    )
    assert trainer.step == 2


def test_a_run_that_was_stopped_can_run_again():
    trainer = _trainer()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(trainer.model, "stop_training", True)
    )
    _run(trainer, [_batch(0)] * 4, steps_per_epoch=2, epochs=2, callbacks=[stop])
    assert trainer.step == 2
    _run(trainer, [_batch(0)] * 2, steps_per_epoch=2, epochs=2)
    assert trainer.step == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_its_step(value):
    def loss(labels, logits):
        # The poisoned batch has labels of 2 alone.
        poison = tf.where(tf.reduce_all(labels == 2), value, 0.0)
        return tf.reduce_mean(logits**2) + poison

    trainer = _trainer(loss=loss)
    images, labels = _batch(0)
    poisoned = (images, tf.fill(labels.shape, tf.constant(2, tf.uint8)))
    with pytest.raises(NumericError, match=rf"loss={value} at step 3 \(epoch 2\).*Fix: lower the learning rate"):
        _run(trainer, [(images, labels), (images, labels), poisoned], steps_per_epoch=2, epochs=2)
    assert trainer.step == 2


def test_a_run_goes_on_in_the_middle_of_an_epoch():
    trainer = _trainer()
    trainer.progress.step, trainer.progress.epochs_done, trainer.progress.num_steps = 5, 1, 1
    recorder = _run(trainer, [_batch(0)] * 3, steps_per_epoch=4, epochs=2)
    assert recorder.calls[1:] == [
        "epoch_begin 1",
        *(f"batch_{when} {place}" for place in (1, 2, 3) for when in ("begin", "end")),
        "epoch_end 1",
        "train_end",
    ]
    assert trainer.step == 8


def test_a_finished_run_has_nothing_left_to_do():
    trainer = _trainer()
    trainer.progress.step, trainer.progress.epochs_done = 4, 2
    assert _run(trainer, [], steps_per_epoch=2, epochs=2).calls == ["train_begin", "train_end"]


@pytest.mark.parametrize("every, epochs, expected", [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (3, 3, [3]), (10, 4, [4])])
def test_validation_comes_every_so_many_epochs_and_after_the_last(every, epochs, expected):
    recorder = _run(
        _trainer(),
        [_batch(0)] * epochs,
        steps_per_epoch=1,
        epochs=epochs,
        validate=lambda: {"val_loss": 1.0},
        validate_every=every,
    )
    assert [number for number, logs in enumerate(recorder.logs, 1) if "val_loss" in logs] == expected


def test_a_batch_of_void_alone_has_no_score_and_breaks_nothing():
    trainer = _trainer()
    images, labels = _batch(0)
    before = trainer.model.get_weights()
    [logs] = _run(trainer, [(images, tf.fill(labels.shape, tf.constant(VOID, tf.uint8)))], steps_per_epoch=1).logs
    assert logs["loss"] == 0 and np.isnan(logs["mean_iou"]) and np.isnan(logs["pixel_accuracy"])
    for weight, earlier in zip(trainer.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, earlier)


def _with_heads():
    """A shared convolution; the network's own head, one more of the classes and one of edges."""
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="shared")(x)
    heads = {"logits": CLASSES, "auxiliary": CLASSES, "edges": 1}
    return keras.Model(pixels, {name: keras.layers.Conv2D(size, 1, name=name)(x) for name, size in heads.items()})


def _heads(auxiliary=0.4, edges=1.0):
    losses = {"auxiliary": CrossEntropy(VOID, CLASSES), "edges": EdgeCrossEntropy(VOID, CLASSES)}
    return {"auxiliary": HeadLoss(losses["auxiliary"], auxiliary), "edges": HeadLoss(losses["edges"], edges)}


def _trainer_of_heads(optimizer, heads):
    keras.utils.set_random_seed(0)
    return Trainer(_with_heads(), optimizer, CrossEntropy(VOID, CLASSES), CLASSES, VOID, heads=heads)


def test_the_loss_is_the_weighted_sum_and_each_part_is_logged():
    heads = _heads(auxiliary=0.4, edges=2.0)
    trainer = _trainer_of_heads(keras.optimizers.SGD(0.0), heads)
    batches = [_batch(seed) for seed in range(3)]
    [logs] = _run(trainer, batches, steps_per_epoch=3).logs
    parts = {"logits": [], "auxiliary": [], "edges": []}
    for images, labels in batches:
        outputs = trainer.model(images)
        parts["logits"].append(float(CrossEntropy(VOID, CLASSES)(labels, outputs["logits"])))
        for name, head in heads.items():
            parts[name].append(float(head.loss(labels, outputs[name])))
    for name, losses in parts.items():
        assert logs[f"loss_{name}"] == pytest.approx(np.mean(losses), rel=1e-5)
    total = logs["loss_logits"] + 0.4 * logs["loss_auxiliary"] + 2.0 * logs["loss_edges"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


def test_scores_are_those_of_the_networks_own_logits():
    trainer = _trainer_of_heads(keras.optimizers.SGD(0.0), _heads())
    images, labels = _batch(0)
    [logs] = _run(trainer, [(images, labels)], steps_per_epoch=1).logs
    said, counted = trainer.model(images)["logits"].numpy().argmax(-1), labels.numpy() != VOID
    assert logs["pixel_accuracy"] == pytest.approx((said == labels.numpy())[counted].mean())


@pytest.mark.parametrize("pulling", ["auxiliary", "edges"])
def test_a_head_pulls_on_itself_and_on_the_backbone_by_its_weight(pulling):
    # Plain gradient descent: what a head adds to a step is proportional to its weight.
    moved = {}
    for weight in (0.0, 0.5, 1.0):
        weights = {"auxiliary": 0.0, "edges": 0.0, pulling: weight}
        trainer = _trainer_of_heads(keras.optimizers.SGD(0.1), _heads(**weights))
        before = [layer.get_weights()[0] for layer in map(trainer.model.get_layer, ("shared", pulling))]
        _run(trainer, [_batch(0)], steps_per_epoch=1)
        after = [layer.get_weights()[0] for layer in map(trainer.model.get_layer, ("shared", pulling))]
        moved[weight] = [new - old for new, old in zip(after, before, strict=True)]
    assert (moved[0.0][1] == 0).all()
    for none, half, whole in zip(moved[0.0], moved[0.5], moved[1.0], strict=True):
        assert np.abs(whole - none).max() > 1e-5
        np.testing.assert_allclose(half - none, (whole - none) / 2, atol=1e-7)


def test_without_heads_there_is_no_trace_of_them():
    [logs] = _run(_trainer(), [_batch(0)], steps_per_epoch=1).logs
    assert logs.keys() == {"loss", "pixel_accuracy", "mean_iou", "learning_rate"}


def test_a_head_whose_loss_is_no_number_is_named():
    heads = _heads() | {"edges": HeadLoss(lambda labels, logits: tf.reduce_mean(logits) * np.nan, 1.0)}
    with pytest.raises(
        NumericError, match=r"loss=nan, loss_logits=\d.*, loss_auxiliary=\d.*, loss_edges=nan at step 1 \(epoch 1\)"
    ):
        _run(_trainer_of_heads(keras.optimizers.SGD(0.1), heads), [_batch(0)], steps_per_epoch=1)
