"""`segtrain compare RUN RUN`: two evaluations of the same images."""

import json
import shutil

import numpy as np
import pytest

import toys
from commands.conftest import TINY, only_run, train_once

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    root = toys.draw_binary(folder, num_val=4)
    return train_once(folder, root, "dataset=binary", "tensorboard_images=0"), root


@pytest.fixture
def runs(trained, workplace, segtrain):
    """The same network twice, the second at a later step by another loss; both evaluated."""
    run, root = trained
    first = workplace / "runs" / "train" / "2026-01-01_00-00-00_first"
    shutil.copytree(run, first)
    words = ("dataset=binary", f"dataset.root={root}", *TINY, "loss=dice", "epochs=1", "name=second")
    assert segtrain("train", *words).code == 0
    second = next((workplace / "runs" / "train").glob("*_second"))
    for each in (first, second):
        assert segtrain("eval", f"run={each}", "overlays=0").code == 0
    return first, second


def test_two_runs_are_compared_by_scores_images_configs_and_curves(segtrain, workplace, runs):
    first, second = runs
    result = segtrain("compare", f"runs/train/{first.name}", f"runs/train/{second.name}")
    assert result.code == 0, result.err
    folder = only_run(workplace, "compare")
    content = json.loads((folder / "compare.json").read_text())
    [found] = content["runs"].values()
    for name in ("loss", "mean_iou", "iou/foreground"):
        each = found["scores"][name]
        assert each["difference"] == pytest.approx(each["after"] - each["before"])
    low, high = found["scores"]["mean_iou"]["interval"]
    assert low <= found["scores"]["mean_iou"]["difference"] <= high
    assert len(found["disagreement"]) == 4 and (folder / "runs.png").exists()
    assert "CrossEntropy" in result.out and "Dice" in result.out
    differing = [name for name, fraction in found["disagreement"].items() if fraction]
    assert sorted(path.stem for path in folder.glob("run-1/*.png")) == sorted(differing)


def test_a_run_compared_with_itself_differs_by_exactly_zero(segtrain, workplace, runs):
    first, _ = runs
    assert segtrain("compare", str(first), str(first)).code == 0
    [found] = json.loads((only_run(workplace, "compare") / "compare.json").read_text())["runs"].values()
    assert {each["difference"] for each in found["scores"].values()} <= {0.0, None}
    assert {tuple(each["interval"]) for each in found["scores"].values() if each["interval"]} == {(0.0, 0.0)}
    assert set(found["disagreement"].values()) == {0.0}
    assert not any(each["is_beyond_chance"] for each in found["scores"].values())


def test_what_cannot_be_compared_is_one_line(segtrain, workplace, runs, tmp_path):
    first, second = runs
    classes = json.loads((second / "classes.json").read_text())
    (second / "classes.json").write_text(json.dumps({**classes, "class_names": ["background", "cell"]}))
    other = segtrain("compare", str(first), str(second))
    assert other.code == 3 and "expected the same classes" in other.err
    for folder in (workplace / "runs" / "eval").iterdir():
        shutil.rmtree(folder)
    without = segtrain("compare", str(first), str(second))
    assert without.code == 4 and f"segtrain eval run={first}" in without.err
    assert segtrain("compare", "runs/train/gone", str(first)).code == 4
    assert segtrain("compare", str(first)).code == 2


def test_names_of_a_strangers_evaluation_lead_nowhere_else(segtrain, workplace, runs):
    first, second = runs
    for folder in (workplace / "runs" / "eval").iterdir():
        with np.load(folder / "per_image_counts.npz") as arrays:
            content = dict(arrays)
        content["names"] = np.array([b"../../../outside", *content["names"][1:].tolist()])
        np.savez(folder / "per_image_counts.npz", **content)
    result = segtrain("compare", str(first), str(second))
    assert result.code == 3 and "leads out of" in result.err
    assert not list(workplace.rglob("outside*"))
