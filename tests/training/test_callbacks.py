"""What surrounds the steps: logs, TensorBoard, checkpoints, curves, the bar."""

import csv
import io
import json
import math
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError, DataError, NumericError, ResourceError, Stopped
from segtrain.losses import CrossEntropy
from segtrain.runs.checkpoint import find_checkpoints, pick_checkpoint
from segtrain.training.callbacks import Checkpoints, Curves, MetricsLog, ProgressBar
from segtrain.training.rescue import saving_on_error
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def network():
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, keras.layers.Conv2D(2, 1, name="classifier")(pixels))


@pytest.fixture
def trainer(network):
    return Trainer(network, keras.optimizers.SGD(0.01, name="sgd"), CrossEntropy(255, 2), 2, 255)


def _run(trainer, callbacks, *, epochs=2, steps_per_epoch=3, validate=dict):
    batch = tf.ones((2, 4, 4, 3)), tf.ones((2, 4, 4), tf.uint8)
    trainer.run(
        [batch] * (epochs * steps_per_epoch - trainer.step),
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        validate=validate,
        validate_every=1,
        callbacks=callbacks,
    )


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_there_is_one_line_an_epoch_with_its_step_and_scores(trainer, tmp_path):
    path = tmp_path / "metrics.jsonl"
    _run(trainer, [MetricsLog(path, trainer)], epochs=3, validate=lambda: {"val_loss": 0.25})
    lines = _lines(path)
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 3), (2, 6), (3, 9)]
    for line in lines:
        assert line.keys() == {
            *("epoch", "step"),
            *("loss", "pixel_accuracy", "mean_iou", "learning_rate", "val_loss"),
        }
        assert line["val_loss"] == 0.25


def test_a_score_that_is_no_number_is_null(trainer, tmp_path):
    path = tmp_path / "metrics.jsonl"
    _run(trainer, [MetricsLog(path, trainer)], epochs=1, validate=lambda: {"a": math.nan, "b": -math.inf, "c": 0.5})
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert {name: _lines(path)[0][name] for name in "abc"} == {"a": None, "b": None, "c": 0.5}


def test_a_resumed_run_has_the_lines_of_its_history_and_no_other(trainer, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.with_suffix(".csv").write_text("epoch,loss\n1,98\n2,99\n")
    # Of epochs that come again, and one that a kill has cut.
    path.write_text('{"epoch": 1, "step": 3, "loss": 98}\n{"epoch": 2, "step": 6, "loss": 99}\n{"epoch": 3, "st')
    trainer.progress.history = [{"epoch": 1, "step": 3, "loss": 98}]
    trainer.progress.step, trainer.progress.epochs_done = 3, 1
    _run(trainer, [MetricsLog(path, trainer)], epochs=3)
    assert [(line["epoch"], line["step"], line["loss"] >= 98) for line in _lines(path)] == [
        (1, 3, True),
        (2, 6, False),
        (3, 9, False),
    ]
    assert [line.split(",")[0] for line in path.with_suffix(".csv").read_text().splitlines()] == ["epoch", *"123"]


def test_the_log_says_each_epochs_scores(trainer, tmp_path, caplog):
    caplog.set_level("INFO", "segtrain")
    metrics = MetricsLog(tmp_path / "metrics.jsonl", trainer)
    _run(trainer, [metrics], epochs=2, validate=lambda: {"val_loss": 0.25, "val_mean_iou": 0.75})
    assert [record.getMessage()[:9] for record in caplog.records] == ["epoch 1/2", "epoch 2/2"]
    assert "val_loss 0.2500, val_mean_iou 0.7500" in caplog.text


def test_the_table_holds_the_lines_with_a_column_for_every_score(trainer, tmp_path):
    scores = iter([{"val_loss": 0.25}, {"val_loss": math.nan, "val_mean_iou": 0.5}])
    _run(trainer, [MetricsLog(tmp_path / "metrics.jsonl", trainer)], epochs=2, validate=lambda: next(scores))
    lines = _lines(tmp_path / "metrics.jsonl")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("epoch", "step", "loss", "pixel_accuracy", "mean_iou", "learning_rate", "val_loss", "val_mean_iou")
    ]
    assert [row["val_loss"] for row in rows] == ["0.25", ""]
    assert [row["val_mean_iou"] for row in rows] == ["", "0.5"]
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [(line["step"], line["loss"]) for line in lines]


def _end_epochs(callback, trainer, values):
    """End epochs of one step each with these scores."""
    callback.set_params({"steps": 1})
    for value in values:
        logs = {"loss": 1.0, **({} if value is None else {"val_mean_iou": value})}
        trainer.progress.step += 1
        trainer.progress.end_epoch(logs)
        callback.on_epoch_end(trainer.step - 1, logs)
    callback.wait()


@pytest.mark.parametrize(
    "values, best_step, best",
    [
        ([0.1, 0.3, 0.2], 2, 0.3),
        ([0.3, 0.3, 0.3], 1, 0.3),  # the earlier of two equal ones stays
        ([math.nan, 0.2, math.nan], 2, 0.2),
        ([0.0, math.nan], 1, 0.0),
        ([0.2, math.inf, 0.1], 1, 0.2),
        ([0.2, None, 0.3, None], 3, 0.3),  # epochs without validation
        ([math.nan, math.nan], 2, None),  # the last stands for the best
    ],
)
def test_the_best_is_the_highest_number(trainer, tmp_path, values, best_step, best):
    callback = Checkpoints(tmp_path, trainer, "val_mean_iou")
    _end_epochs(callback, trainer, values)
    assert callback.best == best
    assert pick_checkpoint(tmp_path, "best").step == best_step
    assert pick_checkpoint(tmp_path, "last").step == len(values)
    assert {found.step for found in find_checkpoints(tmp_path)} == {best_step, len(values)}


def test_a_checkpoint_holds_the_weights_of_its_step(trainer, tmp_path):
    callback = Checkpoints(tmp_path, trainer, "val_mean_iou")
    _run(trainer, [callback], epochs=2, steps_per_epoch=2, validate=lambda: {"val_mean_iou": 0.5})
    last = pick_checkpoint(tmp_path, "last")
    assert last.step == 4
    assert last.facts["monitor"] == "val_mean_iou" and last.facts["best"] == 0.5
    assert [record["epoch"] for record in last.facts["progress"]["history"]] == [1, 2]
    np.testing.assert_array_equal(last.arrays()["model/classifier/kernel"], trainer.model.get_weights()[0])
    assert last.arrays()["optimizer/iteration"] == 4


def test_a_resumed_run_remembers_the_best(trainer, tmp_path):
    _end_epochs(Checkpoints(tmp_path, trainer, "val_mean_iou"), trainer, [0.6, 0.5])
    resumed = Checkpoints(tmp_path, trainer, "val_mean_iou")
    assert resumed.best == 0.6
    _end_epochs(resumed, trainer, [0.55])
    assert pick_checkpoint(tmp_path, "best").step == 1
    _end_epochs(resumed, trainer, [0.61])
    assert pick_checkpoint(tmp_path, "best").step == 4


def test_a_checkpoint_after_a_stop_leaves_the_best_alone(trainer, tmp_path):
    callback = Checkpoints(tmp_path, trainer, "val_mean_iou")
    _end_epochs(callback, trainer, [0.6])
    trainer.progress.step += 1
    callback.save(wait=True)
    assert pick_checkpoint(tmp_path, "best").step == 1
    assert pick_checkpoint(tmp_path, "last").step == 2


def test_a_stop_right_after_the_best_epoch_leaves_it_the_best(trainer, tmp_path):
    # Ctrl-C before the next step writes the same step again.
    callback = Checkpoints(tmp_path, trainer, "val_mean_iou")
    _end_epochs(callback, trainer, [0.5, 0.6])
    callback.save(wait=True)
    _end_epochs(Checkpoints(tmp_path, trainer, "val_mean_iou"), trainer, [0.55])
    assert pick_checkpoint(tmp_path, "best").step == 2


def test_an_unknown_monitor_is_refused_with_the_known_ones(trainer, tmp_path):
    callback = Checkpoints(tmp_path, trainer, "val_miou")
    with pytest.raises(ConfigError, match="monitor=val_miou: .* loss, val_loss, val_mean_iou"):
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0, "val_mean_iou": 0.5})


def test_a_run_leaves_its_curves(trainer, tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    _run(trainer, [MetricsLog(metrics, trainer), Curves(metrics, tmp_path / "plots")])
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == [
        "learning_rate",
        "loss",
        "mean_iou",
        "pixel_accuracy",
    ]
    for path in (tmp_path / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_quick_epochs_are_drawn_once_and_again_at_the_end(trainer, tmp_path):
    metrics, loss = tmp_path / "metrics.jsonl", tmp_path / "plots" / "loss.png"
    drawn = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: drawn.append(loss.read_bytes()))
    _run(trainer, [MetricsLog(metrics, trainer), Curves(metrics, tmp_path / "plots"), watch], epochs=4)
    assert len(set(drawn)) == 1
    assert loss.read_bytes() != drawn[0]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _shown(trainer, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    _run(trainer, [ProgressBar(trainer, batch_size=2, total_steps=6)])
    return stream.getvalue()


def test_the_bar_shows_epoch_loss_mean_iou_speed_and_time_left(trainer, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    last = _shown(trainer, monkeypatch, Terminal()).split("\r")[-1]
    assert last.startswith("epoch 2/2: 100%")
    assert "6/6 [" in last and "<00:00" in last
    for word in ("loss ", "mIoU ", "images/s"):
        assert word in last


def test_the_bar_of_a_resumed_run_begins_where_it_stopped(trainer, monkeypatch):
    trainer.progress.step, trainer.progress.epochs_done = 3, 1
    first = _shown(trainer, monkeypatch, Terminal()).split("\r")[1]
    assert " 3/6 [" in first


def test_there_is_no_bar_in_a_file(trainer, monkeypatch):
    assert _shown(trainer, monkeypatch, io.StringIO()) == ""


# Errors that end a training -----------------------------------------------------------------------------------


def _rescued(trainer, tmp_path, error, *, at=4, **options):
    """Run until a callback raises after step `at`, and return the message that ends the training."""
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    checkpoints = Checkpoints(run / "checkpoints", trainer, "val_mean_iou", **options)

    def fail(batch, logs):
        if trainer.step == at:
            raise error

    with pytest.raises(type(error)) as caught, saving_on_error(checkpoints, run):
        _run(trainer, [checkpoints, keras.callbacks.LambdaCallback(on_train_batch_end=fail)], epochs=3)
    return caught.value


def test_an_error_saves_the_last_finished_step_and_says_how_to_resume(trainer, tmp_path):
    message = str(_rescued(trainer, tmp_path, DataError("cannot decode a.png. Fix: remove it")))
    run = tmp_path / "run"
    assert pick_checkpoint(run / "checkpoints", "last").step == 4
    assert message == (
        f"cannot decode a.png. Fix: remove it; the state at step 4 is saved; resume with: segtrain train resume={run}"
    )


def test_an_error_of_a_users_callback_keeps_its_kind_and_its_trace(trainer, tmp_path):
    error = _rescued(trainer, tmp_path, ZeroDivisionError("of mine"))
    assert pick_checkpoint(tmp_path / "run" / "checkpoints", "last").step == 4
    assert "step 4 is saved" in error.__notes__[0]


@pytest.mark.parametrize("error", [NumericError("loss=nan"), Stopped("by a signal", 143)])
def test_neither_numbers_that_are_none_nor_a_state_that_is_saved_are_saved_again(trainer, tmp_path, error):
    _rescued(trainer, tmp_path, error)
    assert [found.step for found in find_checkpoints(tmp_path / "run" / "checkpoints")] == [3]  # of the epoch


def test_an_error_before_the_first_step_leaves_nothing(trainer, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", trainer, "val_mean_iou")
    with pytest.raises(DataError, match=r"^bad$"), saving_on_error(checkpoints, tmp_path):
        checkpoints.on_train_begin()
        raise DataError("bad")
    assert list(tmp_path.iterdir()) == []


def test_the_best_epoch_stays_the_best_when_an_error_follows_its_end(trainer, tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", trainer, "val_mean_iou")
    checkpoints.set_params({"steps": 1})
    (tmp_path / "run").mkdir()
    checkpoints.on_train_begin()
    trainer.progress.step += 1
    trainer.progress.end_epoch({"val_mean_iou": 0.5})
    assert checkpoints.rescue() == tmp_path / "run" / "checkpoints"
    assert pick_checkpoint(tmp_path / "run" / "checkpoints", "best").is_best


def test_a_state_that_an_unfinished_step_may_have_changed_is_not_called_exact(trainer, tmp_path):
    (tmp_path / "run").mkdir()
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", trainer, "val_mean_iou", facts={"exact_until": None})
    checkpoints.set_params({"steps": 3})
    checkpoints.on_train_begin()
    trainer.progress.step, trainer.in_step = 2, True
    checkpoints.rescue()
    assert pick_checkpoint(tmp_path / "run" / "checkpoints", "last").facts["exact_until"] == 2


def test_a_full_disk_takes_the_last_step_from_its_reserve_or_to_another_disk(trainer, tmp_path, monkeypatch):
    run = tmp_path / "run"
    free = {run: 10_000, tmp_path / "elsewhere": 10**9}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(
        "segtrain.runs.disk.Disk.free_bytes",
        lambda disk, path: next(size for folder, size in free.items() if path == folder or folder in path.parents),
    )
    error = ResourceError("cannot write x: No space left on device")
    assert "step 1 is saved; resume" in str(_rescued(trainer, tmp_path, error, at=1))
    free[run] = 10
    trainer.progress.step = 1
    message = str(_rescued(trainer, tmp_path, error, at=2))
    move = message.partition("resume with: ")[2].partition(" && ")[0].split()
    assert move[0] == "mv" and move[2] == str(run / "checkpoints")
    assert find_checkpoints(Path(move[1]).parent)[0].step == 2
    assert [found.step for found in find_checkpoints(run / "checkpoints")] == [1]


def test_a_run_folder_that_was_removed_is_named_and_not_made_again(trainer, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    checkpoints = Checkpoints(run / "checkpoints", trainer, "val_mean_iou")
    remove = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: shutil.rmtree(run, True))
    metrics = MetricsLog(run / "metrics.jsonl", trainer)
    with pytest.raises(ResourceError, match=rf"^{run} was removed while "), saving_on_error(checkpoints, run):
        _run(trainer, [metrics, checkpoints, remove])
    assert not run.exists()
