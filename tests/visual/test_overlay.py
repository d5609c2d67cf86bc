"""Overlays and saved predictions, by their pixels."""

import numpy as np
import pytest
from PIL import Image

from segtrain.data.images.files import read_labels
from segtrain.visual.overlay import blend, draw_panels, write_labels

NAMES = ("wall", "door", "roof", "tree")
# None of these is a mixture of the others with black, white or gray text.
COLORS = np.array([(200, 0, 0), (0, 190, 10), (20, 0, 180), (170, 160, 0)], np.uint8)


# Blend --------------------------------------------------------------------------------------------------------


def test_blend_is_the_weighted_sum():
    # 0.35 * 100 + 0.65 * (200, 0, 0) = (165, 35, 35)
    image = np.full((1, 2, 3), 100, np.uint8)
    assert blend(image, np.array([[0, 0]], np.uint8), COLORS, 0.65)[0, 0].tolist() == [165, 35, 35]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.65, 1.0])
def test_blend_follows_the_formula_everywhere(alpha):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (9, 7, 3), np.uint8), rng.integers(0, 4, (9, 7), np.uint8)
    expected = (1 - alpha) * image + alpha * COLORS[labels]
    found = blend(image, labels, COLORS, alpha)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-6)


@pytest.mark.parametrize("void", [4, 11, 255])
def test_void_keeps_the_photograph(void):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    labels = np.zeros((4, 5), np.uint8)
    labels[1, 2] = void
    found = blend(image, labels, COLORS, 0.65)
    np.testing.assert_array_equal(found[1, 2], image[1, 2])
    assert (found[0, 0] != image[0, 0]).any()


def test_black_background_darkens_as_in_the_keras_io_program():
    # Class 0 of CIHP is black; it is blended as any class.
    image = np.full((1, 1, 3), 200, np.uint8)
    black = np.zeros((1, 3), np.uint8)
    assert blend(image, np.zeros((1, 1), np.uint8), black, 0.65)[0, 0].tolist() == [70, 70, 70]


# Panels -------------------------------------------------------------------------------------------------------


def panels(labels, predicted, names=NAMES, colors=COLORS, image=None, alpha=0.5):
    if image is None:
        image = np.full((*labels.shape, 3), 90, np.uint8)
    return np.asarray(draw_panels(image, labels, predicted, names, colors, alpha, "a caption"))


def amount(picture, color):
    return int((picture == color).all(-1).sum())


def test_legend_shows_exactly_the_classes_present_in_truth_or_prediction():
    labels, predicted = np.zeros((40, 60), np.uint8), np.full((40, 60), 2, np.uint8)
    labels[:5] = 255
    picture = panels(labels, predicted)
    # A swatch is 16 x 16 with a rim of one pixel; the panels show mixtures with the image only.
    assert [amount(picture, color) for color in COLORS] == [14 * 14, 0, 14 * 14, 0]


@pytest.mark.parametrize("void", [4, 255])
def test_void_has_no_place_in_the_legend(void):
    void = np.full((40, 60), void, np.uint8)
    picture = panels(void, np.full((40, 60), 3, np.uint8))
    assert [amount(picture, color) > 0 for color in COLORS] == [False, False, False, True]


def test_legend_of_many_classes_keeps_all_swatches_in_the_picture():
    names = [f"a rather long name of class {index}" for index in range(20)]
    colors = np.array([(250 - 10 * index, 7 * index, 101 + index) for index in range(20)], np.uint8)
    labels = np.resize(np.arange(20, dtype=np.uint8), (330, 40))
    picture = panels(labels, labels, names, colors)
    assert [amount(picture, color) for color in colors] == [196] * 20


def test_panels_are_photograph_truth_and_prediction_from_left_to_right():
    # Panels of 400 x 330 pixels are drawn at their own size, 8 pixels apart.
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (330, 400, 3), np.uint8)
    labels, predicted = rng.integers(0, 4, (2, 330, 400), np.uint8)
    picture = panels(labels, predicted, image=image, alpha=0.65)
    assert picture.shape[1] == 3 * 400 + 4 * 8
    top = 8 + 2 * 24
    shown = [picture[top : top + 330, 8 + place * 408 :][:, :400] for place in range(3)]
    np.testing.assert_array_equal(shown[0], image)
    np.testing.assert_array_equal(shown[1], blend(image, labels, COLORS, 0.65))
    np.testing.assert_array_equal(shown[2], blend(image, predicted, COLORS, 0.65))


def test_small_photographs_are_enlarged_in_whole_squares():
    # 320 / 64 = 5: every pixel becomes 5 x 5.
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    void = np.full((48, 64), 255, np.uint8)
    picture = panels(void, void, image=image)
    top = 8 + 2 * 24
    for place in range(3):
        left = 8 + place * (320 + 8)
        np.testing.assert_array_equal(picture[top : top + 240 : 5, left : left + 320 : 5], image)
        np.testing.assert_array_equal(picture[top + 4 : top + 240 : 5, left + 4 : left + 320 : 5], image)


def test_caption_and_titles_are_written():
    void = np.full((330, 400), 255, np.uint8)
    picture = panels(void, void)
    caption, titles = picture[:28], picture[28:56]
    assert (caption < 128).any()
    assert all((titles[:, left : left + 300] < 128).any() for left in (8, 416, 824))


# Saved predictions --------------------------------------------------------------------------------------------


def test_written_labels_are_read_back_id_for_id(tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (31, 17), np.uint8)
    write_labels(tmp_path / "a.png", labels, COLORS)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P" and picture.size == (17, 31)
        np.testing.assert_array_equal(np.asarray(picture), labels)


def test_written_labels_show_the_classes_colours(tmp_path):
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    write_labels(tmp_path / "a.png", labels, COLORS)
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), COLORS[labels])


def test_writing_leaves_the_labels_alone(tmp_path):
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    write_labels(tmp_path / "a.png", labels, COLORS)
    assert labels.tolist() == [[0, 1], [2, 3]]
