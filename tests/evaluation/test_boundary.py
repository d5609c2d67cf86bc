"""Boundary IoU by hand and against the definition."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from segtrain.evaluation import Boundary

IGNORED = 255
NAMES = ("road", "car")


def result(labels, predicted, width=0.02, names=NAMES):
    metric = Boundary(names, IGNORED, width)
    metric.update(np.uint8(labels), np.uint8(predicted), np.zeros(0))
    return metric.result()


def square(size, first, last):
    labels = np.zeros((size, size), np.uint8)
    labels[first:last, first:last] = 1
    return labels


def test_a_square_that_lost_a_column_by_hand():
    # 10 x 10, diagonal 14.1, so a boundary of 1 pixel. The 6 x 6 square has 20 boundary pixels; the 6 x 5 one has 18:
    # 2 * 6 + 2 * 3. Common: the top and bottom rows' 5 each and the left column's other 4, 14. Union: 20 + 18 - 14.
    predicted = square(10, 2, 8)
    predicted[:, 7] = 0
    assert result(square(10, 2, 8), predicted)["iou/car"] == pytest.approx(14 / 24)


def test_a_perfect_prediction_scores_exactly_one():
    labels = np.random.default_rng(0).integers(0, 2, (30, 40))
    assert set(result(labels, labels).values()) == {1.0}


def test_an_absent_class_has_no_score_and_is_left_out_of_the_mean():
    found = result(square(10, 2, 8), square(10, 2, 8), names=(*NAMES, "tree"))
    assert np.isnan(found["iou/tree"]) and found["iou"] == 1


def test_ignored_pixels_do_not_count():
    labels, predicted = square(12, 3, 9), square(12, 3, 9)
    labels[:, 6:] = IGNORED
    other = predicted.copy()
    other[:, 6:] = 0
    assert result(labels, predicted) == result(labels, other)


@pytest.mark.parametrize("width", [0.02, 0.1, 0.3])
def test_it_equals_the_definition_with_scipys_erosion(width):
    rng = np.random.default_rng(4)
    labels, predicted = (np.kron(rng.integers(0, 2, (6, 8)), np.ones((7, 5), int)) for _ in range(2))
    pixels = max(1, round(width * np.hypot(*labels.shape)))
    found = result(labels, predicted, width)
    for index, name in enumerate(NAMES):
        bands = []
        for each in (labels, predicted):
            mask = each == index
            eroded = binary_erosion(mask, np.ones((3, 3)), iterations=pixels, border_value=0)
            bands.append(mask & ~eroded)
        expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
        assert found[f"iou/{name}"] == pytest.approx(expected)


def test_images_add_up_before_they_are_divided():
    metric = Boundary(NAMES, IGNORED)
    for labels, predicted in ((square(10, 2, 8), square(10, 3, 8)), (square(20, 5, 9), square(20, 5, 12))):
        metric.update(labels, predicted, np.zeros(0))
    one, two = Boundary(NAMES, IGNORED), Boundary(NAMES, IGNORED)
    one.update(square(10, 2, 8), square(10, 3, 8), np.zeros(0))
    two.update(square(20, 5, 9), square(20, 5, 12), np.zeros(0))
    one.merge(lambda array: array + two.sums[next(name for name in two.sums if one.sums[name] is array)])
    assert one.result() == metric.result()


def test_boundary_f_by_hand():
    # The contour of a 6 x 6 square, 20 pixels, against the same contour 3 columns further, with a tolerance of 1 pixel.
    labels, predicted = square(14, 2, 8), np.roll(square(14, 2, 8), 3, axis=1)
    true_line = {(y, x) for y in range(2, 8) for x in range(2, 8) if y in (2, 7) or x in (2, 7)}
    found_line = {(y, x + 3) for y, x in true_line}

    def near(line, other):
        return sum(any(np.hypot(y - v, x - u) <= 1 for v, u in other) for y, x in line) / len(line)

    precision, recall = near(found_line, true_line), near(true_line, found_line)
    found = result(labels, predicted, width=1)
    assert found["f/car"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert 0 < found["f/car"] < 1


def test_a_width_from_one_is_in_pixels():
    labels, predicted = square(40, 5, 30), square(40, 6, 31)
    # The diagonal is 56.6: 0.05 of it are 3 pixels.
    assert result(labels, predicted, 3) == result(labels, predicted, 0.05) != result(labels, predicted, 1)
