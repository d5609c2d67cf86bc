"""Which part of an image a crop shows: not all of one class, and rare classes more often."""

import numpy as np
import pytest

from data.augment.painting import keyed
from segtrain.data.augment.window import draw_windows

VOID = 255


def windows(labels, key, crop_size=(10, 10), scale=1.0, max_class_share=1.0, class_balanced=0.0):
    rows, columns = draw_windows(
        labels,
        crop_size,
        scale,
        keyed(key),
        ignore_class=VOID,
        max_class_share=max_class_share,
        class_balanced=class_balanced,
    )
    return labels[rows.source, columns.source]


def sky(height=100, width=100, below=80):
    """Class 0 above, class 1 in the rows from `below` on."""
    labels = np.zeros((height, width), np.uint8)
    labels[below:] = 1
    return labels


# Share of one class -------------------------------------------------------------------------------------------


def test_no_crop_is_all_sky():
    # Of 91 positions for the upper edge, those from 73 to 77 show 3 to 7 rows of class 1, at most 3 / 4:
    # 5 / 91 = 5 % of single draws, and 1 - (86 / 91) ** 10 = 43 % of ten.
    labels = sky()
    share = [np.bincount(windows(labels, key, max_class_share=0.75).ravel()).max() / 100 for key in range(300)]
    assert np.mean(np.array(share) <= 0.75) == pytest.approx(0.43, abs=0.09)
    any_share = [np.bincount(windows(labels, key).ravel()).max() / 100 for key in range(300)]
    assert np.mean(np.array(any_share) <= 0.75) == pytest.approx(0.055, abs=0.04)


def test_a_photograph_of_one_class_is_cropped_all_the_same():
    assert windows(np.zeros((100, 100), np.uint8), 0, max_class_share=0.5).shape == (10, 10)


def test_void_is_no_class_to_be_shared():
    # Void but in four columns of two classes: each has half of what is labeled, void counts for nothing.
    labels = np.full((10, 40), VOID, np.uint8)
    labels[:, 18:20], labels[:, 20:22] = 0, 1
    for key in range(50):
        found = windows(labels, key, max_class_share=0.5, crop_size=(10, 30))
        assert {0, 1} <= set(np.unique(found))  # those with one class alone have a share of 1


def test_a_window_of_nothing_but_void_is_drawn_anew():
    labels = np.full((10, 40), VOID, np.uint8)
    labels[:, :20:2], labels[:, 1:20:2] = 0, 1
    assert all((windows(labels, key, max_class_share=0.9) != VOID).any() for key in range(50))


# Rare classes -------------------------------------------------------------------------------------------------


def test_rare_classes_are_hit_as_often_as_common_ones():
    # One pixel of class 3 in 10,000: half of the aimed crops hold it. Any crop does with at most 100 / 91 ** 2 = 1.2 %.
    labels = np.zeros((100, 100), np.uint8)
    labels[50, 50] = 3
    hits = np.mean([3 in windows(labels, key, class_balanced=1) for key in range(300)])
    assert hits == pytest.approx(0.5, abs=0.1)
    assert np.mean([3 in windows(labels, key) for key in range(300)]) < 0.05


def test_half_of_the_crops_are_aimed_with_one_half():
    labels = np.zeros((100, 100), np.uint8)
    labels[50, 50] = 3
    assert np.mean([3 in windows(labels, key, class_balanced=0.5) for key in range(400)]) == pytest.approx(
        0.25, abs=0.08
    )


def test_a_class_is_not_always_in_the_middle():
    labels = np.zeros((100, 100), np.uint8)
    labels[50, 50] = 3
    positions = {
        tuple(position) for key in range(400) for position in np.argwhere(windows(labels, key, class_balanced=1) == 3)
    }
    assert len(positions) > 60  # of 100
    assert {row for row, _ in positions} == {column for _, column in positions} == set(range(10))


@pytest.mark.parametrize("position", [(0, 0), (0, 99), (99, 0), (99, 99), (3, 97)])
def test_windows_aimed_at_the_rim_stay_within_the_photograph(position):
    labels = np.full((100, 100), VOID, np.uint8)
    labels[position] = 3
    for key in range(30):
        found = windows(labels, key, class_balanced=1)  # void is never aimed at
        assert found.shape == (10, 10) and (found == 3).sum() == 1


@pytest.mark.parametrize("scale", [0.3, 0.9, 2.5])
def test_scaled_windows_are_aimed_too(scale):
    labels = np.full((100, 100), VOID, np.uint8)
    labels[41, 77] = 3
    assert all(3 in windows(labels, key, scale=scale, class_balanced=1) for key in range(50))


def test_a_photograph_without_any_label_is_cropped_anywhere():
    assert windows(np.full((100, 100), VOID, np.uint8), 0, class_balanced=1).shape == (10, 10)


def test_a_photograph_smaller_than_the_crop_is_shown_whole():
    assert windows(sky(8, 6, 4), 0, class_balanced=1, max_class_share=0.75).shape == (8, 6)
