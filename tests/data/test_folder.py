"""Plain folders of photographs and ids."""

import numpy as np
import pytest

import toys
from segtrain.data import Folder
from segtrain.data.colormap import voc_colormap
from segtrain.errors import ConfigError, DataError

FOLDERS = ("train", "trainannot", "val", "valannot")


def street(root, **options):
    return Folder(str(root), toys.FOLDER_CLASSES, *FOLDERS, **{"ignore_class": 11, **options})


def test_void_is_kept_and_the_rest_are_classes(folder_root):
    dataset = street(folder_root)
    found = np.concatenate([dataset.read(sample)[1].ravel() for sample in dataset.samples("train")])
    assert set(found) == {0, 1, 2, 3, 4, 11}


def test_void_that_is_not_named_is_a_stranger(folder_root):
    dataset = street(folder_root, ignore_class=255)
    with pytest.raises(DataError, match=r"trainannot/train_0\.png: unknown value 11 "):
        dataset.read(dataset.samples("train")[0])


def test_one_class_too_few_is_noticed(folder_root):
    dataset = Folder(str(folder_root), toys.FOLDER_CLASSES[:4], *FOLDERS, ignore_class=11)
    with pytest.raises(DataError, match=r"unknown value 4 .*expected 0\.\.3, 11"):
        dataset.read(dataset.samples("train")[0])


def test_colours_are_vocs_where_none_are_given(folder_root):
    np.testing.assert_array_equal(street(folder_root).colors, voc_colormap(5))


def test_given_colours_and_pairs_are_used(folder_root):
    colors = [[10 * index, 0, 255] for index in range(5)]
    dataset = street(folder_root, colors=colors, swap_pairs=[[1, 2]])
    assert dataset.colors.tolist() == colors and dataset.swap_pairs == ((1, 2),)


@pytest.mark.parametrize(
    "colors",
    [[[0, 0, 0]] * 4, [[0, 0]] * 5, [[300, 0, 0]] * 5, [[-1, 0, 0]] * 5, [[0, 0, 0]] * 4 + [[0]]],
    ids=["too few", "no blue", "above 255", "below 0", "ragged"],
)
def test_bad_colours_are_refused(folder_root, colors):
    with pytest.raises(ConfigError, match="colo"):
        street(folder_root, colors=colors)


@pytest.mark.parametrize("pairs", [[[1, 2, 3]], [[1]], [[1, 5]]])
def test_bad_swap_pairs_are_refused(folder_root, pairs):
    with pytest.raises(ConfigError, match="swap_pairs"):
        street(folder_root, swap_pairs=pairs)


def test_no_classes_are_refused(folder_root):
    with pytest.raises(ConfigError, match="class"):
        Folder(str(folder_root), [], *FOLDERS, ignore_class=11)


def test_lists_split_one_folder(folder_root):
    (folder_root / "a.txt").write_text("train_3\ntrain_1\n")
    (folder_root / "b.txt").write_text("train_0\n")
    dataset = Folder(
        *(str(folder_root), toys.FOLDER_CLASSES, "train", "trainannot", "train", "trainannot"),
        train_list="a.txt",
        val_list="b.txt",
        ignore_class=11,
    )
    assert [sample.name for sample in dataset.samples("train")] == ["train_3", "train_1"]
    assert [sample.name for sample in dataset.samples("val")] == ["train_0"]


def test_the_same_folders_without_lists_are_refused(folder_root):
    with pytest.raises(ConfigError, match=r"same files.*Fix: .*dataset\.val_images"):
        Folder(str(folder_root), ["a", "b"], "train", "trainannot", "train", "trainannot")


def test_validation_labels_in_the_wrong_folder_are_noticed(folder_root):
    dataset = Folder(str(folder_root), toys.FOLDER_CLASSES, "train", "trainannot", "val", "trainannot")
    with pytest.raises(DataError, match="2 names without label file in .*trainannot: val_0, val_1"):
        dataset.samples("val")


def test_root_called_v1_in_brackets_is_read(folder_root):
    bracketed = folder_root.with_name("[v1]")
    folder_root.rename(bracketed)
    assert len(street(bracketed).samples("train")) == 4


def test_camvid_has_367_and_101_photographs_of_11_classes(test_data):
    classes = [f"class {index}" for index in range(11)]
    dataset = Folder(str(test_data / "camvid" / "CamVid"), classes, *FOLDERS, ignore_class=11)
    assert (len(dataset.samples("train")), len(dataset.samples("val"))) == (367, 101)
    image, labels = dataset.read(dataset.samples("val")[0])
    assert image.shape == (360, 480, 3) and labels.shape == (360, 480)
    assert {0, 1, 3, 11} <= set(np.unique(labels)) <= {*range(12)}
