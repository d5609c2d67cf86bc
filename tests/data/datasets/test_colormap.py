"""Color tables."""

import numpy as np

from segtrain.data.datasets.colormap import colorize, voc_colormap


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
