"""Scores rebuilt from files, compared with the product's own and with a slow third computation."""

import json

import numpy as np
import pytest
from PIL import Image

from segtrain.errors import DataError
from segtrain.evaluation.confusion import confusion_matrix, scores
from segtrain.evaluation.per_image import PerImage
from segtrain.report.per_image import write_per_image
from segtrain.report.scores import write_scores
from segtrain.report.verification import compare

IGNORE = 255


class Totals:
    """What `write_scores` reads."""

    loss, heads, metrics = 0.5, {}, {}  # noqa: RUF012

    def __init__(self, matrix):
        self.matrix, self.scores = matrix, scores(matrix)


def evaluated(folder, seed, perfect=False):
    """Write an evaluation of random label maps of 1x1 to 97x96 pixels; return the matrix, counted slowly."""
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(2, 9))
    used = rng.permutation(num_classes)[: rng.integers(1, num_classes + 1)]  # the others are absent
    names = [f"class {index}" for index in range(num_classes)]
    images, total, samples = PerImage(), np.zeros((num_classes, num_classes), np.int64), []
    slow = [[0] * num_classes for _ in range(num_classes)]
    (folder / "predictions").mkdir()
    (folder / "truth").mkdir()
    for number in range(rng.integers(1, 4)):
        size = rng.integers(1, 98), rng.integers(1, 97)
        labels = used[rng.integers(0, len(used), size)].astype(np.uint8)
        predicted = labels.copy() if perfect else used[rng.integers(0, len(used), size)].astype(np.uint8)
        labels[rng.random(size) < rng.choice([0, 0.3, 1])] = IGNORE
        matrix = confusion_matrix(labels, predicted, num_classes, IGNORE)
        total += matrix
        images.add(str(number), matrix, 0.1, labels, predicted, np.ones(size, np.float32))
        for truth, found in zip(labels.ravel().tolist(), predicted.ravel().tolist(), strict=True):
            if truth != IGNORE:
                slow[truth][found] += 1
        Image.fromarray(predicted).save(folder / "predictions" / f"{number}.png")
        Image.fromarray(labels).save(folder / "truth" / f"{number}.png")
        samples.append({"name": str(number), "image": "", "labels": str(folder / "truth" / f"{number}.png")})
    table = {value: value for value in (*range(num_classes), IGNORE)}
    content = {"class_names": names, "ignore_class": IGNORE, "class_of_value": table, "samples": samples}
    (folder / "samples.json").write_text(json.dumps(content))
    write_scores(folder, Totals(total), names, {})
    write_per_image(folder, images, names)
    return slow


@pytest.mark.parametrize("block", range(10))
def test_three_computations_agree_in_every_cell_on_random_sets(tmp_path, block):
    for seed in range(20 * block, 20 * block + 20):  # 200 in all
        folder = tmp_path / str(seed)
        folder.mkdir()
        slow = evaluated(folder, seed)
        assert json.loads((folder / "scores.json").read_text())["confusion_matrix"] == slow
        _, number, differing = compare(folder)
        assert differing == [] and number > len(slow) ** 2


def test_a_perfect_prediction_scores_exactly_one(tmp_path):
    seed = next(seed for seed in range(9) if np.sum(evaluated(_new(tmp_path / str(seed)), seed, perfect=True)))
    content = json.loads((tmp_path / str(seed) / "scores.json").read_text())
    names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", "mean_dice", "mean_precision")
    assert [content[name] for name in names] == [1.0] * 6
    assert compare(tmp_path / str(seed))[2] == []


def _new(folder):
    folder.mkdir()
    return folder


def test_a_changed_pixel_shows_in_every_table(tmp_path):
    evaluated(tmp_path, 5)
    path = tmp_path / "predictions" / "0.png"
    pixels = np.array(Image.open(path))
    labels = np.asarray(Image.open(tmp_path / "truth" / "0.png"))
    row, column = np.argwhere(labels != IGNORE)[0]
    pixels[row, column] = (pixels[row, column] + 1) % 2
    Image.fromarray(pixels).save(path)
    files = {each.where.split()[0] for each in compare(tmp_path)[2]}
    assert files == {"scores.json", "per_class.csv", "per_image.csv"}


@pytest.mark.parametrize(
    ("name", "seen"),
    [("scores.json", "scores.json"), ("samples.json", "samples.json"), ("predictions/0.png", "save_predictions=true")],
)
def test_a_missing_file_is_named(tmp_path, name, seen):
    evaluated(tmp_path, 5)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=seen):
        compare(tmp_path)


def test_a_value_without_a_class_is_an_error(tmp_path):
    evaluated(tmp_path, 5)
    content = json.loads((tmp_path / "samples.json").read_text())
    del content["class_of_value"][str(IGNORE)]
    (tmp_path / "samples.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="value 255 has no class"):
        compare(tmp_path)


def test_labels_in_colors_are_mapped_by_their_table(tmp_path):
    evaluated(tmp_path, 5)
    content = json.loads((tmp_path / "samples.json").read_text())
    for row in content["samples"]:
        ids = np.asarray(Image.open(row["labels"]))
        Image.fromarray(np.stack([ids, 255 - ids, ids // 2], -1)).save(row["labels"])
    content["value_of_color"] = {f"{v},{255 - v},{v // 2}": v for v in map(int, content["class_of_value"])}
    (tmp_path / "samples.json").write_text(json.dumps(content))
    assert compare(tmp_path)[2] == []
