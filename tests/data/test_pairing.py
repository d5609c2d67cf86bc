"""Photographs and label files find each other by name, or an error says which do not."""

import pytest
from PIL import Image

from segtrain.data import Binary, Cihp, Folder, Voc
from segtrain.data.files import read_labels
from segtrain.data.pairing import pair_files, require_root, require_split
from segtrain.errors import DataError

# Pairs --------------------------------------------------------------------------------------------------------


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_files_are_paired_by_name_not_by_place(tmp_path):
    images = touch(tmp_path / "images", "b.jpg", "a.jpg", "c.jpg")
    labels = touch(tmp_path / "labels", "0.png", "a.png", "b.png", "c.png")
    found = pair_files(images, labels, None, "train")
    assert [sample.name for sample in found] == ["a", "b", "c"]
    assert all(sample.labels.stem == sample.image.stem for sample in found)


def test_labels_without_an_image_are_left_alone(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png", "b.png")
    assert [sample.name for sample in pair_files(images, labels, None, "train")] == ["a"]


def test_images_without_labels_are_listed(tmp_path):
    images = touch(tmp_path / "i", *(f"{name}.jpg" for name in "abcdefg"))
    labels = touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError) as caught:
        pair_files(images, labels, None, "train")
    said = str(caught.value)
    assert f"6 names without label file in {labels}: b, c, d, e, f and 1 more. Fix: " in said


def test_listed_names_without_an_image_are_listed(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png", "b.png")
    with pytest.raises(DataError, match=f"1 names without image in {images}: b. Fix: "):
        pair_files(images, labels, ["a", "b"], "train")


def test_a_list_gives_choice_and_order(tmp_path):
    images = touch(tmp_path / "i", "a.jpg", "b.png", "c.jpg")
    labels = touch(tmp_path / "l", "a.png", "b.png", "c.png")
    found = pair_files(images, labels, ["c.jpg", "a"], "train")
    assert [sample.name for sample in found] == ["c", "a"]


def test_names_with_dots_are_whole_names(tmp_path):
    images = touch(tmp_path / "i", "a.v1.jpg", "a.v2.jpg", "scan.2021.png")
    labels = touch(tmp_path / "l", "a.v1.png", "a.v2.png", "scan.2021.png")
    names = ["a.v2", "scan.2021", "a.v1.jpg"]
    assert [sample.name for sample in pair_files(images, labels, names, "t")] == ["a.v2", "scan.2021", "a.v1"]


@pytest.mark.parametrize("names", [["a", "a.jpg"], ["x/a", "y/a"]])
def test_one_photograph_under_two_names_is_refused(tmp_path, names):
    images, labels = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match="a"):
        pair_files(images, labels, names, "train")


def test_folders_with_glob_characters_are_paired(tmp_path):
    images, labels = touch(tmp_path / "[v1]" / "i*", "a.jpg"), touch(tmp_path / "[v1]" / "l?", "a.png")
    assert len(pair_files(images, labels, None, "train")) == 1


def test_two_images_of_one_stem_are_refused(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg", "a.png"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match="two files for 'a'"):
        pair_files(images, labels, None, "train")


@pytest.mark.parametrize("names", [None, []])
def test_empty_split_is_refused(tmp_path, names):
    images, labels = touch(tmp_path / "i"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match=f"split 'val' is empty: looked for photographs in {images}"):
        pair_files(images, labels, names, "val")


def test_jpeg_labels_are_paired_so_that_reading_says_what_is_wrong(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg"), tmp_path / "l"
    labels.mkdir()
    Image.new("L", (3, 2)).save(labels / "a.jpg")
    (sample,) = pair_files(images, labels, None, "train")
    with pytest.raises(DataError, match="a JPEG file, expected PNG"):
        read_labels(sample.labels)


# Roots --------------------------------------------------------------------------------------------------------


def test_missing_root_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError) as caught:
        require_root(tmp_path / "gone", ["images", "masks"], "/data/x")
    assert str(caught.value) == (
        f"dataset.root={tmp_path / 'gone'}: no such folder, looked for images, masks. Fix: dataset.root=/data/x"
    )


def test_root_of_another_layout_says_what_was_found(tmp_path):
    touch(tmp_path, "readme.txt", "b.zip")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="it holds b.zip, images, readme.txt, looked for masks. Fix: "):
        require_root(tmp_path, ["images", "masks"], "/data/x")


def test_empty_root_is_called_empty(tmp_path):
    with pytest.raises(DataError, match="it is empty, looked for images"):
        require_root(tmp_path, ["images"], "/data/x")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos" / "images").mkdir(parents=True)
    assert require_root("~/photos", ["images"], "/data/x") == tmp_path / "photos"


def test_known_split_passes():
    require_split("val", ["train", "val"])


@pytest.mark.parametrize(
    ("open_dataset", "looked_for"),
    [
        (lambda root: Cihp(root), "Training/Images, Training/Category_ids, Validation/Images"),
        (lambda root: Voc(root), "JPEGImages, SegmentationClass, ImageSets/Segmentation"),
        (lambda root: Binary(root), "images, masks, train.txt"),
        (lambda root: Folder(root, ["a", "b"], "ti", "tl", "vi", "vl"), "ti, tl"),
    ],
    ids=["cihp", "voc", "binary", "folder"],
)
def test_each_dataset_names_its_missing_layout(tmp_path, open_dataset, looked_for):
    with pytest.raises(DataError, match=f"dataset.root={tmp_path}: it is empty, looked for {looked_for}"):
        open_dataset(str(tmp_path)).samples("train")
