"""More than one head on one backbone, from the command line: one run, one report."""

import json
from pathlib import Path

import pytest
import yaml

from commands.conftest import TINY, only_run

pytestmark = pytest.mark.tensorflow

SMALL = (*TINY, "heads=[auxiliary,edges]", "heads.auxiliary.weight=0.2", "heads.edges.head.channels=4")
EDGE_SCORES = {"precision", "recall", "f1"}


def lines_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_two_heads_train_along_are_reported_and_go_on(segtrain, workplace, cihp_root):
    # In less memory, too: that must not lose a head.
    words = ("+experiment=cihp", f"dataset.root={cihp_root}", *SMALL, "epochs=1", "activation_checkpointing=true")
    trained = segtrain("train", *words)
    assert trained.code == 0, trained.err
    run = only_run(workplace)
    stored = yaml.safe_load((run / "config.yaml").read_text())["heads"]
    assert {name: head["weight"] for name, head in stored.items()} == {"auxiliary": 0.2, "edges": 1.0}

    [record] = lines_of(run)
    total = record["loss_logits"] + 0.2 * record["loss_auxiliary"] + 1.0 * record["loss_edges"]
    assert record["loss"] == pytest.approx(total, rel=1e-5)
    assert {name for name in record if name.startswith("val_edges_")} == {f"val_edges_{score}" for score in EDGE_SCORES}
    assert not any(name.startswith("val_auxiliary") for name in record)
    assert f"loss_edges {record['loss_edges']:.4f}" in (run / "train.log").read_text()
    assert f"val_edges_f1 {record['val_edges_f1']:.4f}" in (run / "train.log").read_text()

    evaluated = segtrain("eval", "overlays=0", "save_predictions=false")
    assert evaluated.code == 0, evaluated.err
    scores = json.loads((only_run(workplace, "eval") / "scores.json").read_text())
    # The heads of the run's own config, on the same pixels as in its validation; the auxiliary one has no scores.
    assert scores["heads"] == {"edges": {name: pytest.approx(record[f"val_edges_{name}"]) for name in EDGE_SCORES}}
    assert scores["loss"] == pytest.approx(record["val_loss"])
    shown = [line for line in evaluated.out.splitlines() if "edges" in line and "f1" in line]
    assert len(shown) == 1 and f"{record['val_edges_f1']:.4f}" in shown[0]

    resumed = segtrain("train", f"resume={run}", "epochs=2")
    assert resumed.code == 0, resumed.err
    assert [line["epoch"] for line in lines_of(run)] == [1, 2]
    assert lines_of(run)[0] == record and lines_of(run)[1].keys() == record.keys()


def test_summary_lists_each_head(segtrain):
    result = segtrain("summary", "dataset=cihp", *SMALL, "image_size=[64,96]")
    assert result.code == 0, result.err
    for shape, name in (("(64, 96, 20)", "logits"), ("(64, 96, 20)", "auxiliary"), ("(64, 96, 1)", "edges")):
        assert any(shape in line and name in line for line in result.out.splitlines())


MINE = "+heads.mine={head: {_target_: segtrain.models.auxiliary}, weight: 1.0}"
LOGITS = "+heads.logits={head: {_target_: segtrain.models.auxiliary}}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["heads.edges.weight=-1"], "heads.edges.weight=-1: expected a number from 0 up. Fix: heads.edges.weight=1.0"),
        (["heads.edges.weight=much"], "heads.edges.weight=much: expected a number from 0 up"),
        (["heads.edges.loss=null"], "heads.edges.loss is not given. Fix: ++heads.edges.loss=..."),
        ([MINE], "heads.mine.loss is not given"),
        (["+heads.edges.wieght=2"], "heads.edges has no key 'wieght'; did you mean weight?"),
        (["+heads.edges.color=2"], "heads.edges has no key 'color'. Fix: remove it"),
        ([LOGITS], "heads.logits: no name for a head, expected letters other than logits"),
        (
            ["+heads.mine=3"],
            "heads.mine=3: expected head, loss and weight. Fix: write it like configs/heads/edges.yaml",
        ),
        (["heads.edges.head.channels=0"], "heads.edges.head.channels=0: expected a number from 1"),
        (["+heads.edges.head.num_classes=3"], "heads.edges.head.num_classes=3: this comes from the dataset"),
        (["heads.edges.loss.width=0"], "heads.edges.loss.width=0: expected a number from 1"),
        (
            ["heads.edges.head={_target_: segtrain.models.auxiliary}"],
            "EdgeCrossEntropy takes 1 logits a pixel, segtrain.models.auxiliary gives 20",
        ),
    ],
)
def test_a_head_that_is_wrong_is_one_clear_line(segtrain, workplace, cihp_root, words, line):
    result = segtrain("train", "dataset=cihp", f"dataset.root={cihp_root}", *TINY, "heads=edges", *words)
    assert result.code == 2, result.err
    [error] = [each for each in result.err.splitlines() if each.startswith("error: ")]
    assert line in error and "Traceback" not in result.err
    assert list(workplace.iterdir()) == []
