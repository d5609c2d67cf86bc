"""The reports of a run: metrics files, log lines and curves."""

import csv
import json
import math

import keras
import pytest

from segtrain.losses import CrossEntropy
from segtrain.training.reports import Curves, MetricsLog
from segtrain.training.trainer import Trainer
from training.callback_runs import run_steps, small_network

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture
def trainer(network):
    return Trainer(network, keras.optimizers.SGD(0.01, name="sgd"), CrossEntropy(255, 2), 2, 255)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_there_is_one_line_an_epoch_with_its_step_and_scores(trainer, tmp_path):
    path = tmp_path / "metrics.jsonl"
    run_steps(trainer, [MetricsLog(path, trainer)], epochs=3, validate=lambda: {"val_loss": 0.25})
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
    run_steps(
        trainer, [MetricsLog(path, trainer)], epochs=1, validate=lambda: {"a": math.nan, "b": -math.inf, "c": 0.5}
    )
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert {name: _lines(path)[0][name] for name in "abc"} == {"a": None, "b": None, "c": 0.5}


def test_a_resumed_run_has_the_lines_of_its_history_and_no_other(trainer, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.with_suffix(".csv").write_text("epoch,loss\n1,98\n2,99\n")
    # Of epochs that come again, and one that a kill has cut.
    path.write_text('{"epoch": 1, "step": 3, "loss": 98}\n{"epoch": 2, "step": 6, "loss": 99}\n{"epoch": 3, "st')
    trainer.progress.history = [{"epoch": 1, "step": 3, "loss": 98}]
    trainer.progress.step, trainer.progress.epochs_done = 3, 1
    run_steps(trainer, [MetricsLog(path, trainer)], epochs=3)
    assert [(line["epoch"], line["step"], line["loss"] >= 98) for line in _lines(path)] == [
        (1, 3, True),
        (2, 6, False),
        (3, 9, False),
    ]
    assert [line.split(",")[0] for line in path.with_suffix(".csv").read_text().splitlines()] == ["epoch", *"123"]


def test_the_log_says_each_epochs_scores(trainer, tmp_path, caplog):
    caplog.set_level("INFO", "segtrain")
    metrics = MetricsLog(tmp_path / "metrics.jsonl", trainer)
    run_steps(trainer, [metrics], epochs=2, validate=lambda: {"val_loss": 0.25, "val_mean_iou": 0.75})
    assert [record.getMessage()[:9] for record in caplog.records] == ["epoch 1/2", "epoch 2/2"]
    assert "val_loss 0.2500, val_mean_iou 0.7500" in caplog.text


def test_the_table_holds_the_lines_with_a_column_for_every_score(trainer, tmp_path):
    scores = iter([{"val_loss": 0.25}, {"val_loss": math.nan, "val_mean_iou": 0.5}])
    run_steps(trainer, [MetricsLog(tmp_path / "metrics.jsonl", trainer)], epochs=2, validate=lambda: next(scores))
    lines = _lines(tmp_path / "metrics.jsonl")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("epoch", "step", "loss", "pixel_accuracy", "mean_iou", "learning_rate", "val_loss", "val_mean_iou")
    ]
    assert [row["val_loss"] for row in rows] == ["0.25", ""]
    assert [row["val_mean_iou"] for row in rows] == ["", "0.5"]
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [(line["step"], line["loss"]) for line in lines]


def test_a_run_leaves_its_curves(trainer, tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    run_steps(trainer, [MetricsLog(metrics, trainer), Curves(metrics, tmp_path / "plots")])
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
    run_steps(trainer, [MetricsLog(metrics, trainer), Curves(metrics, tmp_path / "plots"), watch], epochs=4)
    assert len(set(drawn)) == 1
    assert loss.read_bytes() != drawn[0]
