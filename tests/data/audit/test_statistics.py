"""Counts and class weights, by hand."""

import math

import pytest

from segtrain.data.audit.record import Record
from segtrain.data.audit.statistics import class_weights, count_classes


def record(**classes: int) -> Record:
    return Record("", "", "", classes={int(name[1:]): pixels for name, pixels in classes.items()})


# Two files of ten pixels: 6 of class 0, 2 of class 1, 2 void; and 9 of class 0, 1 of class 2.
FILES = [record(_0=6, _1=2, _255=2), record(_0=9, _2=1), Record("unread", "", "")]


def test_counts_of_pixels_files_and_void():
    counts = count_classes(FILES, 4)
    assert counts.pixels.tolist() == [15, 2, 1, 0]
    assert counts.images.tolist() == [2, 1, 1, 0]
    assert counts.pixels_around.tolist() == [18, 8, 10, 0]
    assert (counts.ignored, counts.files, counts.total) == (2, 2, 20)


def test_weights_of_median_frequency_are_the_median_over_each():
    # f = 15/18, 2/8, 1/10; the median is 1/4.
    expected = [0.25 / (15 / 18), 1.0, 2.5, 0.0]
    assert class_weights(count_classes(FILES, 4))["median_frequency"] == pytest.approx(expected, abs=5e-5)


def test_weights_of_enet_fall_with_the_share():
    expected = [1 / math.log(1.02 + share) for share in (15 / 18, 2 / 18, 1 / 18)] + [0.0]
    assert class_weights(count_classes(FILES, 4))["enet"] == pytest.approx(expected, abs=5e-5)


def test_inverse_weights_weigh_every_class_alike():
    counts = count_classes(FILES, 4)
    weights = class_weights(counts)["inverse"]
    shares = counts.pixels / 18
    assert [weight * share for weight, share in zip(weights, shares, strict=True)] == pytest.approx(
        [1 / 3, 1 / 3, 1 / 3, 0], abs=1e-4
    )


def test_no_class_that_occurs_gets_the_weight_nought():
    counts = count_classes([record(_0=10**9, _1=1)], 2)
    assert all(weight > 0 for weights in class_weights(counts).values() for weight in weights)


def test_without_a_class_there_are_no_weights():
    assert class_weights(count_classes([record(_255=5)], 2)) == {}
