"""Plain folders of images and ids."""

import shutil

import numpy as np
import pytest
from PIL import Image

import toys
from segtrain.data import Folder
from segtrain.data.datasets.colormap import voc_colormap
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


@pytest.mark.parametrize("pairs", [[[1, 2]], [["building", "road"]], [["building", 2]]])
def test_pairs_are_told_by_name_or_id(folder_root, pairs):
    assert street(folder_root, flip_pairs=pairs).flip_pairs == ((1, 2),)


@pytest.mark.parametrize("pairs", [[[1, 2, 3]], [[1]], [[1, 5]], [["sky", "ignore"]], [["sky", "raod"]]])
def test_bad_swap_pairs_are_refused(folder_root, pairs):
    with pytest.raises(ConfigError, match="flip_pairs"):
        street(folder_root, flip_pairs=pairs)


@pytest.mark.parametrize(
    ("classes", "two"),
    [
        (["crack"], "[background,crack]"),
        ({"crack": [255, 0, 0]}, "[background,crack]"),
        (["background"], "[background,object]"),
        ([], "[background,object]"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"label_values": {0: 0, 255: 0}}, {"label_values": "from_one"}])
def test_fewer_than_two_classes_are_refused_with_two_to_paste(folder_root, classes, two, options):
    with pytest.raises(ConfigError) as caught:
        Folder(str(folder_root), classes, *FOLDERS, ignore_class=11, **options)
    assert str(caught.value).startswith(f"classes={list(classes)}: {len(classes)} class")
    assert f"Fix: 'classes={two}'" in str(caught.value)


@pytest.mark.parametrize(
    "classes", [["a", "b", "a"], ["a", "a "], ["caf\u00e9", "cafe\u0301"], {"a": [0] * 3, " a": [1] * 3}]
)
def test_a_class_named_twice_is_refused(folder_root, classes):
    with pytest.raises(ConfigError, match=r"classes: '(a|caf\u00e9)' is named twice"):
        Folder(str(folder_root), classes, *FOLDERS, ignore_class=11)


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
    with pytest.raises(ConfigError, match=r"same files.*Fix: .*val_images"):
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


# Splits by a share of the names -------------------------------------------------------------------------------


def fractioned(root, **options):
    return Folder(str(root), toys.FOLDER_CLASSES, "train", "trainannot", ignore_class=11, val_fraction=0.5, **options)


def test_a_share_of_one_folder_validates(tmp_path):
    root = toys.draw_folder(tmp_path, num_train=20, size=(8, 12))
    train, val = (fractioned(root).samples(split) for split in ("train", "val"))
    assert len(train) + len(val) == 20 and not {*train} & {*val}
    assert fractioned(root, split_seed=1).samples("val") != val


def test_a_photograph_more_moves_no_other(tmp_path):
    root = toys.draw_folder(tmp_path, num_train=20, size=(8, 12))
    before = fractioned(root).samples("val")
    for folder in ("train", "trainannot"):
        shutil.copy(root / folder / "train_0.png", root / folder / "train_05.png")
    assert [sample for sample in fractioned(root).samples("val") if sample.name != "train_05"] == before


def test_a_list_may_be_split_by_a_share(tmp_path):
    root = toys.draw_folder(tmp_path, num_train=20, size=(8, 12))
    (root / "most.txt").write_text("".join(f"train_{index}\n" for index in range(18)))
    found = [fractioned(root, train_list="most.txt").samples(split) for split in ("train", "val")]
    assert sum(map(len, found)) == 18


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 20])
def test_a_share_is_between_nought_and_one(folder_root, fraction):
    with pytest.raises(ConfigError, match=f"val_fraction={fraction}: expected a number above 0 to below 1"):
        Folder(str(folder_root), ["a"], "train", "trainannot", val_fraction=fraction)


def test_two_ways_to_choose_validation_images_are_refused(folder_root):
    with pytest.raises(ConfigError, match=r"val_fraction=0.5: .*val_images, val_list.*Fix: val_images=null "):
        fractioned(folder_root, val_images="val", val_list="val.txt")


def test_a_share_that_leaves_nothing_says_how_to_go_on(folder_root):
    dataset = Folder(str(folder_root), toys.FOLDER_CLASSES, "train", "trainannot", val_fraction=1e-9)
    with pytest.raises(DataError, match=r"'val' is empty: val_fraction=1e-09 of 4 images.*Fix: split_seed=1"):
        dataset.samples("val")


# Lists --------------------------------------------------------------------------------------------------------


def listed(root, train, val, **options):
    (root / "a.txt").write_text(train)
    (root / "b.txt").write_text(val)
    return Folder(str(root), toys.FOLDER_CLASSES, train_list="a.txt", val_list="b.txt", ignore_class=11, **options)


def test_lists_of_two_files_a_line_need_no_folders(folder_root):
    dataset = listed(folder_root, "train/train_1.png trainannot/train_1.png\n", "val/val_0.png valannot/val_0.png\n")
    (sample,) = dataset.samples("train")
    assert sample.name == "train/train_1" and dataset.read(sample)[1].shape == (48, 64)
    assert [sample.labels.name for sample in dataset.samples("val")] == ["val_0.png"]


def test_lists_of_names_need_folders(folder_root):
    with pytest.raises(DataError, match=r"a\.txt:1: 'train_1': one name, .*Fix: train_images="):
        listed(folder_root, "train_1\n", "val_0\n").samples("train")


def test_a_validation_name_in_the_training_list_is_refused(folder_root):
    one_folder = {"train_images": "train", "train_labels": "trainannot"}
    dataset = listed(folder_root, "train_1\ntrain_0\n", "train_0\n", **one_folder)
    with pytest.raises(DataError, match=r"a\.txt: 1 of its 2 names .*b\.txt: train_0,"):
        dataset.samples("train")
    assert [sample.name for sample in dataset.samples("val")] == ["train_0"]


def test_equal_names_of_different_folders_are_different_photographs(folder_root):
    for kind in ("", "annot"):
        shutil.copy(folder_root / f"val{kind}" / "val_0.png", folder_root / f"val{kind}" / "train_0.png")
    four = dict(zip(("train_images", "train_labels", "val_images", "val_labels"), FOLDERS, strict=True))
    assert len(listed(folder_root, "train_0\n", "train_0\n", **four).samples("train")) == 1


# What label files hold ----------------------------------------------------------------------------------------


def stored(folder, pixels, classes=("wall", "door", "roof"), **options):
    """The class ids that a Folder reads from a label file of these stored values or colors."""
    for name in ("i", "l", "v"):
        (folder / name).mkdir()
    Image.fromarray(np.zeros((*np.shape(pixels)[:2], 3), np.uint8)).save(folder / "i" / "a.png")
    Image.fromarray(np.array(pixels, np.uint8)).save(folder / "l" / "a.png")
    dataset = Folder(str(folder), classes, "i", "l", "v", "l", **options)
    return dataset.read(dataset.samples("train")[0])[1].tolist()


COLORS = {"wall": [0, 0, 0], "door": [255, 0, 0], "roof": [0, 0, 255]}


@pytest.mark.parametrize(
    ("pixels", "options", "ids"),
    [
        ([[0, 2, 255]], {}, [[0, 2, 255]]),
        ([[0, 2, 7]], {"ignore_class": 7}, [[0, 2, 7]]),
        ([[0, 1, 3]], {"label_values": "from_one"}, [[255, 0, 2]]),
        ([[0, 1, 255]], {"label_values": "from_one"}, [[255, 0, 255]]),
        ([[0, 1, 3]], {"label_values": "from_one", "ignore_class": 3}, [[3, 0, 2]]),
        ([[0, 128, 255]], {"label_values": {0: "wall", 255: "door", 128: "ignore"}}, [[0, 255, 1]]),
        ([[0, 128, 9]], {"label_values": {0: 0, 128: 2, 9: 255}}, [[0, 2, 255]]),
        ([[[255, 0, 0], [0, 0, 255], [0, 0, 0]]], {"classes": COLORS, "label_values": "colors"}, [[1, 2, 0]]),
        (
            [[[255, 0, 0], [9, 9, 9]]],
            {"classes": COLORS, "label_values": "colors", "ignore_colors": [[9, 9, 9]]},
            [[1, 255]],
        ),
    ],
)
def test_stored_values_and_colours_become_class_ids(tmp_path, pixels, options, ids):
    assert stored(tmp_path, pixels, **options) == ids


def test_ids_from_one_are_one_table_of_256(tmp_path):
    # ADE20K: 0 is void, 1 to 150 are the classes, 255 is void too, and nothing else is stored.
    expected = {0: 255, 255: 255, **{value: value - 1 for value in range(1, 151)}}
    classes = [f"class {index}" for index in range(150)]
    assert stored(tmp_path, [list(expected)], classes, label_values="from_one") == [list(expected.values())]
    dataset = Folder(str(tmp_path), classes, "i", "l", "v", "l", label_values="from_one")
    assert dataset.known_values == tuple(sorted(expected))


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        ([[4]], {"label_values": "from_one"}, r"unknown value 4 .*expected 0\.\.3, 255"),
        ([[1]], {"label_values": {0: 0, 255: 1}}, r"unknown value 1 .*expected 0, 255"),
        ([[[254, 0, 0]]], {"classes": COLORS, "label_values": "colors"}, r"1 pixels?.*\[254, 0, 0\]|254"),
    ],
)
def test_values_and_colours_that_are_not_told_are_refused(tmp_path, pixels, options, message):
    with pytest.raises(DataError, match=message):
        stored(tmp_path, pixels, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_values": {0: "waal"}}, r"label_values\.0=waal: unknown class; did you mean wall"),
        ({"label_values": {0: 3}}, r"label_values\.0=3: unknown class"),
        ({"label_values": {300: "wall"}}, r"label_values: 300 is not a stored value, expected 0\.\.255"),
        ({"label_values": {"0": "wall"}}, r"label_values: '0' is not a stored value"),
        ({"label_values": "id"}, r"label_values=id: expected ids, from_one, colors"),
        ({"label_values": {}}, r"expected ids, from_one, colors, or a class"),
        ({"label_values": "colors"}, r"classes has names only, expected a color for each"),
        ({"label_values": "colors", "classes": {**COLORS, "sky": [0, 0, 0]}}, r"classes\.sky=\[0, 0, 0\]: given twice"),
        (
            {"label_values": "colors", "classes": COLORS, "ignore_colors": [[0, 0, 0]]},
            r"ignore_colors=\[0, 0, 0\]: given twice",
        ),
        ({"ignore_colors": [[0, 0, 0]]}, r"ignore_colors: the label files hold no colors"),
        ({"classes": {"wall": [0, 0]}}, r"classes\.wall=\[0, 0\]: not a color"),
        ({"classes": {"wall": [0, 0, 256]}}, r"classes\.wall=.*each 0\.\.255"),
        ({"classes": ["wall", "ignore"]}, r"'ignore' is not a class name"),
        ({"classes": [True, "on"]}, r"True is not a class name.*quote it"),
        ({"classes": {False: [0, 0, 0]}}, r"False is not a class name"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Folder("x", **{"classes": ["wall", "door", "roof"], "train_images": "i", "val_images": "v", **options})


# Binary masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreground", [255, 1])
def test_masks_of_255_and_of_1_are_the_same_two_classes(tmp_path, foreground):
    dataset = Folder(str(toys.draw_binary(tmp_path, foreground=foreground)), **toys.BINARY)
    for sample in dataset.samples("train"):
        with Image.open(sample.labels) as mask:
            expected = np.asarray(mask) == foreground
        np.testing.assert_array_equal(dataset.read(sample)[1], expected)


def test_one_bit_masks_are_read(binary_root):
    dataset = Folder(str(binary_root), **toys.BINARY)
    sample = dataset.samples("train")[0]
    Image.fromarray(np.eye(4, dtype=bool)).save(sample.labels)
    np.testing.assert_array_equal(dataset.read_labels(sample), np.eye(4))


def test_grey_between_black_and_white_is_refused(binary_root):
    dataset = Folder(str(binary_root), **toys.BINARY)
    sample = dataset.samples("train")[0]
    Image.fromarray(np.array([[0, 128, 255], [128, 0, 255]], np.uint8)).save(sample.labels)
    with pytest.raises(DataError, match=r"unknown value 128 \(2 pixels\), expected 0\.\.1, 255"):
        dataset.read_labels(sample)


def test_lists_of_windows_are_read(binary_root):
    (binary_root / "train.txt").write_bytes(b"\xef\xbb\xbfcell_train_1\r\n\r\ncell_train_0.png\r\n")
    names = [sample.name for sample in Folder(str(binary_root), **toys.BINARY).samples("train")]
    assert names == ["cell_train_1", "cell_train_0"]


def test_missing_list_is_looked_for(binary_root):
    (binary_root / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val_list=val\.txt: no file .*Fix: val_list=null "):
        Folder(str(binary_root), **toys.BINARY).samples("val")


def test_empty_list_is_an_empty_split(binary_root):
    (binary_root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="split 'val' is empty"):
        Folder(str(binary_root), **toys.BINARY).samples("val")


def test_the_nuclei_have_430_and_108_photographs_in_rgb(test_data):
    dataset = Folder(str(test_data / "dsb2018_nuclei_binary"), **toys.BINARY)
    train, val = dataset.samples("train"), dataset.samples("val")
    assert (len(train), len(val)) == (430, 108)
    for sample in val[:20]:  # gray and color PNGs, with and without alpha
        image, labels = dataset.read(sample)
        assert image.shape == (*labels.shape, 3) and set(np.unique(labels)) <= {0, 1}
