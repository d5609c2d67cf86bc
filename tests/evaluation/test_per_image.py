"""Scores of single images and their means."""

import csv

import numpy as np
import pytest

from segtrain.errors import DataError
from segtrain.evaluation.confusion import confusion_matrix
from segtrain.evaluation.per_image import PerImage
from segtrain.report.per_image import read_counts, write_per_image

NAMES = ("wall", "door")


@pytest.fixture
def images():
    """One image with 3 of 4 pixels right, and one with all; the wrong pixel is sure of itself."""
    found = PerImage()
    labels = np.uint8([[0, 0], [1, 1]])
    for name, predicted, confidence in (("town/half", [[0, 1], [1, 1]], 0.95), ("right", [[0, 0], [1, 1]], 0.6)):
        predicted = np.uint8(predicted)
        matrix = confusion_matrix(labels, predicted, 2, 255)
        found.add(name, matrix, 0.5, labels, predicted, np.full((2, 2), confidence, np.float32))
    return found


def test_means_over_images_differ_from_the_score_of_all_pixels(images):
    # Image 1: IoU of wall 1/2, of door 2/3; image 2: 1.
    assert images.means()["mean_iou"] == pytest.approx((7 / 12 + 1) / 2)
    assert images.means()["pixel_accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    assert images.means(exclude=[0])["mean_iou"] == pytest.approx((2 / 3 + 1) / 2)


def test_the_table_begins_with_the_worst_image(tmp_path, images):
    write_per_image(tmp_path, images, NAMES)
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    assert [row["image"] for row in rows] == ["town/half", "right"]
    assert (rows[0]["mean_iou"], rows[0]["error_pixels"], rows[0]["labeled_pixels"]) == ("0.583333", "1", "4")
    assert (rows[0]["confidence"], rows[0]["confident_disagreement"]) == ("0.950000", "0.250000")
    assert (rows[0]["iou/wall"], rows[1]["confident_disagreement"]) == ("0.500000", "0.000000")


def test_counts_come_back_without_pickle(tmp_path, images):
    write_per_image(tmp_path, images, NAMES)
    names, counts = read_counts(tmp_path)
    assert names == ["town/half", "right"]
    assert counts.hits.tolist() == [[1, 2], [2, 2]] and counts.predicted.tolist() == [[1, 3], [2, 2]]


def test_an_image_of_ignored_pixels_comes_last_and_does_not_count(tmp_path):
    found = PerImage()
    labels = np.full((2, 2), 255, np.uint8)
    found.add("empty", np.zeros((2, 2), int), 0.0, labels, np.zeros((2, 2), np.uint8), np.ones((2, 2), np.float32))
    write_per_image(tmp_path, found, NAMES)
    [row] = csv.DictReader((tmp_path / "per_image.csv").open())
    assert row["mean_iou"] == "" and row["labeled_pixels"] == "0" and np.isnan(found.means()["mean_iou"])


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_damaged_counts_are_one_line(tmp_path, images, content):
    write_per_image(tmp_path, images, NAMES)
    path = tmp_path / "per_image_counts.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*per_image_counts\.npz.*Fix: segtrain eval"):
        read_counts(tmp_path)


def test_counts_that_would_need_pickle_are_refused(tmp_path, images):
    write_per_image(tmp_path, images, NAMES)
    arrays = {name: np.array([print], dtype=object) for name in ("names", "hits", "occurs", "predicted")}
    np.savez(tmp_path / "per_image_counts.npz", **arrays)
    with pytest.raises(DataError, match="cannot read"):
        read_counts(tmp_path)
