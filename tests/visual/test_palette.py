"""Colors for any color vision."""

import numpy as np
import pytest

from segtrain.visual import palette


@pytest.mark.parametrize("count", [2, 20])
def test_all_colors_differ_clearly_for_each_kind_of_color_vision(count):
    colors = palette.colorblind_palette(count)
    assert colors.shape == (count, 3) and colors.dtype == np.uint8 and colors[0].tolist() == [0, 0, 0]
    for matrix in (np.eye(3), palette._PROTAN, palette._DEUTAN):
        seen = palette._lab(palette._simulated(colors, tuple(map(tuple, matrix))))
        distances = np.linalg.norm(seen[:, None] - seen, axis=2) + 1e9 * np.eye(count)
        assert distances.min() > 10  # 2 is just noticeable side by side


def test_more_classes_than_colors_have_a_color_each():
    assert palette.colorblind_palette(255).shape == (255, 3)


def test_the_datasets_colors_are_the_default():
    colors = np.uint8([[1, 2, 3], [4, 5, 6]])
    assert palette.colors_of("dataset", colors) is colors
    assert palette.colors_of("colorblind", colors).tolist() == [[0, 0, 0], [0, 0, 255]]
