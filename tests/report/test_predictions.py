"""Files and table of predictions."""

import csv

import numpy as np
import pytest
from PIL import Image

from segtrain.errors import DataError
from segtrain.report.predictions import SUFFIXES, Result, Table, Writer, require_other_files

NAMES, COLORS = ("wall", "door"), np.uint8([(10, 20, 30), (200, 100, 0)])


@pytest.fixture
def result():
    """Class 1 in the right half; a probability of 0.75 everywhere."""
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 4:] = 1
    probabilities = np.where(labels[..., None] == [0, 1], 0.75, 0.25).astype(np.float32)
    return Result(np.full((6, 8, 3), 100, np.uint8), labels, probabilities.max(-1), probabilities)


def test_each_kind_of_result_is_a_file_in_a_folder_of_its_name(tmp_path, result):
    Writer(tmp_path, SUFFIXES, NAMES, COLORS, 0.5).write("town/a", result)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {f"{kind}/town/a{suffix}" for kind, suffix in SUFFIXES.items()}
    labels = Image.open(tmp_path / "labels" / "town" / "a.png")
    assert labels.mode == "P" and labels.getpalette()[3:6] == [200, 100, 0]
    np.testing.assert_array_equal(labels, result.labels)
    np.testing.assert_array_equal(Image.open(tmp_path / "color" / "town" / "a.png"), COLORS[result.labels])
    # Half of 100 and half of (200, 100, 0), but for what JPEG loses.
    overlay = np.asarray(Image.open(tmp_path / "overlay" / "town" / "a.jpg"))
    np.testing.assert_allclose(overlay[3, 7], [150, 100, 50], atol=4)
    with np.load(tmp_path / "probabilities" / "town" / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["probabilities"], result.probabilities)


def test_only_the_chosen_kinds_are_written(tmp_path, result):
    Writer(tmp_path, ["color"], NAMES, COLORS, 0.5).write("a", result)
    assert [path.name for path in tmp_path.iterdir()] == ["color"]


def test_the_table_has_pixels_fractions_and_confidence_of_each_image(tmp_path, result):
    table = Table(tmp_path, NAMES)
    table.begin()
    table.add("photos/a.jpg", result)
    table.add("clip.mp4", result, frame=7)
    table.add_error("b.jpg", "cannot decode b.jpg")
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert rows[0] == {
        "file": "photos/a.jpg",
        "frame": "",
        "width": "8",
        "height": "6",
        "status": "ok",
        "confidence": "0.750000",
        "pixels/wall": "24",
        "pixels/door": "24",
        "fraction/wall": "0.500000",
        "fraction/door": "0.500000",
    }
    assert (rows[1]["frame"], rows[2]["status"], rows[2]["pixels/wall"]) == ("7", "cannot decode b.jpg", "")


def test_a_continued_table_keeps_the_predicted_images(tmp_path, result):
    for _ in range(2):
        table = Table(tmp_path, NAMES)
        table.begin()
        table.add("a.jpg", result)
        table.add_error("b.jpg", "damaged")
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [row["file"] for row in rows] == ["a.jpg", "a.jpg", "b.jpg"]
    with pytest.raises(DataError, match="columns of other classes"):
        Table(tmp_path, ("wall", "window")).begin()


def test_a_result_never_replaces_an_input_even_through_a_link(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "labels" / "a.png").symlink_to(tmp_path / "a.png")
    paths = Writer(tmp_path, ["labels"], NAMES, COLORS, 0.5).paths("a").values()
    with pytest.raises(DataError, match=r"labels/a\.png is one of the inputs.*Fix: output="):
        require_other_files({str(tmp_path / "a.png")}, paths)
    require_other_files({str(tmp_path / "b.png")}, paths)


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="outside of"):
        Writer(tmp_path, ["labels"], NAMES, COLORS, 0.5).paths("../../etc/a")
