"""`segtrain eval` on toys and on the real CIHP pairs: scores, pictures, and an oracle that shares no code with it."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oracle
import toys
from commands.conftest import TINY, copy_run, only_run, train_once

pytestmark = pytest.mark.tensorflow

FOLDER = (
    "dataset=folder",
    f"dataset.classes=[{','.join(toys.FOLDER_CLASSES)}]",
    "dataset.train_labels=trainannot",
    "dataset.val_labels=valannot",
    f"dataset.ignore_class={toys.FOLDER_IGNORE}",
)
# Layout: how to draw it, the words that choose it, its validation labels, classes, ignored, stored values.
LAYOUTS = {
    "cihp": (toys.draw_cihp, ["dataset=cihp"], "Validation/Category_ids", 20, 255, {}),
    "voc": (toys.draw_voc, ["dataset=voc"], "SegmentationClass", 21, 255, {}),
    "binary": (toys.draw_binary, ["dataset=binary"], "masks", 2, 2, {255: 1}),
    "folder": (toys.draw_folder, FOLDER, "valannot", len(toys.FOLDER_CLASSES), toys.FOLDER_IGNORE, {}),
}


def scores_of(folder: Path) -> dict:
    return json.loads((folder / "scores.json").read_text())


@pytest.mark.parametrize(
    "layout", [pytest.param(each, marks=() if each in ("cihp", "binary") else pytest.mark.slow) for each in LAYOUTS]
)
def test_saved_predictions_rebuild_the_confusion_matrix(segtrain, workplace, tmp_path, layout):
    draw, words, labels, num_classes, ignore, stored = LAYOUTS[layout]
    # Three validation images of an odd size: nothing divides evenly.
    root = draw(tmp_path, num_val=3, size=(53, 75))
    trained = segtrain("train", *words, f"dataset.root={root}", *TINY)
    assert trained.code == 0, trained.err
    assert segtrain("eval").code == 0
    folder = only_run(workplace, "eval")
    matrix = oracle.rebuild(folder / "predictions", root / labels, num_classes, ignore, stored)
    assert np.array_equal(matrix, scores_of(folder)["confusion_matrix"])
    truth = [np.array(Image.open(root / labels / path.name)) for path in (folder / "predictions").iterdir()]
    assert matrix.sum() == sum(int((ids != ignore).sum()) for ids in truth)
    # The training's own validation of that checkpoint saw the same pixels.
    record = json.loads((only_run(workplace) / "metrics.jsonl").read_text().splitlines()[-1])
    if scores_of(folder)["step"] == record["step"]:
        for name in ("loss", "pixel_accuracy", "mean_iou", "mean_accuracy", "frequency_weighted_iou"):
            assert scores_of(folder)[name] == pytest.approx(record[f"val_{name}"], abs=1e-6)


def test_real_cihp_pairs_train_and_evaluate(segtrain, workplace, test_data):
    root = test_data / "cihp_sample" / "instance-level_human_parsing"
    trained = segtrain("train", "+experiment=cihp", f"dataset.root={root}", *TINY, "epochs=1")
    assert trained.code == 0, trained.err
    assert segtrain("eval").code == 0
    folder = only_run(workplace, "eval")
    matrix = oracle.rebuild(folder / "predictions", root / "Validation" / "Category_ids", 20, 255, {})
    assert np.array_equal(matrix, scores_of(folder)["confusion_matrix"])
    # Gloves and sunglasses (3, 4) are in none of the five.
    assert matrix.sum(axis=1)[[3, 4]].tolist() == [0, 0]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A run and the dataset that it was trained on."""
    folder = tmp_path_factory.mktemp("trained")
    root = toys.draw_cihp(folder)
    return train_once(folder, root, "+experiment=cihp"), root


@pytest.fixture
def trained(trained_once, workplace, cihp_root):
    """A run that was trained on `cihp_root`."""
    return copy_run(*trained_once, workplace, cihp_root)


def test_eval_alone_takes_the_newest_run_and_says_so(segtrain, workplace, trained):
    result = segtrain("eval")
    assert result.code == 0
    assert f"runs/train/{trained.name} at step 4" in result.err
    assert scores_of(only_run(workplace, "eval"))["run"] == str(trained.resolve())
    assert "not the data of the run" not in result.err


def test_eval_names_the_folder_it_reads_and_warns_of_other_data(segtrain, workplace, trained):
    other = toys.draw_cihp(workplace / "other", seed=7)
    result = segtrain("eval", f"dataset.root={other.relative_to(workplace)}", "overlays=0")
    assert result.code == 0
    assert f"on 2 images of split val in {other}" in result.err
    assert len([line for line in result.err.splitlines() if "not the data of the run" in line]) == 1


def test_scores_name_absent_classes_as_absent(segtrain, workplace, trained):
    result = segtrain("eval")
    folder = only_run(workplace, "eval")
    scores = scores_of(folder)
    matrix = np.array(scores["confusion_matrix"])
    absent = np.flatnonzero(matrix.sum(0) + matrix.sum(1) == 0)
    assert len(absent) > 0
    with (folder / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows if row["iou"] == "absent"] == absent.tolist()
    assert [index for index, iou in enumerate(scores["iou"].values()) if iou is None] == absent.tolist()
    assert "absent" in result.out
    present = [iou for iou in scores["iou"].values() if iou is not None]
    assert scores["mean_iou"] == pytest.approx(sum(present) / len(present))
    assert scores["pixel_accuracy"] == np.trace(matrix) / matrix.sum()


def test_overlays_are_as_many_as_asked_and_wide_as_three_panels(segtrain, workplace, trained):
    assert segtrain("eval", "overlays=1").code == 0
    (overlay,) = (only_run(workplace, "eval") / "overlays").iterdir()
    # Images of 48x64 are enlarged five times: three panels of 320 pixels and four gaps of 8.
    assert Image.open(overlay).width == 3 * 320 + 4 * 8


def test_eval_without_predictions_writes_none(segtrain, workplace, trained):
    assert segtrain("eval", "save_predictions=false", "overlays=0").code == 0
    folder = only_run(workplace, "eval")
    assert sorted(path.name for path in folder.iterdir()) == [
        "per_class.csv",
        "per_image.csv",
        "per_image_counts.npz",
        "plots",
        "report.html",
        "samples.json",
        "scores.json",
    ]


def test_a_dataset_that_moved_is_found_by_its_new_root(segtrain, workplace, trained, cihp_root, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(cihp_root, moved)
    assert segtrain("eval").code == 3
    assert segtrain("eval", f"dataset.root={moved}").code == 0


def test_another_dataset_of_the_same_classes_can_be_scored(segtrain, workplace, trained, tmp_path):
    other = toys.draw_cihp(tmp_path / "other", num_val=1, seed=5)
    assert segtrain("eval", "dataset=cihp", f"dataset.root={other}").code == 0
    assert scores_of(only_run(workplace, "eval"))["images"] == 1


def test_the_test_split_is_scored_and_named_in_the_scores(segtrain, workplace, trained, cihp_root):
    shutil.copytree(cihp_root / "Validation", cihp_root / "Testing")
    assert segtrain("eval", "overlays=0", "name=val").code == 0
    assert segtrain("eval", "overlays=0", "name=test", "split=test").code == 0
    on_test, on_val = (scores_of(next((workplace / "runs/eval").glob(f"*_{name}"))) for name in ("test", "val"))
    assert (on_test["split"], on_test["images"]) == ("test", 2)
    assert on_test["confusion_matrix"] == on_val["confusion_matrix"]


def test_a_split_without_labels_ends_with_one_line_and_no_folder(segtrain, workplace, trained, cihp_root):
    shutil.copytree(cihp_root / "Validation" / "Images", cihp_root / "Testing" / "Images")
    result = segtrain("eval", "split=test")
    assert result.code == 3 and "error: split 'test' has no label files: 2 images in" in result.err
    assert "load_run" in result.err.splitlines()[-1]
    labels = cihp_root / "Testing" / "Category_ids"
    labels.mkdir()
    for path in (cihp_root / "Validation" / "Category_ids").iterdir():
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(labels / path.name)
    result = segtrain("eval", "split=test")
    assert result.code == 3 and "error: split 'test' has no labels to score: 2 label files" in result.err
    assert not (workplace / "runs" / "eval").exists()


def test_an_unknown_split_is_answered_with_those_that_exist(segtrain, trained):
    result = segtrain("eval", "split=tset")
    assert result.code == 3 and "no split 'tset': this dataset has train, val. Fix: split=val" in result.err


def test_a_dataset_of_other_classes_is_refused(segtrain, workplace, trained, binary_root):
    result = segtrain("eval", "dataset=binary", f"dataset.root={binary_root}")
    assert result.code == 3
    assert "the dataset has 2 classes (background, foreground, ...)" in result.err
    assert not (workplace / "runs" / "eval").exists()


def test_resized_evaluation_still_counts_every_pixel(segtrain, workplace, cihp_root):
    words = ("+experiment=cihp", f"dataset.root={cihp_root}", *TINY, "resize=[32,32]")
    assert segtrain("train", *words).code == 0
    assert segtrain("eval").code == 0
    matrix = np.array(scores_of(only_run(workplace, "eval"))["confusion_matrix"])
    assert matrix.sum() == 2 * 48 * 64


def test_an_edited_config_is_warned_of_in_one_line(segtrain, trained):
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0\n", "seed: 1\n"))
    (line,) = [line for line in segtrain("eval", "overlays=0").err.splitlines() if "was edited" in line]
    assert f"{config.relative_to(config.parents[3])} was edited: " in line and "seed 0 -> 1" in line and "Fix: " in line


def test_a_stored_module_is_trusted_on_the_command_line_of_eval(segtrain, workplace, trained):
    (workplace / "mine_stored.py").write_text("from segtrain.losses import CrossEntropy as Mine\n")
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace("segtrain.losses.CrossEntropy", "mine_stored.Mine"))
    assert "loss._target_=mine_stored.Mine is refused for safety" in segtrain("eval").err
    result = segtrain("eval", "trusted_modules=[mine_stored]", "overlays=0")
    assert result.code == 0, result.err
