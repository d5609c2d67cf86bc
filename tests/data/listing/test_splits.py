"""Splits other than train and val: where their files are, which exist, which must not share an image."""

import numpy as np
import pytest
from PIL import Image

import toys
from segtrain.data import Folder
from segtrain.data.listing.splits import UnlabeledError, must_differ, require_split, split_key
from segtrain.errors import ConfigError, DataError

PLACES = {"train_images": "train", "train_labels": "trainannot", "val_images": "val", "val_labels": "valannot"}
TEST = {"test_images": "test", "test_labels": "testannot"}


@pytest.fixture
def root(tmp_path):
    """A street with three test images, test_0 to test_2."""
    root = toys.draw_folder(tmp_path)
    for folder in ("test", "testannot"):
        (root / folder).mkdir()
    for index in range(3):
        image, ids = toys.draw_pair(np.random.default_rng([5, index]), (48, 64), (1, 2, 3, 4), void=toys.FOLDER_IGNORE)
        Image.fromarray(image).save(root / "test" / f"test_{index}.png")
        Image.fromarray(ids).save(root / "testannot" / f"test_{index}.png")
    return root


def street(root, **options):
    return Folder(str(root), toys.FOLDER_CLASSES, ignore_class=toys.FOLDER_IGNORE, **{**PLACES, **options})


def names(dataset, split):
    return [sample.name for sample in dataset.samples(split)]


# Folder


def test_test_folders_are_a_split_and_leave_train_and_val_as_they_are(root):
    before, after = street(root), street(root, **TEST)
    assert (before.splits, after.splits) == (("train", "val"), ("train", "val", "test"))
    assert names(after, "test") == ["test_0", "test_1", "test_2"]
    for split in ("train", "val"):
        assert after.samples(split) == before.samples(split)


def test_a_test_list_names_images_of_the_training_folders(root):
    (root / "test.txt").write_text("train_3\n")
    assert names(street(root, test_list="test.txt"), "test") == ["train_3"]


def test_named_splits_have_folders_lists_or_both(root):
    (root / "night.txt").write_text("test_2\ntest_0\n")
    (root / "some.txt").write_text("train_1\n")
    splits = {
        "night": {"images": "test", "labels": "testannot", "list": "night.txt"},
        "some": {"list": "some.txt"},
        "all": {"images": "test", "labels": "testannot"},
    }
    dataset = street(root, splits=splits, **TEST)
    assert dataset.splits == ("train", "val", "test", "night", "some", "all")
    assert names(dataset, "night") == ["test_2", "test_0"]
    assert names(dataset, "some") == ["train_1"]
    assert names(dataset, "all") == names(dataset, "test")


def test_a_fraction_leaves_the_test_split_alone(root):
    options = {"val_images": None, "val_labels": None, "val_fraction": 0.5}
    dataset = street(root, **options, **TEST)
    assert sorted(names(dataset, "train") + names(dataset, "val")) == [f"train_{index}" for index in range(4)]
    assert len(names(dataset, "test")) == 3


def test_a_test_split_whose_folder_is_not_there_does_not_exist_but_can_be_asked_for(root):
    (root / "test").rename(root / "elsewhere")
    dataset = street(root, **TEST)
    assert dataset.splits == ("train", "val")
    with pytest.raises(DataError, match=r"looked for test\. Fix: test_images=\.\.\. "):
        dataset.samples("test")


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"test_images": "test"}, "test_labels is not given"),
        ({"test_images": "test", "test_labels": "nowhere"}, "/nowhere"),
        ({"test_images": "test", "test_labels": "others"}, "/others"),
        ({"test_images": "test", "test_labels": "nowhere", "test_list": "test.txt"}, "/nowhere"),
    ],
)
def test_a_test_split_without_label_files_is_refused_as_unlabeled(root, options, seen):
    (root / "test.txt").write_text("test_0\ntest_1\ntest_2\n")
    (root / "others").mkdir()
    (root / "trainannot" / "train_0.png").rename(root / "others" / "street.png")
    with pytest.raises(UnlabeledError) as caught:
        street(root, **options).samples("test")
    assert "split 'test' has no label files: 3 images in" in str(caught.value) and seen in str(caught.value)
    assert "Fix: split=val, or predict" in str(caught.value)


def test_labels_of_other_images_are_never_guessed(root):
    # The test image has the name of a training image: its labels are in the folder of the training labels.
    (root / "test" / "test_0.png").rename(root / "test" / "train_0.png")
    with pytest.raises(UnlabeledError):
        street(root, test_images="test").samples("test")


def test_one_missing_label_file_is_an_error_as_in_train(root):
    (root / "testannot" / "test_1.png").unlink()
    with pytest.raises(DataError, match="1 names without label file .*: test_1") as caught:
        street(root, **TEST).samples("test")
    assert not isinstance(caught.value, UnlabeledError)


def test_wrong_names_of_all_label_files_are_fixed_not_called_unlabeled(root):
    for path in (root / "testannot").iterdir():
        path.rename(path.with_name(f"{path.stem}_L.png"))
    with pytest.raises(DataError, match=r"Fix: label_suffix=_L\.png"):
        street(root, **TEST).samples("test")


def test_an_unknown_split_names_those_that_exist(root):
    with pytest.raises(DataError, match=r"no split 'nihgt': this dataset has train, val, test\. Fix: split=val$"):
        street(root, **TEST).samples("nihgt")
    with pytest.raises(DataError, match=r"has train, val\. Fix: split=val, or test_images=\.\.\. "):
        street(root).samples("test")


@pytest.mark.parametrize(
    ("splits", "seen"),
    [
        ({"test": {"list": "a.txt"}}, "splits: 'test'"),
        ({"a.b": {"list": "a.txt"}}, "splits: 'a.b'"),
        ({"night": {"lists": "a.txt"}}, "splits.night.lists: expected images, labels or list"),
        ({"night": {}}, "splits.night: no files"),
    ],
)
def test_named_splits_that_name_nothing_are_refused(root, splits, seen):
    with pytest.raises(ConfigError) as caught:
        street(root, splits=splits)
    assert str(caught.value).startswith(seen)


def test_a_line_of_a_named_list_is_fixed_by_its_own_key(root):
    (root / "night.txt").write_text("test_0 a b c\n")
    with pytest.raises(DataError, match=r"splits\.night\.list="):
        street(root, splits={"night": {"list": "night.txt"}}).samples("night")


# Names


def test_keys_of_named_splits_lie_below_splits():
    assert [split_key(each, "list") for each in ("val", "test", "night")] == [
        "val_list",
        "test_list",
        "splits.night.list",
    ]


def test_control_characters_of_a_split_are_shown_as_escapes():
    with pytest.raises(DataError, match=r"no split '\\x1b\[31m'"):
        require_split("\x1b[31m", ("train", "val"))


@pytest.mark.parametrize(
    ("one", "other", "images", "others", "expected"),
    [
        ("train", "val", {1, 2}, {2}, True),
        ("val", "test", {1, 2}, {1, 2}, True),
        ("train", "night", {1, 2}, {2, 3}, True),  # 3 is held out, 2 is not
        ("train", "trainval", {1, 2}, {1, 2, 3}, False),  # all of train is meant
        ("train", "some", {1, 2}, {2}, False),  # a part of train is meant
        ("test", "night", {1, 2}, {2, 3}, False),  # neither is trained on
        ("train", "train", {1}, {1}, False),
    ],
)
def test_which_splits_must_not_share_an_image(one, other, images, others, expected):
    assert must_differ(one, other, images, others) == must_differ(other, one, others, images) == expected
