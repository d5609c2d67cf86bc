"""Steps that put something else into a crop: pixels and labels come from the same position, always."""

import numpy as np
import pytest

from data.augment.painting import Highest, keyed, painted
from segtrain.data import CopyPaste, CutMix, Cutout, ScaleCropFlip
from segtrain.data.augment import PADDING_COLOR
from segtrain.errors import ConfigError

VOID = 255


def pair(number, size=(30, 40), ids=5):
    """A crop whose blue channel is the label, whose red is the sample's number and whose green tells the column."""
    labels = np.random.default_rng(number).integers(0, ids, size, np.uint8)
    columns = np.indices(size, np.uint8)[1]
    return np.stack([np.full_like(labels, number), columns, labels], -1), labels


def other(rng):
    return pair(9)


# Cutout -----------------------------------------------------------------------------------------------------------


def test_what_is_hidden_is_void_and_nothing_else():
    image, labels = pair(1)
    for key in range(30):
        out, ids = Cutout(VOID, count=2, probability=1)(image, labels, keyed(key))
        hidden = ids == VOID
        assert hidden.any() and (out[hidden] == PADDING_COLOR).all()
        np.testing.assert_array_equal(out[~hidden], image[~hidden])
        np.testing.assert_array_equal(ids[~hidden], labels[~hidden])


def test_rectangles_have_their_size_and_lie_anywhere():
    # A third of 30 x 40: 10 x 13 pixels.
    image, labels = pair(1)
    tops = set()
    for key in range(200):
        _, ids = Cutout(VOID, size=(1 / 3, 1 / 3), probability=1)(image, labels, keyed(key))
        rows, columns = np.nonzero(ids == VOID)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1, len(rows)) == (10, 13, 130)
        tops.add(rows.min())
    assert {0, 20} <= tops and len(tops) > 15


# CutMix -----------------------------------------------------------------------------------------------------------


def test_a_rectangle_of_the_other_sample_is_put_in_the_same_place():
    image, labels = pair(1)
    other_image, other_labels = pair(9)
    shares = []
    for key in range(300):
        out, ids = CutMix(1)(image, labels, keyed(key), other)
        mixed = out[..., 0] == 9
        np.testing.assert_array_equal(out, np.where(mixed[..., None], other_image, image))
        np.testing.assert_array_equal(ids, np.where(mixed, other_labels, labels))
        rows, columns = np.nonzero(mixed)
        assert len(rows) == 0 or len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        shares.append(mixed.mean())
    # Evenly from 0 to 1: mean 1/2, deviation 0.29; of 300 draws 0.017.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06) and np.std(shares) == pytest.approx(0.29, abs=0.04)


# CopyPaste --------------------------------------------------------------------------------------------------------


def test_chosen_classes_are_pasted_with_their_pixels():
    image, labels = pair(1)
    other_image, other_labels = pair(9)
    out, ids = CopyPaste(VOID, classes=[2, 4, 17], probability=1)(image, labels, keyed(0), other)
    pasted = np.isin(other_labels, [2, 4])
    np.testing.assert_array_equal(out, np.where(pasted[..., None], other_image, image))
    np.testing.assert_array_equal(ids, np.where(pasted, other_labels, labels))


@pytest.mark.parametrize(("present", "pasted"), [(1, 1), (2, 1), (5, 3)])
def test_half_of_the_classes_are_pasted_by_default(present, pasted):
    image, labels = pair(1)
    seen = set()
    for key in range(60):
        out, _ = CopyPaste(VOID, probability=1)(image, labels, keyed(key), lambda rng: pair(9, ids=present))
        classes = {*np.unique(pair(9, ids=present)[1][out[..., 0] == 9])}
        assert len(classes) == pasted
        seen |= classes
    assert seen == set(range(present))


def test_void_is_never_pasted():
    image, labels = pair(1)
    other_image, other_labels = pair(9, ids=2)
    other_labels[5:20] = VOID
    for key in range(30):
        out, ids = CopyPaste(VOID, probability=1)(image, labels, keyed(key), lambda rng: (other_image, other_labels))
        assert VOID not in ids
        assert (out[5:20, :, 0] == 1).all()


def test_a_sample_without_any_label_pastes_nothing():
    image, labels = pair(1)
    empty = pair(9)[0], np.full((30, 40), VOID, np.uint8)
    out, ids = CopyPaste(VOID, probability=1)(image, labels, keyed(0), lambda rng: empty)
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(ids, labels)


# In a crop --------------------------------------------------------------------------------------------------------


def test_the_other_sample_is_cropped_as_any_before_it_is_mixed_in():
    # Its image is of another size; it is mirrored, too, with left and right changed over.
    image, labels = painted(24, 32)
    whole, ids = painted(70, 80, seed=5)
    seen = []

    def step(image, labels, rng, another=None):
        seen.append(another(rng))
        return image, labels

    crop = ScaleCropFlip((24, 32), VOID, ((1, 2),), scale=(1, 1), flip=1, steps={"look": step})
    crop(image, labels, keyed(0), lambda rng: (whole, ids))
    [(found, found_ids)] = seen
    assert found.shape == (24, 32, 3) and found_ids.shape == (24, 32)
    rows, columns = found[..., 0].astype(int), found[..., 1].astype(int)
    np.testing.assert_array_equal(found, whole[rows, columns])
    assert (np.diff(columns) == -1).all()
    np.testing.assert_array_equal(found_ids, np.array([0, 2, 1, 3, 4])[ids[rows, columns]])


def test_a_crop_of_two_samples_has_the_labels_of_both_to_the_pixel():
    image, labels = painted(40, 50)
    whole, ids = painted(33, 60, seed=5)
    whole[..., 2] += 100  # channel 2 tells the label, and now the sample
    for step in (CutMix(1), CopyPaste(VOID, probability=1)):
        mixed = 0
        for key in range(40):
            crop = ScaleCropFlip((24, 32), VOID, (), scale=(1, 1), steps={"mix": step, "hide": Cutout(VOID)})
            out, found = crop(image, labels, keyed(key), lambda rng: (whole, ids))
            inside = found != VOID
            np.testing.assert_array_equal(out[inside][:, 2] % 100, found[inside])
            mixed += bool((out[inside][:, 2] >= 100).any())
        assert mixed > 20


# All --------------------------------------------------------------------------------------------------------------

STEPS = [Cutout(VOID, probability=1), CutMix(1), CopyPaste(VOID, probability=1)]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_one_key_gives_one_result_and_the_source_is_left_as_it_was(step):
    image, labels = pair(1)
    copies, others = (image.copy(), labels.copy()), pair(9)
    results = [step(image, labels, keyed(3), lambda rng: others) for _ in range(2)]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    for found, expected in ((image, copies[0]), (labels, copies[1]), (others[0], pair(9)[0]), (others[1], pair(9)[1])):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "make", [lambda p: Cutout(VOID, probability=p), CutMix, lambda p: CopyPaste(VOID, probability=p)]
)
def test_a_step_happens_with_its_probability(make):
    # Of 300 with probability 0.3: 90, deviation 8.
    image, labels = pair(1)
    changed = sum(make(0.3)(image, labels, keyed(key), other)[0] is not image for key in range(300))
    assert 55 < changed < 125
    assert make(0.0)(image, labels, Highest())[0] is image  # and reads no other sample


@pytest.mark.parametrize("step", STEPS[1:], ids=lambda step: type(step).__name__)
def test_mixing_without_another_sample_is_a_wrong_call(step):
    with pytest.raises(ValueError, match="needs another sample"):
        step(*pair(1), keyed(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cutout(VOID, count=0), r"count=0: expected"),
        (lambda: Cutout(VOID, size=(0.5, 1.2)), r"size=\(0\.5, 1\.2\): expected"),
        (lambda: CutMix(2), r"probability=2: expected"),
        (lambda: CopyPaste(VOID, classes=[255]), r"classes=\[255\]: expected ids of the dataset's classes"),
        (lambda: CopyPaste(VOID, classes=[300]), r"classes=\[300\]"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
