"""Colour tables."""

import numpy as np
import pytest
from scipy.io import savemat

from segtrain.data.colormap import colorize, read_colormap, voc_colormap
from segtrain.errors import DataError


def test_vocs_first_and_last_colours_are_the_devkits():
    colors = voc_colormap(256)
    assert colors.dtype == np.uint8 and colors.shape == (256, 3)
    assert colors[:9].tolist() == [
        [0, 0, 0],
        [128, 0, 0],  # aeroplane
        [0, 128, 0],
        [128, 128, 0],
        [0, 0, 128],
        [128, 0, 128],
        [0, 128, 128],
        [128, 128, 128],
        [64, 0, 0],  # cat
    ]
    assert colors[15].tolist() == [192, 128, 128]  # person
    assert colors[20].tolist() == [0, 64, 128]  # tvmonitor
    assert colors[255].tolist() == [224, 224, 192]  # void


def test_vocs_colours_are_all_different():
    assert len(np.unique(voc_colormap(256), axis=0)) == 256


def test_fewer_classes_have_the_first_colours():
    np.testing.assert_array_equal(voc_colormap(3), voc_colormap(256)[:3])


def test_labels_are_painted_in_their_class_colour_and_void_in_black():
    colors = np.array([(1, 2, 3), (40, 50, 60)], np.uint8)
    painted = colorize(np.array([[0, 1], [2, 255]], np.uint8), colors)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[1, 2, 3], [40, 50, 60]], [[0, 0, 0], [0, 0, 0]]]


def test_mat_table_is_read_in_rows_of_rgb(tmp_path):
    table = np.array([(0, 0.5, 1), (0.25, 0, 0.125)])
    savemat(tmp_path / "map.mat", {"other": np.ones(3), "colormap": table})
    np.testing.assert_array_equal(read_colormap(tmp_path / "map.mat", 2), table)


@pytest.mark.parametrize(
    "table",
    [np.zeros((2, 4)), np.zeros((3, 3)), np.full((2, 3), 255.0), np.full((2, 3), np.nan)],
    ids=["four columns", "three rows", "0..255", "NaN"],
)
def test_other_tables_are_refused(tmp_path, table):
    savemat(tmp_path / "map.mat", {"colormap": table})
    seen = rf"an array \({table.shape[0]}, {table.shape[1]}\)"
    with pytest.raises(DataError, match=rf"map\.mat: {seen}, expected 'colormap' \(2, 3\) .* Fix: "):
        read_colormap(tmp_path / "map.mat", 2)


def test_damaged_table_is_named(tmp_path):
    (tmp_path / "map.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match=r"cannot read .*map\.mat: a damaged header.* Fix: "):
        read_colormap(tmp_path / "map.mat", 2)


def test_name_of_the_file_is_data_not_code(tmp_path):
    path = tmp_path / "a'; import os; os.abort() #.mat"
    savemat(path, {"colormap": np.zeros((2, 3))})
    assert read_colormap(path, 2).shape == (2, 3)
