"""Scores as files and as a table."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from segtrain.evaluation import scores
from segtrain.report.scores import print_scores, write_scores

NAMES = ("wall", "door", "roof")
# Class 2 is absent; class 1: 2 / (3 + 3 - 2) = 0.5; class 0: 5 / (6 + 6 - 5) = 5/7.
MATRIX = np.array([[5, 1, 0], [1, 2, 0], [0, 0, 0]])
FACTS = {"run": "/runs/train/a", "step": 12, "split": "val", "images": 3}


def totals_of(matrix=MATRIX, heads=None, metrics=None):
    return SimpleNamespace(matrix=matrix, scores=scores(matrix), loss=0.25, heads=heads or {}, metrics=metrics or {})


def written(folder, matrix=MATRIX, names=NAMES):
    write_scores(folder, totals_of(matrix), names, FACTS)
    with (folder / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return json.loads((folder / "scores.json").read_text()), rows


def test_json_holds_facts_means_classes_and_the_matrix(tmp_path):
    content, _ = written(tmp_path)
    assert {key: content[key] for key in FACTS} == FACTS
    assert content["loss"] == 0.25
    assert content["pixel_accuracy"] == pytest.approx(7 / 9)
    assert content["mean_accuracy"] == pytest.approx((5 / 6 + 2 / 3) / 2)
    assert content["mean_iou"] == pytest.approx((5 / 7 + 1 / 2) / 2)
    assert content["frequency_weighted_iou"] == pytest.approx(6 / 9 * 5 / 7 + 3 / 9 * 1 / 2)
    assert content["confusion_matrix"] == MATRIX.tolist()
    assert content["iou"] == {"wall": pytest.approx(5 / 7), "door": pytest.approx(0.5), "roof": None}


def test_csv_has_a_row_a_class_and_says_absent(tmp_path):
    _, rows = written(tmp_path)
    assert [row["id"] for row in rows] == ["0", "1", "2"]
    assert [row["class"] for row in rows] == list(NAMES)
    assert [row["iou"] for row in rows] == ["0.714286", "0.500000", "absent"]
    assert [row["accuracy"] for row in rows] == ["0.833333", "0.666667", "absent"]
    # Class 0: 2 * 5 / (6 + 6) and 5 / 6; class 1: 2 * 2 / (3 + 3) and 2 / 3.
    assert [row["dice"] for row in rows] == ["0.833333", "0.666667", "absent"]
    assert [row["precision"] for row in rows] == ["0.833333", "0.666667", "absent"]
    assert [row["pixels"] for row in rows] == ["6", "3", "0"]


def test_class_that_is_only_predicted_is_not_absent(tmp_path):
    content, rows = written(tmp_path, np.array([[5, 0, 1], [0, 2, 0], [0, 0, 0]]))
    assert content["iou"]["roof"] == 0
    assert (rows[2]["iou"], rows[2]["accuracy"]) == ("0.000000", "absent")


def test_files_of_nothing_counted_are_valid_json(tmp_path):
    content, _ = written(tmp_path, np.zeros((3, 3), np.int64))
    assert content["mean_iou"] is None and content["iou"] == {"wall": None, "door": None, "roof": None}


def test_names_with_commas_and_quotes_survive(tmp_path):
    names = ('wall, "old"', "Tür", "roof\ttop")
    content, rows = written(tmp_path, names=names)
    assert tuple(row["class"] for row in rows) == names and tuple(content["iou"]) == names


def test_table_shows_numbers_means_and_absence(capsys):
    print_scores(totals_of(), NAMES, FACTS)
    shown = capsys.readouterr().out
    lines = {line.split()[3]: line for line in shown.splitlines() if "│ wall" in line or "│ roof" in line}
    assert "val: 3 images, step 12" in shown
    assert "0.7143" in lines["wall"] and "0.8333" in lines["wall"] and "66.67%" in lines["wall"]
    assert lines["roof"].count("absent") == 4 and "0.00%" in lines["roof"]
    assert "pixel accuracy 0.7778, mean accuracy 0.7500, mean IoU 0.6071" in shown
    assert "frequency-weighted IoU 0.6429" in shown


HEADS = {"edges": {"precision": 0.5, "recall": float("nan"), "f1": 0.25}}


def test_further_heads_stand_in_json_and_in_a_table_of_their_own(tmp_path, capsys):
    write_scores(tmp_path, totals_of(heads=HEADS), NAMES, FACTS)
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["heads"] == {"edges": {"precision": 0.5, "recall": None, "f1": 0.25}}
    print_scores(totals_of(heads=HEADS), NAMES, FACTS)
    rows = {line.split()[3]: line.split()[5] for line in capsys.readouterr().out.splitlines() if "│ edges" in line}
    assert rows == {"precision": "0.5000", "recall": "absent", "f1": "0.2500"}


METRICS = {"edge": {"iou": 0.3, "iou/wall": 0.5, "iou/door": float("nan"), "iou/roof": 0.1}}


def test_scores_of_a_metric_stand_in_json_in_a_table_and_by_class_in_a_column(tmp_path, capsys):
    write_scores(tmp_path, totals_of(metrics=METRICS), NAMES, FACTS)
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["metrics"] == {"edge": {"iou": 0.3, "iou/wall": 0.5, "iou/door": None, "iou/roof": 0.1}}
    with (tmp_path / "per_class.csv").open(newline="") as file:
        assert [row["edge_iou"] for row in csv.DictReader(file)] == ["0.500000", "absent", "0.100000"]
    print_scores(totals_of(metrics=METRICS), NAMES, FACTS)
    lines = capsys.readouterr().out.splitlines()
    [row] = [line for line in lines if "│ edge" in line]
    assert row.split()[3] == "iou" and row.split()[5] == "0.3000"
    [door] = [line for line in lines if "│ door" in line]
    assert door.split()[13] == "absent"


def test_without_heads_the_report_does_not_speak_of_them(tmp_path, capsys):
    content, _ = written(tmp_path)
    print_scores(totals_of(), NAMES, FACTS)
    assert "heads" not in content and "head" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["[red]", "[/b]", "car[left]"])
def test_names_in_brackets_are_shown_as_they_are(capsys, name):
    # rich reads [red] as a style.
    print_scores(totals_of(), (name, "door", "roof"), FACTS)
    assert name in capsys.readouterr().out
