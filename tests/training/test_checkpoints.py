"""When checkpoints are saved during a run, which one is the best, and what is saved after an error."""

import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from segtrain.errors import ConfigError, DataError, NumericError, ResourceError, Stopped
from segtrain.losses import CrossEntropy
from segtrain.runs.checkpoint import find_checkpoints, pick_checkpoint
from segtrain.training.checkpoints import Checkpoints
from segtrain.training.reports import MetricsLog
from segtrain.training.rescue import saving_on_error
from segtrain.training.trainer import Trainer
from training.callback_runs import run_steps, small_network

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture
def trainer(network):
    return Trainer(network, keras.optimizers.SGD(0.01, name="sgd"), CrossEntropy(255, 2), 2, 255)


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
    run_steps(trainer, [callback], epochs=2, steps_per_epoch=2, validate=lambda: {"val_mean_iou": 0.5})
    last = pick_checkpoint(tmp_path, "last")
    assert last.step == 4
    assert last.metadata["monitor"] == "val_mean_iou" and last.metadata["best"] == 0.5
    assert [record["epoch"] for record in last.metadata["progress"]["history"]] == [1, 2]
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


# After an error ----------------------------------------------------------------------------------------------


def _rescued(trainer, tmp_path, error, *, at=4, **options):
    """Run until a callback raises after step `at`, and return the message that ends the training."""
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    checkpoints = Checkpoints(run / "checkpoints", trainer, "val_mean_iou", **options)

    def fail(batch, logs):
        if trainer.step == at:
            raise error

    with pytest.raises(type(error)) as caught, saving_on_error(checkpoints, run):
        run_steps(trainer, [checkpoints, keras.callbacks.LambdaCallback(on_train_batch_end=fail)], epochs=3)
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
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", trainer, "val_mean_iou", metadata={"exact_until": None})
    checkpoints.set_params({"steps": 3})
    checkpoints.on_train_begin()
    trainer.progress.step, trainer.in_step = 2, True
    checkpoints.rescue()
    assert pick_checkpoint(tmp_path / "run" / "checkpoints", "last").metadata["exact_until"] == 2


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
        run_steps(trainer, [metrics, checkpoints, remove])
    assert not run.exists()
