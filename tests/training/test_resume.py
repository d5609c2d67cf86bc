"""A training that goes on from any of its checkpoints ends as if it had never stopped: weights, scores and order."""

import itertools
import math
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import NumericError, Stopped
from segtrain.losses import CrossEntropy
from segtrain.models.layers import BatchNormalization
from segtrain.runs.checkpoint import find_checkpoints, newest_intact
from segtrain.training import Poly
from segtrain.training.checkpoints import Checkpoints
from segtrain.training.precise_norm import PreciseNorm
from segtrain.training.reports import MetricsLog
from segtrain.training.signals import SignalFlags, watch_signals
from segtrain.training.state import restore, snapshot
from segtrain.training.step_options import StepOptions
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow

CLASSES, STEPS_PER_EPOCH, EPOCHS = 3, 5, 4


def make_trainer(seed):
    """Everything that a step can leave behind, or that it may depend on."""
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(pixels)
    x = BatchNormalization(momentum=0.9, name="bn")(x)
    x = keras.layers.Dropout(0.3)(keras.layers.ReLU()(x))
    model = keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1, name="classifier")(x))
    schedule = Poly(0.01, STEPS_PER_EPOCH * EPOCHS, warmup_steps=2)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.01, name="adamw")
    recipe = StepOptions(
        ema_decay=0.9,
        gradient_accumulation_steps=2,
        clip_norm=0.5,
        factors={"conv/kernel": 0.1},
        freeze_backbone_epochs=2,
        backbone=["conv", "bn"],
    )
    return Trainer(model, optimizer, CrossEntropy(255, CLASSES), CLASSES, 255, options=recipe)


def batches(first):
    for step in range(first, STEPS_PER_EPOCH * EPOCHS):
        images = np.random.default_rng(step).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)
        yield tf.constant(images), tf.constant(images[..., 0] // 86)


def run(trainer, callbacks, validate=None):
    images = next(batches(0))[0]
    precise_bn_batches = PreciseNorm(trainer.scored_model)

    def score():
        precise_bn_batches.measure(itertools.islice(batches(trainer.step - 2), 2))
        logits = trainer.scored_model(images, training=False)
        return {"val_mean_iou": float(tf.reduce_mean(tf.sin(logits)))}

    trainer.run(
        batches(trainer.step),
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        validate=validate or score,
        validate_every=1,
        callbacks=callbacks,
    )


def go_on(trainer, checkpoint):
    restore(trainer.model, trainer.optimizer, checkpoint.arrays(), trainer.averages)
    trainer.progress.restore(checkpoint.step, checkpoint.arrays(), checkpoint.metadata["progress"])


def state_of(trainer):
    arrays = snapshot(trainer.model, trainer.optimizer, trainer.averages)
    return {name: array.tobytes() for name, array in arrays.items()}, trainer.progress.history


def test_going_on_from_every_step_ends_in_the_same_bits(tmp_path):
    whole = make_trainer(seed=0)
    folder, metrics = tmp_path / "checkpoints", tmp_path / "metrics.jsonl"
    every_step = Checkpoints(folder, whole, "val_mean_iou", keep_last=99, minutes=0)
    run(whole, [MetricsLog(metrics, whole), every_step])
    expected, lines = state_of(whole), metrics.read_bytes()
    found = find_checkpoints(folder)
    # One after each of 20 steps, and one more after each of 4 validations.
    assert [checkpoint.step for checkpoint in found] == sorted([*range(1, 21), 5, 10, 15, 20])
    other = make_trainer(seed=1)
    for checkpoint in found:
        go_on(other, checkpoint)
        metrics.write_bytes(lines)  # as if killed after its end
        run(other, [MetricsLog(metrics, other)])
        assert state_of(other) == expected, checkpoint.path
        assert metrics.read_bytes() == lines, checkpoint.path


def test_a_state_that_is_restored_and_saved_again_is_the_same_file(tmp_path):
    trainer = make_trainer(seed=0)
    run(trainer, [Checkpoints(tmp_path / "first", trainer, "val_mean_iou")])
    checkpoint, _ = newest_intact(tmp_path / "first")
    other = make_trainer(seed=1)
    go_on(other, checkpoint)
    again = Checkpoints(tmp_path / "second", other, "val_mean_iou")
    again.set_params({"steps": STEPS_PER_EPOCH})
    again.save(wait=True)
    one, two = (
        folder / checkpoint.path.name / "state.safetensors" for folder in (tmp_path / "first", tmp_path / "second")
    )
    assert one.read_bytes() == two.read_bytes()


def stopping_at(step, trainer, signals):
    """A callback that does what a signal would, in step `step`."""

    def stop(batch, logs):
        if trainer.step == step:
            signals.stop = signal.SIGTERM

    return keras.callbacks.LambdaCallback(on_train_batch_end=stop)


def test_a_wish_to_stop_saves_the_very_step_and_tells_how_to_go_on(tmp_path):
    trainer, signals = make_trainer(seed=0), SignalFlags()
    (tmp_path / "run").mkdir()
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", trainer, "val_mean_iou", signals=signals)
    with pytest.raises(Stopped, match=rf"stopped by SIGTERM at step 7, .* resume={tmp_path / 'run'}$") as caught:
        run(trainer, [stopping_at(7, trainer, signals), checkpoints])
    assert caught.value.exit_code == 143
    assert newest_intact(tmp_path / "run" / "checkpoints")[0].step == 7


def test_a_stop_in_a_validation_goes_on_with_that_validation(tmp_path):
    whole = make_trainer(seed=0)
    run(whole, [])
    trainer, signals = make_trainer(seed=0), SignalFlags()
    checkpoints = Checkpoints(tmp_path, trainer, "val_mean_iou", signals=signals)

    def validate():
        signals.stop = signal.SIGTERM
        checkpoints.poll()

    with pytest.raises(Stopped):
        run(trainer, [checkpoints], validate)
    checkpoint, _ = newest_intact(tmp_path)
    assert checkpoint.path.name == "step-00000005-unvalidated" and checkpoint.metadata["progress"]["epochs_done"] == 0
    other = make_trainer(seed=1)
    go_on(other, checkpoint)
    run(other, [])
    assert state_of(other) == state_of(whole)


def test_a_wish_to_save_saves_and_goes_on(tmp_path):
    trainer, signals = make_trainer(seed=0), SignalFlags()
    wish = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(signals, "save", trainer.step == 3)
    )
    checkpoints = Checkpoints(tmp_path, trainer, "val_mean_iou", signals=signals, keep_last=99)
    run(trainer, [wish, checkpoints])
    assert [found.step for found in find_checkpoints(tmp_path)] == [3, 5, 10, 15, 20]


class Together:
    """Two processes; this one gets its signals while it waits for what the other wants."""

    num_processes = 2

    def __init__(self, signals, others):
        self._signals, self._others = signals, others

    def total(self, own):
        self._signals.stop, self._signals.save = signal.SIGTERM, True
        return own + np.array(self._others)


def test_a_signal_while_processes_agree_counts_the_next_time():
    # Else this process would end while the other waits for it in the next step.
    signals = SignalFlags()
    together = Together(signals, others=[0, 0])
    assert signals.agree(together) == (False, False)
    assert signals.agree(together) == (True, True)


def test_a_signal_to_another_process_stops_this_one():
    signals = SignalFlags()

    class Other:
        num_processes = 2

        def total(self, own):
            return own + np.array([1, 0])

    assert signals.agree(Other()) == (True, False)
    assert signals.stopped("").exit_code == 143


def test_a_closed_terminal_does_not_stop_what_nohup_has_started():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watch_signals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.stop is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_state_that_is_no_number_is_never_written(tmp_path):
    trainer = make_trainer(seed=0)
    checkpoints = Checkpoints(tmp_path, trainer, "val_mean_iou", keep_last=99)
    poison = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (
            trainer.model.get_layer("bn").moving_mean.assign([1.0, math.inf, 0.0, 0.0]) if epoch == 1 else None
        )
    )
    with pytest.raises(NumericError, match=r"model/bn/moving_mean: 1 of 4 numbers are NaN or infinite"):
        run(trainer, [poison, checkpoints], validate=dict)
    assert [found.step for found in find_checkpoints(tmp_path)] == [5]


@pytest.fixture
def default_signals():
    """Signals as in a terminal, whatever ignores them for this process: nohup SIGHUP, a shell's `&` SIGINT."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    handlers |= dict.fromkeys((signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1), signal.SIG_DFL)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_become_wishes_and_are_themselves_again_afterwards(default_signals):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    for number, stop in (
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGHUP),
        (signal.SIGINT, signal.SIGINT),
    ):
        with watch_signals() as signals:
            signal.raise_signal(number)
            assert signals.stop is stop and signals.stopped("").exit_code == 128 + number
    with watch_signals() as signals:
        signal.raise_signal(signal.SIGUSR1)
        assert signals.save and signals.stop is None
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # the second one does not wait
    assert {number: signal.getsignal(number) for number in before} == before
