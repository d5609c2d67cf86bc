"""Figures of an evaluation are readable files at any number of classes."""

import numpy as np
import pytest
from PIL import Image

from segtrain.visual.error_map import CONFUSED, FALSE, MISSED, error_legend, error_map
from segtrain.visual.figures import draw_class_bars, draw_confusion


@pytest.mark.parametrize("count", [2, 21, 150])
def test_a_confusion_matrix_grows_with_its_classes(tmp_path, count):
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 1000, (count, count)) * (rng.random((count, count)) < 0.1) + np.eye(count, dtype=int)
    draw_confusion(matrix, [f"class $ {index}" for index in range(count)], tmp_path / "plots" / "confusion.png")
    with Image.open(tmp_path / "plots" / "confusion.png") as image:
        assert image.width >= 600
        assert image.width >= 2800 if count == 150 else image.width < 1300


def test_bars_show_the_classes_that_occur(tmp_path):
    iou = np.array([0.9, np.nan, 0.2])
    draw_class_bars(iou, ["a", "b", "_c"], tmp_path / "iou.png", [(0.8, 0.95), None, None])
    draw_class_bars(np.array([np.nan, np.nan]), ["a", "b"], tmp_path / "none.png")
    assert (tmp_path / "iou.png").stat().st_size > 3000 and (tmp_path / "none.png").exists()


def test_errors_are_colored_by_kind():
    labels, predicted = np.uint8([[0, 0, 1, 1, 1, 255]]), np.uint8([[0, 1, 0, 1, 2, 1]])
    image = np.full((1, 6, 3), 100, np.uint8)
    names = ("background", "cat", "dog")
    gray = [178, 178, 178]  # 128 + 100 // 2
    found = error_map(image, labels, predicted, names)[0].tolist()
    assert found == [gray, list(FALSE), list(MISSED), gray, list(CONFUSED), gray]
    assert [name for name, _ in error_legend(names)] == ["missed", "false detection", "wrong class"]


def test_without_a_background_every_error_is_a_wrong_class():
    labels, predicted = np.uint8([[0, 1]]), np.uint8([[1, 0]])
    found = error_map(np.zeros((1, 2, 3), np.uint8), labels, predicted, ("sky", "road", "car"))[0].tolist()
    assert found == [list(CONFUSED)] * 2
