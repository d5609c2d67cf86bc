"""Image and labels change together, to the pixel.

Most tests paint into the image where each pixel came from: channel 0 holds its row, 1 its column, 2 its label.
"""

import cv2
import numpy as np
import pytest

from data.augment.painting import Highest, Lowest, keyed, painted, ramps
from segtrain.data import Cihp, Cutout, Resize, ScaleCropFlip
from segtrain.data.augment import PADDING_COLOR, mirrored_classes
from segtrain.data.images.files import read_image
from segtrain.errors import ConfigError

VOID = 11
PAIRS = ((1, 2), (4, 3))


def augment(crop_size=(24, 32), **options):
    return ScaleCropFlip(crop_size, VOID, options.pop("flip_pairs", ()), **options)


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
    # An image of the padding's own color with labels of void stays what it is; nothing else becomes void.
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
    out, ids = augment(scale=(1, 1), flip=1, flip_pairs=PAIRS)(image, labels, keyed(0))
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
        _, ids = augment(scale=(1, 1), flip=0, flip_pairs=PAIRS)(image, labels, keyed(key))
        np.testing.assert_array_equal(ids, labels)


def test_mirrored_twice_is_the_same():
    image, labels = painted(24, 32)
    mirror = augment(scale=(1, 1), flip=1, flip_pairs=PAIRS)
    twice = mirror(*mirror(image, labels, keyed(0)), keyed(1))
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1], labels)


def test_void_stays_void_in_the_mirror():
    image, labels = painted(24, 32)
    labels[3, 0] = 255
    _, ids = augment(scale=(1, 1), flip=1, flip_pairs=PAIRS)(image, labels, keyed(0))
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
    # Widths of an image of 100 columns: 50..200, mean 125, standard deviation of 300 draws 43 / 17 = 2.5.
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
    # The labels themselves are the row (or column) that the image's channel tells.
    image, _ = painted(*size)
    position = np.ascontiguousarray(image[..., axis])
    for key in range(30):
        out, found = ScaleCropFlip((64, 64), 255, ())(image, position, keyed(key))
        inside = found != 255
        assert np.abs(out[inside][:, axis].astype(int) - found[inside]).max() <= 1


def test_scaled_labels_keep_their_pixel_centres():
    # At 1/3 pixel x of the result has its center on pixel 3 x + 1 of the source; nearest by corners takes 3 x.
    image, _ = painted(45, 60)
    for axis in (0, 1):
        position = np.ascontiguousarray(image[..., axis])
        out, found = ScaleCropFlip((30, 30), 255, (), scale=(1 / 3, 1 / 3), flip=0)(image, position, keyed(1))
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


# Turn and upside down -------------------------------------------------------------------------------------------


def test_a_quarter_turn_is_exact():
    image, labels = painted(41, 41)
    turn = ScaleCropFlip((41, 41), VOID, PAIRS, scale=(1, 1), flip=0, rotate=90)
    for rng, quarters in ((Highest(), 1), (Lowest(), -1)):
        out, ids = turn(image, labels, rng)
        np.testing.assert_array_equal(out, np.rot90(image, quarters))
        np.testing.assert_array_equal(ids, np.rot90(labels, quarters))  # a turn changes no left into right


def test_what_a_turn_shows_beyond_the_photograph_is_void_and_padding():
    # 45 degrees: the corners of the crop lie 41 / 2 * sqrt(2) = 29 pixels from its center, the image ends at 20.5.
    image, labels = painted(41, 41)
    out, ids = ScaleCropFlip((41, 41), VOID, (), scale=(1, 1), flip=0, rotate=45)(image, labels, Highest())
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert ids[corner] == VOID and tuple(out[corner]) == PADDING_COLOR
    # An octagon remains of the square: 2 (sqrt(2) - 1) = 83 % of it.
    assert (ids != VOID).mean() == pytest.approx(0.83, abs=0.02)


def test_a_turned_window_shows_the_photograph_around_it():
    # A corner of a window of 20 is 14.1 from its middle: turned by any angle, it reaches 4.1 pixels beyond the window.
    image, labels = painted(60, 60)
    inside = 0
    for key in range(60):
        straight, _ = ScaleCropFlip((20, 20), VOID, (), scale=(1, 1), flip=0)(image, labels, keyed(key))
        _, ids = ScaleCropFlip((20, 20), VOID, (), scale=(1, 1), flip=0, rotate=180)(image, labels, keyed(key))
        if straight[..., :2].min() >= 5 and straight[..., :2].max() <= 54:
            inside += 1
            assert VOID not in ids
    assert inside > 10


@pytest.mark.parametrize(
    ("flip", "vertical_flip", "turned", "swapped"),
    [
        (0, 0, lambda pixels: pixels, False),
        (1, 0, lambda pixels: pixels[:, ::-1], True),
        (0, 1, lambda pixels: pixels[::-1], True),  # upside down is a mirror image, too
        (1, 1, lambda pixels: pixels[::-1, ::-1], False),  # both are a turn by 180 degrees
    ],
)
def test_left_and_right_change_with_an_odd_number_of_mirrors(flip, vertical_flip, turned, swapped):
    image, labels = painted(24, 32)
    options = {"flip": flip, "vertical_flip": vertical_flip, "flip_pairs": PAIRS}
    out, ids = augment(scale=(1, 1), **options)(image, labels, keyed(0))
    new_id = np.array([0, 2, 1, 4, 3] if swapped else range(5))
    np.testing.assert_array_equal(out, turned(image))
    np.testing.assert_array_equal(ids, new_id[turned(labels)])


def test_a_vertical_flip_is_never_drawn_by_default():
    image, labels = painted(24, 32)
    assert all(augment(scale=(1, 1), flip=0)(image, labels, keyed(key))[0][0, 0, 0] == 0 for key in range(20))


@pytest.mark.parametrize("pair", ["0002190", "0005008", "0012008", "0026375", "0032190"])
def test_left_and_right_of_real_people_change_places(test_data, pair):
    dataset = Cihp(str(test_data / "cihp_sample" / "instance-level_human_parsing"))
    samples = {sample.name: sample for sample in dataset.samples("train")}
    assert len(samples) == 5
    image, labels = dataset.read(samples[pair])
    mirror = ScaleCropFlip(labels.shape, dataset.ignore_class, dataset.flip_pairs, scale=(1, 1), flip=1)
    out, ids = mirror(image, labels, keyed(0))
    np.testing.assert_array_equal(out, image[:, ::-1])
    # Arms 14 and 15, legs 16 and 17, shoes 18 and 19; all else stays.
    for old, new in (*((each, each) for each in range(14)), (14, 15), (15, 14), (16, 17), (17, 16), (18, 19), (19, 18)):
        np.testing.assert_array_equal(ids == new, (labels == old)[:, ::-1])
    assert {*np.unique(labels)} & {14, 15, 16, 17, 18, 19}
    np.testing.assert_array_equal(mirror(out, ids, keyed(0))[1], labels)


# To the pixel ---------------------------------------------------------------------------------------------------


def offsets(augmentation, height, width, key, image=None):
    """How far, in pixels of the source, each label of a crop comes from where its image's pixel comes from.

    The labels are first the columns and then the rows of the source. What is within a pixel of its rim is left out:
    there the image's interpolation has padding, or nothing, on one side.
    """
    whole, rows, columns = ramps(height, width)
    out, found_columns = augmentation(whole if image is None else image, columns, keyed(*key))
    _, found_rows = augmentation(whole if image is None else image, rows, keyed(*key))
    np.testing.assert_array_equal(found_columns == 255, found_rows == 255)
    inner = (found_columns > 0) & (found_columns < width - 1) & (found_rows > 0) & (found_rows < height - 1)
    inner &= (found_columns != 255) & (found_rows != 255)
    return np.abs(out[inner][:, :2] / 4 - np.stack([found_columns, found_rows], -1)[inner])


def test_2000_random_transforms_move_image_and_labels_together():
    # Nearest is at most half a pixel off. Rounding a level, a quarter of a pixel, is 1/8; OpenCV's positions have 1/32.
    for key in range(2000):
        rng = keyed(1, key)
        (height, width), crop_size = rng.integers(3, 61, 2), tuple(int(side) for side in rng.integers(8, 49, 2))
        augmentation = ScaleCropFlip(
            crop_size,
            255,
            (),
            scale=sorted(rng.uniform(0.25, 3, 2)),
            flip=0.5,
            vertical_flip=0.5,
            rotate=float(rng.choice([0, 0, 15, 180])),
        )
        found = offsets(augmentation, height, width, (2, key))
        assert not found.size or found.max() <= 0.5 + 1 / 8 + 1 / 32, (key, height, width, crop_size)


def test_resized_pairs_move_together():
    for key in range(300):
        rng = keyed(1, key)
        (height, width), crop_size = rng.integers(3, 61, 2), tuple(int(side) for side in rng.integers(4, 99, 2))
        found = offsets(Resize(crop_size, steps={}), height, width, (2, key)) if max(crop_size) else None
        assert not found.size or found.max() <= 0.5 + 1 / 8 + 1 / 32


# An image decoded smaller -------------------------------------------------------------------------------------


def smaller(image, step):
    """What the JPEG decoder gives at 1/step: means of blocks, those at the rim of what there is."""
    height, width = (-(-side // step) * step for side in image.shape[:2])
    wide = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), "edge").astype(float)
    return wide.reshape(height // step, step, width // step, step, 3).mean((1, 3)).round().astype(np.uint8)


@pytest.mark.parametrize(("scale", "step"), [(2, 1), (0.6, 1), (0.5, 2), (0.3, 2), (0.25, 4), (0.2, 4), (0.1, 8)])
def test_no_photograph_is_decoded_smaller_than_it_is_shown(scale, step):
    assert augment(scale=(scale, scale)).reduction(keyed(0)) == step


def test_the_reduction_is_that_of_the_draw():
    many = augment(scale=(0.1, 1))
    for key in range(40):
        scale = keyed(key).uniform(0.1, 1)
        step = many.reduction(keyed(key))
        assert step * scale <= 1 and (step == 8 or 2 * step * scale > 1)


@pytest.mark.parametrize("options", [{}, {"rotate": 30}, {"max_class_share": 0.4, "class_balanced": 0.5}])
def test_a_smaller_photograph_changes_neither_window_nor_labels(options):
    for key in range(100):
        (height, width), make = keyed(1, key).integers(9, 61, 2), ScaleCropFlip((16, 20), 255, ())
        make = ScaleCropFlip((16, 20), 255, (), scale=(0.1, 0.7), **options)
        image, labels = painted(height, width, key)
        step = make.reduction(keyed(2, key))
        whole, of_smaller = make(image, labels, keyed(2, key)), make(smaller(image, step), labels, keyed(2, key))
        np.testing.assert_array_equal(whole[1], of_smaller[1])


@pytest.mark.parametrize("rotate", [0, 30])
def test_a_smaller_photograph_lies_where_its_labels_lie(rotate):
    seen = set()
    for key in range(200):
        height, width = keyed(1, key).integers(30, 61, 2)
        make = ScaleCropFlip((16, 20), 255, (), scale=(0.11, 0.5), rotate=rotate)
        step = make.reduction(keyed(2, key))
        image, rows, columns = ramps(height, width)
        out, found = make(smaller(image, step), columns, keyed(2, key))
        # Away from the rim, where a block is wider than what is left of the image or next to padding.
        inner = (found >= step) & (found < width - 2 * step)
        _, found_rows = make(smaller(image, step), rows, keyed(2, key))
        inner &= (found_rows >= step) & (found_rows < height - 2 * step)
        # Nearest is half a pixel off, a level a quarter: rounded twice.
        assert (np.abs(out[inner][:, 0] / 4.0 - found[inner]) <= 0.5 + 1 / 4 + step / 32).all()
        assert (np.abs(out[inner][:, 1] / 4.0 - found_rows[inner]) <= 0.5 + 1 / 4 + step / 32).all()
        seen.add(step)
    assert seen == {2, 4, 8}


def test_real_jpegs_decoded_smaller_show_the_same_crop(tmp_path):
    # Slow ramps survive JPEG within a few levels; at 2 levels a pixel that would show a shift of 2 pixels.
    rows, columns = np.indices((123, 125), np.uint8)
    image = np.stack([2 * columns, 2 * rows, np.full_like(rows, 90)], -1)
    path = tmp_path / "ramps.jpg"
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    for scale, step in ((0.5, 2), (0.25, 4), (0.125, 8)):
        make = ScaleCropFlip((14, 15), 255, (), scale=(scale, scale), flip=0)
        assert make.reduction(keyed(3)) == step
        out, found = make(read_image(path, reduction=step), columns, keyed(3))
        assert np.abs(out[..., 0] / 2.0 - found).max() <= 0.5 + 1.5


# Randomness ---------------------------------------------------------------------------------------------------


def test_one_key_gives_one_result():
    image, labels = painted(60, 70)
    first, again = (augment()(image, labels, keyed(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_other_keys_give_other_results():
    image, labels = painted(60, 70)
    assert len({augment()(image, labels, keyed(key))[0].tobytes() for key in range(20)}) == 20


@pytest.mark.parametrize("scale", [0.3, 1, 3])
@pytest.mark.parametrize(("flip", "vertical_flip"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("rotate", [0, 30])
def test_a_crop_is_written_into_its_part_of_a_batch_and_nowhere_else(scale, flip, vertical_flip, rotate):
    image, labels = painted(60, 70)
    options = {"scale": (scale, scale), "flip": flip, "vertical_flip": vertical_flip, "rotate": rotate}
    changes = augment(**options, flip_pairs=PAIRS, steps={"cutout": Cutout(VOID, probability=0.5)})
    images, ids = np.full((4, 24, 32, 3), 77, np.uint8), np.full((4, 24, 32), 77, np.uint8)
    for key in (1, 2):
        changes.write(image, labels, keyed(key), None, (images[key], ids[key]))
    for key in (1, 2):
        expected = changes(image, labels, keyed(key))
        np.testing.assert_array_equal(images[key], expected[0])
        np.testing.assert_array_equal(ids[key], expected[1])
    assert (images[[0, 3]] == 77).all() and (ids[[0, 3]] == 77).all()


def test_a_step_that_gives_another_size_is_told_not_spread_over_the_crop():
    def grey(image, labels, rng, another=None):
        return image[..., :1], labels

    with pytest.raises(ValueError, match=r"augmentation gave \(24, 32, 1\), expected \(24, 32, 3\), as crop_size asks"):
        augment(steps={"gray": grey})(*painted(60, 70), keyed(0))


def test_the_source_is_left_as_it_was():
    image, labels = painted(24, 32)
    copies = image.copy(), labels.copy()
    augment(flip=1, flip_pairs=PAIRS)(image, labels, keyed(0))
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(labels, copies[1])


@pytest.mark.parametrize("scale", [(2, 0.5), (0, 1), (-1, 1), (1,), (1, 2, 3), (float("nan"), 1), (0.5, float("inf"))])
def test_bad_scale_is_refused(scale):
    with pytest.raises(ConfigError, match=r"scale=.*: expected"):
        augment(scale=scale)


@pytest.mark.parametrize("flip", [-0.1, 1.1, float("nan")])
def test_bad_flip_is_refused(flip):
    with pytest.raises(ConfigError, match=r"flip=.*: expected"):
        augment(flip=flip)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"vertical_flip": 2}, r"vertical_flip=2: expected"),
        ({"rotate": -1}, r"rotate=-1: expected"),
        ({"rotate": float("nan")}, r"rotate=nan: expected"),
        ({"max_class_share": 0}, r"max_class_share=0: expected"),
        ({"class_balanced": -0.5}, r"class_balanced=-0\.5: expected"),
    ],
)
def test_other_bad_values_are_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        augment(**option)


# Resize -------------------------------------------------------------------------------------------------------


def test_resize_squeezes_the_whole_photograph():
    image, labels = painted(60, 90)
    out, ids = Resize((20, 30))(image, labels, keyed(0))
    assert out.shape == (20, 30, 3) and ids.shape == (20, 30)
    # One third: pixel x has its center on 3 x + 1.
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
