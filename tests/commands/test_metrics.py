"""Metrics of a config: reported everywhere, and monitored; and every other reported score can be monitored too."""

import csv
import json

import pytest

import toys
from commands.conftest import TINY, only_run
from segtrain.runs.checkpoint import find_checkpoints

pytestmark = pytest.mark.tensorflow

OWN = """
from segtrain.evaluation import Metric

class Painted(Metric):
    def update(self, labels, predicted, logits):
        self.add(pixels=labels.size, painted=(predicted == 1).sum())

    def result(self):
        return {"fraction": float(self.sums.get("painted", 0)) / max(1, float(self.sums.get("pixels", 0)))}

    def direction(self, name):
        return "min"
"""


def train(segtrain, root, *words):
    return segtrain("train", "dataset=binary", f"dataset.root={root}", *TINY, *words)


def test_a_metric_is_in_every_report_and_can_be_monitored(segtrain, workplace, binary_root):
    (workplace / "my_metrics.py").write_text(OWN)
    result = train(
        segtrain,
        binary_root,
        *("epochs=3", "metrics=[boundary,calibration]", "+metrics.own._target_=my_metrics.Painted"),
        *("trusted_modules=[my_metrics]", "monitor=val_own_fraction", "keep_last=3"),
    )
    assert result.code == 0, result.err
    run = only_run(workplace)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    with (run / "metrics.csv").open(newline="") as file:
        columns = set(next(csv.reader(file)))
    expected = {"val_boundary_iou", "val_boundary_iou/foreground", "val_calibration_ece", "val_own_fraction"}
    assert expected <= columns and all(expected <= record.keys() for record in records)
    assert {"boundary_iou.png", "calibration_ece.png", "own_fraction.png", "iou.png"} <= {
        path.name for path in (run / "plots").iterdir()
    }
    # The lowest fraction is the best; of equal ones the earliest.
    fractions = [record["val_own_fraction"] for record in records]
    best = [each.step for each in find_checkpoints(run / "checkpoints") if each.is_best][-1]
    assert best == records[fractions.index(min(fractions))]["step"]
    assert f"best val_own_fraction: {min(fractions):.4f}" in result.out
    assert segtrain("eval", "overlays=0", "trusted_modules=[my_metrics]").code == 0
    scores = json.loads((only_run(workplace, "eval") / "scores.json").read_text())
    record = next(each for each in records if each["step"] == scores["step"])
    assert scores["metrics"]["own"]["fraction"] == record["val_own_fraction"]
    assert scores["metrics"]["boundary"]["iou/foreground"] == record["val_boundary_iou/foreground"]


def test_eval_takes_metrics_that_the_run_did_not_have(segtrain, workplace, binary_root):
    assert train(segtrain, binary_root, "epochs=1").code == 0
    result = segtrain("eval", "overlays=0", "metrics=calibration")
    assert result.code == 0, result.err
    scores = json.loads((only_run(workplace, "eval") / "scores.json").read_text())
    assert 0 <= scores["metrics"]["calibration"]["ece"] <= 1
    assert "calibration" in result.out


@pytest.mark.parametrize(
    ("monitor", "pick"),
    [
        ("val_iou/foreground", max),
        pytest.param("val_loss", min, marks=pytest.mark.slow),
        pytest.param("loss", min, marks=pytest.mark.slow),
    ],
)
def test_any_reported_score_selects_the_best_checkpoint(segtrain, workplace, binary_root, monitor, pick):
    result = train(segtrain, binary_root, "epochs=3", f"monitor={monitor}", "keep_last=3")
    assert result.code == 0, result.err
    run = only_run(workplace)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    values = [record[monitor] for record in records]
    best = [each.step for each in find_checkpoints(run / "checkpoints") if each.is_best][-1]
    assert best == records[values.index(pick(values))]["step"]


@pytest.mark.parametrize(
    ("monitor", "near"),
    [("val_mean_iuo", "val_mean_iou"), ("val_iou/foregruond", "val_iou/foreground"), ("val_edges_f1", "val_mean_iou")],
)
def test_a_score_that_nothing_reports_is_refused_before_the_first_step(segtrain, workplace, binary_root, monitor, near):
    result = train(segtrain, binary_root, f"monitor={monitor}")
    assert result.code == 2
    [line] = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert f"monitor={monitor}" in line and near in line
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["metrics=bondary"], ["bondary", "boundary"]),
        (["metrics=boundary", "metrics.boundary.width=0"], ["metrics.boundary.width=0", "0.0001"]),
        (["+metrics.x._target_=segtrain.training.Poly"], ["metrics.x.learning_rate"]),
        (["+metrics.x._target_=keras.losses.Dice"], ["metrics.x", "segtrain.evaluation.Metric"]),
        (["+metrics.a-b._target_=segtrain.evaluation.Boundary"], ["metrics.a-b"]),
        (["metrics=boundary", "+metrics.boundary.wdith=1"], ["metrics.boundary.wdith", "width"]),
    ],
    ids=["option", "range", "arguments", "kind", "name", "argument"],
)
def test_a_metric_that_cannot_be_built_names_its_key(segtrain, workplace, binary_root, words, parts):
    result = train(segtrain, binary_root, *words)
    assert result.code == 2 and "Traceback" not in result.err
    assert all(part in result.err for part in parts), result.err
    assert not (workplace / "runs").exists()


BROKEN = """
from segtrain.evaluation import Metric

class Raises(Metric):
    def update(self, labels, predicted, logits):
        raise RuntimeError("not today")

    def result(self):
        return {"x": 0.0}

class Changes(Metric):
    def update(self, labels, predicted, logits):
        self.add(n=1)

    def result(self):
        return {f"seen_{float(self.sums.get('n', 0)):g}": 0.0}
"""


@pytest.mark.parametrize(("name", "part"), [("Raises", "not today"), ("Changes", "seen_1")])
def test_a_metric_of_the_user_is_tried_before_the_first_step(segtrain, workplace, binary_root, name, part):
    (workplace / "my_broken_metrics.py").write_text(BROKEN)
    words = (f"+metrics.own._target_=my_broken_metrics.{name}", "trusted_modules=[my_broken_metrics]")
    result = train(segtrain, binary_root, *words)
    assert result.code == 2
    assert "metrics.own" in result.err and part in result.err and "Traceback" not in result.err


def test_a_resumed_run_takes_other_metrics_and_stays_exact(segtrain, workplace, tmp_path):
    root = toys.draw_binary(tmp_path)
    assert train(segtrain, root, "epochs=1").code == 0
    run = only_run(workplace)
    result = segtrain("train", f"resume={run}", "epochs=2", "metrics=calibration")
    assert result.code == 0, result.err
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert "val_calibration_ece" in records[1] and "val_calibration_ece" not in records[0]
    assert "metrics" not in result.err
