"""`segtrain eval` with test-time augmentation, and tiles, against the run's own predictor."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import segtrain as package
import toys
from commands.conftest import TINY, only_run, train_once

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    root = toys.draw_binary(folder, num_val=2, size=(70, 100))
    return train_once(folder, root, "dataset=binary", "tensorboard_images=0"), root


@pytest.fixture
def run(trained, workplace):
    copy = workplace / "runs" / "train" / trained[0].name
    shutil.copytree(trained[0], copy)
    return copy


@pytest.mark.parametrize("modes", [{"tta": "flip"}, {"tiles": 64}, {"tta": "ms", "tiles": 64}], ids=str)
def test_scores_are_those_of_the_predictions_in_that_mode(segtrain, workplace, trained, run, modes):
    result = segtrain("eval", *(f"{name}={value}" for name, value in modes.items()))
    assert result.code == 0, result.err
    folder = only_run(workplace, "eval")
    scores = json.loads((folder / "scores.json").read_text())
    assert {name: scores[name] for name in modes} == modes
    network = package.load_run(run, **modes)
    matrix, costs = np.zeros((2, 2), int), []
    for path in sorted((folder / "predictions").iterdir()):
        image = np.asarray(Image.open(next((trained[1] / "images").glob(f"{path.stem}.*"))).convert("RGB"))
        labels = np.asarray(Image.open(trained[1] / "masks" / path.name)) // 255
        predicted = np.asarray(Image.open(path))
        np.testing.assert_array_equal(predicted, network.predict(image))
        np.add.at(matrix, (labels, predicted), 1)
        probabilities = network.probabilities(image)
        costs += np.take_along_axis(-np.log(probabilities), labels[..., None].astype(int), -1).ravel().tolist()
    assert scores["confusion_matrix"] == matrix.tolist()
    assert scores["loss"] == pytest.approx(np.mean(costs), rel=1e-3)


def test_a_run_may_validate_in_a_mode_and_eval_agrees(segtrain, workplace, trained):
    root = trained[1]
    words = ("dataset=binary", f"dataset.root={root}", "tensorboard_images=0", *TINY, "epochs=1")
    assert segtrain("train", *words, "tta=flip", "tiles=64").code == 0
    record = json.loads((only_run(workplace) / "metrics.jsonl").read_text().splitlines()[-1])
    assert segtrain("eval", "tta=flip", "tiles=64", "overlays=0").code == 0
    scores = json.loads((only_run(workplace, "eval") / "scores.json").read_text())
    assert scores["mean_iou"] == pytest.approx(record["val_mean_iou"], abs=1e-9)
    assert scores["loss"] == pytest.approx(record["val_loss"], rel=1e-5)


def test_a_wrong_mode_of_validation_is_one_line_before_anything_is_made(segtrain, workplace, trained):
    result = segtrain("train", "dataset=binary", f"dataset.root={trained[1]}", *TINY, "tta=flop")
    assert result.code == 2 and "tta=flop" in result.err and not (workplace / "runs").exists()
