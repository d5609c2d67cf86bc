"""Photograph and labels change together, to the pixel.

Most tests paint into the photograph where each pixel came from: channel 0 holds its row, 1 its column, 2 its label.
"""

import numpy as np
import pytest

from segtrain.data import Resize, ScaleCropFlip
from segtrain.data.augment import PADDING_COLOR, mirrored_classes
from segtrain.errors import ConfigError

VOID = 11
PAIRS = ((1, 2), (4, 3))


def painted(height, width, seed=0):
    """Random ids 0-4 and the photograph that tells row, column and id of each pixel."""
    labels = np.random.default_rng(seed).integers(0, 5, (height, width), np.uint8)
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, labels], -1).astype(np.uint8), labels


def augment(crop_size=(24, 32), **options):
    return ScaleCropFlip(crop_size, VOID, options.pop("swap_pairs", ()), **options)


def keyed(*key):
    return np.random.default_rng(key)


# Crop and padding at scale 1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(60, 70), (24, 32), (10, 70), (60, 12), (5, 7)])
def test_image_and_labels_are_cropped_and_padded_together(size):
    image, labels = painted(*size)
    for key in range(20):
        out, ids = augment(scale=(1, 1), flip=0)(image, labels, keyed(key))
        inside = ids != VOID
        np.testing.assert_array_equal(out[inside][:, 2], ids[inside])
        rows, columns = out[inside][:, 0], out[inside][:, 1]
        np.testing.assert_array_equal(labels[rows, columns], ids[inside])
        # What is inside is one unbroken window of the source, as large as can be.
        taken = (min(24, size[0]), min(32, size[1]))
        block = out[inside].reshape(*taken, 3).astype(int)
        np.testing.assert_array_equal(block[..., 0] - block[0, 0, 0], np.indices(taken)[0])
        np.testing.assert_array_equal(block[..., 1] - block[0, 0, 1], np.indices(taken)[1])


def test_padding_is_void_in_the_labels_and_the_mean_colour_in_the_image():
    image, labels = painted(10, 12)
    out, ids = augment(scale=(1, 1), flip=0)(image, labels, keyed(0))
    assert (ids == VOID).sum() == 24 * 32 - 10 * 12
    assert (out[ids == VOID] == PADDING_COLOR).all()


def test_source_pixels_are_never_taken_for_padding():
    # A photograph of the padding's own colour with labels of void stays what it is; nothing else becomes void.
    image, labels = painted(30, 40)
    _, ids = augment(scale=(1, 1))(image, labels, keyed(0))
    assert VOID not in ids


def test_every_window_is_drawn():
    # 10 rows in a crop of 8 begin at 0, 1 or 2; 4 columns in a crop of 6 stand at 0, 1 or 2.
    image, labels = painted(10, 4)
    tops, lefts = set(), set()
    for key in range(100):
        out, ids = augment((8, 6), scale=(1, 1), flip=0)(image, labels, keyed(key))
        inside = ids[0] != VOID
        tops.add(int(out[0, inside.argmax(), 0]))
        lefts.add(int(inside.argmax()))
    assert tops == lefts == {0, 1, 2}


# Mirror -------------------------------------------------------------------------------------------------------


def test_mirror_turns_columns_and_changes_left_into_right():
    image, labels = painted(24, 32)
    out, ids = augment(scale=(1, 1), flip=1, swap_pairs=PAIRS)(image, labels, keyed(0))
    np.testing.assert_array_equal(out, image[:, ::-1])
    new_id = np.array([0, 2, 1, 4, 3])  # 1 <-> 2, 3 <-> 4, 0 stays
    np.testing.assert_array_equal(ids, new_id[labels[:, ::-1]])
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}


def test_mirror_without_pairs_keeps_ids():
    image, labels = painted(24, 32)
    _, ids = augment(scale=(1, 1), flip=1)(image, labels, keyed(0))
    np.testing.assert_array_equal(ids, labels[:, ::-1])


def test_without_mirror_nothing_changes_sides():
    image, labels = painted(24, 32)
    for key in range(10):
        _, ids = augment(scale=(1, 1), flip=0, swap_pairs=PAIRS)(image, labels, keyed(key))
        np.testing.assert_array_equal(ids, labels)


def test_mirrored_twice_is_the_same():
    image, labels = painted(24, 32)
    mirror = augment(scale=(1, 1), flip=1, swap_pairs=PAIRS)
    twice = mirror(*mirror(image, labels, keyed(0)), keyed(1))
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1], labels)


def test_void_stays_void_in_the_mirror():
    image, labels = painted(24, 32)
    labels[3, 0] = 255
    _, ids = augment(scale=(1, 1), flip=1, swap_pairs=PAIRS)(image, labels, keyed(0))
    assert ids[3, 31] == 255


def test_half_of_the_photographs_are_mirrored():
    # Of 400 with probability 0.5: 200, standard deviation 10.
    image, labels = painted(24, 32)
    flips = [augment(scale=(1, 1))(image, labels, keyed(key))[0][0, 0, 1] == 31 for key in range(400)]
    assert 150 < sum(flips) < 250


def test_mirrored_classes_is_its_own_inverse():
    table = mirrored_classes(((14, 15), (16, 17), (18, 19)))
    assert table.dtype == np.uint8 and table.shape == (256,)
    assert table[[13, 14, 15, 18, 19, 20, 255]].tolist() == [13, 15, 14, 19, 18, 20, 255]
    np.testing.assert_array_equal(table[table], np.arange(256))


# Scale --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "size"), [(0.5, (5, 10)), (1, (10, 20)), (2, (20, 40))])
def test_scale_is_the_factor_of_both_sides(scale, size):
    image, labels = painted(10, 20)
    _, ids = augment((50, 60), scale=(scale, scale))(image, labels, keyed(0))
    inside = ids != VOID
    assert (inside.any(1).sum(), inside.any(0).sum()) == size


def test_scales_fill_their_range_evenly():
    # Widths of a photograph of 100 columns: 50..200, mean 125, standard deviation of 300 draws 43 / 17 = 2.5.
    image, labels = painted(10, 100)
    widths = [(augment((32, 256), flip=0)(image, labels, keyed(key))[1] != VOID).any(0).sum() for key in range(300)]
    assert min(widths) < 55 and max(widths) > 195
    assert np.mean(widths) == pytest.approx(125, abs=10)


def test_scaled_photographs_keep_their_proportions():
    image, labels = painted(50, 100)
    for key in range(30):
        inside = augment((120, 220))(image, labels, keyed(key))[1] != VOID
        height, width = inside.any(1).sum(), inside.any(0).sum()
        assert abs(width - 2 * height) <= 2  # each side is rounded: at most half a pixel, doubled for the height


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
@pytest.mark.parametrize("size", [(90, 120), (30, 200), (200, 30)])
def test_scaled_labels_stay_within_a_pixel_of_the_image(size, axis):
    # The labels themselves are the row (or column) that the photograph's channel tells.
    image, _ = painted(*size)
    place = np.ascontiguousarray(image[..., axis])
    for key in range(30):
        out, found = ScaleCropFlip((64, 64), 255, ())(image, place, keyed(key))
        inside = found != 255
        assert np.abs(out[inside][:, axis].astype(int) - found[inside]).max() <= 1


def test_scaled_labels_keep_their_pixel_centres():
    # At 1/3 pixel x of the result has its centre on pixel 3 x + 1 of the source; nearest by corners takes 3 x.
    image, _ = painted(45, 60)
    for axis in (0, 1):
        place = np.ascontiguousarray(image[..., axis])
        out, found = ScaleCropFlip((30, 30), 255, (), scale=(1 / 3, 1 / 3), flip=0)(image, place, keyed(1))
        inside = found != 255
        assert set(found[inside]) == {*range(1, 45 if axis == 0 else 60, 3)}
        np.testing.assert_array_equal(out[inside][:, axis], found[inside])


def test_only_ids_of_the_source_appear():
    # Interpolation between 0 and 4 would make 1, 2 or 3.
    for key in range(60):
        rng = keyed(key)
        image, labels = painted(*rng.integers(1, 80, 2), seed=key)
        labels = np.where(labels > 2, 4, 0).astype(np.uint8)
        _, ids = augment()(image, labels, rng)
        assert set(np.unique(ids)) <= {0, 4, VOID}


def test_result_has_the_crop_size_for_every_source_size():
    sizes = [(1, 1), (1, 70), (70, 1), *np.random.default_rng(0).integers(1, 71, (80, 2))]
    for key, (height, width) in enumerate(sizes):
        image, labels = painted(height, width)
        out, ids = augment((33, 47))(image, labels, keyed(key))
        assert out.shape == (33, 47, 3) and ids.shape == (33, 47)
        assert out.dtype == ids.dtype == np.uint8
        assert (ids != VOID).any()


# Randomness ---------------------------------------------------------------------------------------------------


def test_one_key_gives_one_result():
    image, labels = painted(60, 70)
    first, again = (augment()(image, labels, keyed(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_other_keys_give_other_results():
    image, labels = painted(60, 70)
    assert len({augment()(image, labels, keyed(key))[0].tobytes() for key in range(20)}) == 20


def test_the_source_is_left_as_it_was():
    image, labels = painted(24, 32)
    copies = image.copy(), labels.copy()
    augment(flip=1, swap_pairs=PAIRS)(image, labels, keyed(0))
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(labels, copies[1])


@pytest.mark.parametrize("scale", [(2, 0.5), (0, 1), (-1, 1), (1,), (1, 2, 3), (float("nan"), 1), (0.5, float("inf"))])
def test_bad_scale_is_refused(scale):
    with pytest.raises(ConfigError, match=r"augment\.scale=.*expected the smallest and the largest"):
        augment(scale=scale)


@pytest.mark.parametrize("flip", [-0.1, 1.1, float("nan")])
def test_bad_flip_is_refused(flip):
    with pytest.raises(ConfigError, match=r"augment\.flip=.*probability"):
        augment(flip=flip)


# Resize -------------------------------------------------------------------------------------------------------


def test_resize_squeezes_the_whole_photograph():
    image, labels = painted(60, 90)
    out, ids = Resize((20, 30))(image, labels, keyed(0))
    assert out.shape == (20, 30, 3) and ids.shape == (20, 30)
    # One third: pixel x has its centre on 3 x + 1.
    np.testing.assert_array_equal(out[..., :2], image[1::3, 1::3, :2])
    np.testing.assert_array_equal(ids, labels[1::3, 1::3])


def test_resize_does_not_keep_proportions_and_is_not_random():
    image, labels = painted(10, 50)
    results = [Resize((40, 30))(image, labels, keyed(key)) for key in range(2)]
    assert results[0][0].shape == (40, 30, 3)
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_resized_labels_hold_only_ids_of_the_source():
    image, labels = painted(17, 23)
    ids = Resize((40, 30))(image, np.where(labels > 2, 4, 0).astype(np.uint8), keyed(0))[1]
    assert set(np.unique(ids)) == {0, 4}


def test_bilinear_labels_are_cut_to_whole_numbers():
    # From 2 to 4 pixels the weights are 1, 3/4 1/4, 1/4 3/4, 1: between 0 and 10 lie 2.5 and 7.5.
    image, labels = np.zeros((1, 2, 3), np.uint8), np.array([[0, 10]], np.uint8)
    ids = Resize((1, 4), labels_interpolation="bilinear")(image, labels, keyed(0))[1]
    assert ids.dtype == np.uint8 and ids.tolist() == [[0, 2, 7, 10]]


@pytest.mark.tensorflow
@pytest.mark.parametrize("size", [(13, 18), (5, 6), (7, 4)])
def test_bilinear_labels_are_those_of_the_keras_io_program(size):
    import tensorflow as tf

    labels = np.random.default_rng(0).integers(0, 20, (7, 9), np.uint8)
    fractions = tf.image.resize(labels[..., None], size).numpy()[..., 0]
    found = Resize(size, labels_interpolation="bilinear")(np.zeros((7, 9, 3), np.uint8), labels, keyed(0))[1]
    # Within rounding of a whole number either side of it is right.
    clear = np.abs(fractions - np.round(fractions)) > 1e-4
    np.testing.assert_array_equal(found[clear], np.floor(fractions[clear]))
    np.testing.assert_allclose(found[~clear], fractions[~clear], atol=1.001)
    assert clear.sum() > 10


def test_unknown_interpolation_is_refused():
    with pytest.raises(ConfigError, match=r"labels_interpolation=cubic: expected nearest or bilinear"):
        Resize((4, 4), labels_interpolation="cubic")


@pytest.mark.tensorflow
@pytest.mark.parametrize("make", [augment, Resize], ids=["ScaleCropFlip", "Resize"])
def test_eager_and_in_tf_data_are_the_same(make):
    import tensorflow as tf

    change = make((24, 32))
    image, labels = painted(40, 50)

    def load(key):
        return change(image, labels, keyed(int(key)))

    pipeline = tf.data.Dataset.range(6).map(
        lambda key: tf.numpy_function(load, [key], (tf.uint8, tf.uint8)), num_parallel_calls=2
    )
    for key, (out, ids) in enumerate(pipeline):
        expected = change(image, labels, keyed(key))
        np.testing.assert_array_equal(out, expected[0])
        np.testing.assert_array_equal(ids, expected[1])
