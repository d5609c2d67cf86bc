"""`segtrain runs`: a row per run folder, whatever is in it."""

import json
import shutil

import pytest

import toys
from commands.conftest import train_once
from segtrain.runs.overview import overview


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return train_once(folder, toys.draw_binary(folder), "dataset=binary", "tensorboard_images=0")


@pytest.fixture
def folders(trained, workplace):
    parent = workplace / "runs" / "train"
    for name in ("2026-11-01_10-00-00_cells", "2026-11-02_10-00-00_roads"):
        shutil.copytree(trained, parent / name)
    config = parent / "2026-11-02_10-00-00_roads" / "checkpoints"
    for path in config.iterdir():
        (path / "manifest.json").write_text("{")
    (parent / "2026-11-03_10-00-00_empty").mkdir()
    (parent / "other\x1b[2J").mkdir()
    return parent


@pytest.mark.tensorflow
def test_runs_are_listed_with_their_state_newest_first(segtrain, folders, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    result = segtrain("runs")
    assert result.code == 0, result.err
    rows = [line.split("│") for line in result.out.splitlines() if "│" in line]
    found = {row[2].strip(): row[6].strip() for row in rows}
    assert found["cells"] == "finished" and found["roads"] == "damaged" and found["empty"] == "no checkpoint"
    names = [row[2].strip() for row in rows]
    assert names.index("empty") < names.index("roads") < names.index("cells")
    assert "\x1b[2J" not in result.out


@pytest.mark.tensorflow
def test_json_holds_the_same_rows_and_filters_apply(segtrain, folders):
    found = json.loads(segtrain("runs", "--json", "filter=cells").out)
    [row] = found
    assert row["monitor"] == "val_mean_iou" and row["epochs_done"] == row["epochs"] == 2 and 0 <= row["best"] <= 1
    assert row["started"] == "2026-11-01 10:00" and row["num_bytes"] > 100_000
    assert [each["name"] for each in json.loads(segtrain("runs", "json=true", "sort=name", "descending=false").out)][
        :2
    ] == [
        "cells",
        "empty",
    ]


@pytest.mark.tensorflow
def test_a_run_with_epochs_left_is_interrupted(folders):
    folder = folders / "2026-11-01_10-00-00_cells"
    path = sorted(folder.glob("checkpoints/step-*/manifest.json"))[-1]
    from segtrain.runs.manifest import sealed

    content = json.loads(path.read_text())
    content["facts"]["config"] = content["facts"]["config"].replace("epochs: 2\n", "epochs: 9\n", 1)
    path.write_bytes(sealed({name: value for name, value in content.items() if name != "digest"}))
    found = overview(folder)
    assert (found.state, found.epochs_done, found.epochs) == ("interrupted", 2, 9)


def test_without_runs_the_line_names_segtrain_train(segtrain):
    result = segtrain("runs")
    assert result.code == 0 and "no run in" in result.out and "segtrain train" in result.out


def test_an_unknown_order_is_refused(segtrain):
    result = segtrain("runs", "sort=bst")
    assert result.code == 2 and "sort=bst" in result.err and "best" in result.err
