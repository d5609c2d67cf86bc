"""Bootstrap intervals over images."""

import numpy as np
import pytest

from segtrain.evaluation.confusion import scores
from segtrain.evaluation.intervals import Counts, intervals, paired_intervals

NAMES = ["road", "car", "tree"]


def drawn(number, seed=0, skill=0.8):
    """Counts of images in which each pixel is right with a probability that varies from image to image."""
    rng = np.random.default_rng(seed)
    matrices = []
    for _ in range(number):
        truth = rng.integers(0, 3, 400)
        right = rng.random(400) < np.clip(rng.normal(skill, 0.1), 0, 1)
        predicted = np.where(right, truth, rng.integers(0, 3, 400))
        matrix = np.zeros((3, 3), int)
        np.add.at(matrix, (truth, predicted), 1)
        matrices.append(matrix)
    stack = np.stack(matrices)
    return Counts(np.stack([np.diag(each) for each in stack]), stack.sum(axis=2), stack.sum(axis=1)), stack.sum(axis=0)


def test_an_interval_holds_the_score_and_shrinks_with_more_images():
    widths = []
    for number in (20, 80, 320):
        counts, matrix = drawn(number)
        low, high = intervals(counts, NAMES)["mean_iou"]
        assert low < scores(matrix).mean_iou < high
        widths.append(high - low)
    # Four times the images: half the width.
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]


def test_intervals_cover_the_true_score_about_as_often_as_they_say():
    _, population = drawn(20_000, seed=99)
    truth = scores(population).mean_iou
    bounds = [intervals(drawn(40, seed)[0], NAMES, replicates=300)["mean_iou"] for seed in range(100)]
    covered = sum(low <= truth <= high for low, high in bounds)
    assert 85 <= covered <= 100  # of 100; 95 expected, and the percentile method is a little short for 40 images


def test_intervals_are_the_same_for_the_same_seed_and_others_for_another():
    counts, _ = drawn(30)
    assert intervals(counts, NAMES, seed=1) == intervals(counts, NAMES, seed=1) != intervals(counts, NAMES, seed=2)


def test_a_difference_of_a_run_from_itself_is_exactly_zero():
    counts, _ = drawn(30)
    assert set(paired_intervals(counts, counts, NAMES).values()) == {(0.0, 0.0)}


def test_a_paired_interval_is_narrower_than_the_runs_own():
    one, _ = drawn(60)
    # The other network has one more pixel right in each image.
    hits = one.hits.copy()
    hits[:, 0] += 1
    other = Counts(hits, one.occurs, one.predicted)
    low, high = paired_intervals(one, other, NAMES)["mean_iou"]
    own = intervals(one, NAMES)["mean_iou"]
    assert 0 < low <= high and high - low < 0.1 * (own[1] - own[0])


def test_excluded_classes_are_left_out_of_the_means_only():
    counts, matrix = drawn(40)
    found = intervals(counts, NAMES, exclude=[0])
    assert found["mean_iou"] != intervals(counts, NAMES)["mean_iou"]
    assert found["iou/road"] == intervals(counts, NAMES)["iou/road"]
    assert scores(matrix, [0]).mean_iou == pytest.approx(np.mean(scores(matrix).iou[1:]))


def test_a_class_that_no_image_holds_has_no_interval():
    counts, _ = drawn(10)
    absent = Counts(*(np.column_stack([each, np.zeros(10, int)]) for each in counts))
    found = intervals(absent, [*NAMES, "boat"])
    assert "iou/boat" not in found and "iou/car" in found
