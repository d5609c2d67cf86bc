"""VOC: palette PNGs are indices, list files make the splits."""

import shutil

import numpy as np
import pytest
from PIL import Image

import fixes
import toys
from segtrain.data import Voc
from segtrain.data.listing.splits import UnlabeledError
from segtrain.errors import DataError


def real_root(test_data):
    return test_data / "voc2012_subset" / "VOCdevkit" / "VOC2012"


def test_there_are_twenty_objects_and_background(voc_root):
    dataset = Voc(str(voc_root))
    assert dataset.num_classes == 21 and dataset.ignore_class == 255 and dataset.flip_pairs == ()
    assert (dataset.class_names[0], dataset.class_names[15], dataset.class_names[20]) == (
        "background",
        "person",
        "tvmonitor",
    )
    assert list(dataset.class_names[1:]) == sorted(dataset.class_names[1:])  # VOC numbers them by the alphabet


def test_ids_of_one_palette_colour_stay_apart(voc_root):
    # The toy's palette paints 1 and 8 alike, and 15 and 20.
    dataset = Voc(str(voc_root))
    found = np.concatenate([dataset.read(sample)[1].ravel() for sample in dataset.samples("train")])
    assert set(found) == {0, *toys.VOC_IDS, 255}


def test_lists_make_the_splits_in_their_order(voc_root):
    lists = voc_root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("2007_000003\n2007_000001\n")
    assert [sample.name for sample in Voc(str(voc_root)).samples("train")] == ["2007_000003", "2007_000001"]


def test_another_list_may_be_trained_on(voc_root):
    (voc_root / "ImageSets" / "Segmentation" / "fewer.txt").write_text("2007_000002\n2007_000000\n")
    found = Voc(str(voc_root), train_list="fewer").samples("train")
    assert [sample.name for sample in found] == ["2007_000002", "2007_000000"]


def test_a_list_and_labels_may_lie_outside_of_a_read_only_root(voc_root, tmp_path):
    (voc_root / "SegmentationClass").rename(tmp_path / "labels")
    (tmp_path / "mine.txt").write_text("2007_000001\n")
    (sample,) = Voc(str(voc_root), labels=str(tmp_path / "labels"), train_list=str(tmp_path / "mine.txt")).samples(
        "train"
    )
    assert sample.labels == tmp_path / "labels" / "2007_000001.png"


def test_a_training_list_with_validation_names_is_refused(voc_root):
    lists = voc_root / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    dataset = Voc(str(voc_root), train_list="trainval")
    with pytest.raises(DataError, match=r"trainval\.txt: 2 of its 6 names .*val\.txt: 2007_001000, 2007_001001"):
        dataset.samples("train")
    assert len(dataset.samples("val")) == 2
    with pytest.raises(DataError) as caught:
        dataset.samples("train")
    assert len(Voc(str(voc_root), **fixes.run(str(caught.value), voc_root)).samples("train")) == 4
    assert len(Voc(str(voc_root), train_list="trainval", val_list="train").samples("val")) == 4


def test_the_published_training_lists_hold_no_name_of_the_validation_list(test_data):
    lists = {
        path.stem: set(path.read_text().split()) for path in (test_data / "voc2012_subset" / "full_id_lists").iterdir()
    }
    assert {name: len(names) for name, names in lists.items()} == {
        "train": 1464,
        "val": 1449,
        "trainval": 2913,
        "train_aug": 10582,
    }
    assert not lists["train_aug"] & lists["val"] and lists["train"] < lists["train_aug"]
    assert lists["trainval"] & lists["val"]  # so that list would be refused


def test_another_folder_of_labels_may_be_read(voc_root):
    (voc_root / "SegmentationClass").rename(voc_root / "SegmentationClassAug")
    sample = Voc(str(voc_root), labels="SegmentationClassAug").samples("train")[0]
    assert sample.labels.parent.name == "SegmentationClassAug"
    with pytest.raises(DataError, match="looked for SegmentationClass. "):
        Voc(str(voc_root)).samples("train")


def test_missing_list_is_named(voc_root):
    with pytest.raises(DataError, match=r"train_list=train_aug: no file .*/train_aug\.txt.* sbd$"):
        Voc(str(voc_root), train_list="train_aug").samples("train")


@pytest.mark.parametrize("name", ["trainaug", "train-aug", "TrainAug", "train_au"])
def test_a_missing_list_is_answered_with_the_one_that_is_there(voc_root, name):
    (voc_root / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("2007_000001\n")
    with pytest.raises(DataError, match=r"Fix: train_list=train_aug$"):
        Voc(str(voc_root), train_list=name).samples("train")


@pytest.mark.parametrize(
    "line", ["/JPEGImages/2007_000001.jpg /SegmentationClassAug/2007_000001.png", "2007_000001 2007_000001"]
)
def test_lists_of_pairs_are_honored(voc_root, line):
    (voc_root / "SegmentationClassAug").mkdir()
    labels = voc_root / "SegmentationClass" / "2007_000001.png"
    (voc_root / "SegmentationClassAug" / labels.name).write_bytes(labels.read_bytes())
    (voc_root / "pairs.txt").write_text(line + "\n")
    (sample,) = Voc(str(voc_root), train_list="pairs.txt").samples("train")
    assert sample.labels.parent.name == ("SegmentationClassAug" if "Aug" in line else "SegmentationClass")


def test_lists_of_one_class_are_not_taken_for_lists_of_images(voc_root):
    (voc_root / "ImageSets" / "Segmentation" / "aeroplane_train.txt").write_text("2007_000000 -1\n2007_000001  1\n")
    dataset = Voc(str(voc_root), train_list="aeroplane_train")
    with pytest.raises(DataError, match="second column holds -1, 1") as caught:
        dataset.samples("train")
    options = fixes.run(str(caught.value), voc_root)
    (sample,) = Voc(str(voc_root), **options).samples("train")
    assert sample.name == "2007_000001"


def test_listed_photograph_without_labels_is_named(voc_root):
    (voc_root / "SegmentationClass" / "2007_001001.png").unlink()
    with pytest.raises(DataError, match="without label file in .*SegmentationClass: 2007_001001"):
        Voc(str(voc_root)).samples("val")


# Real images ---------------------------------------------------------------------------------------------


def test_the_subset_has_437_and_445_photographs(test_data):
    dataset = Voc(str(real_root(test_data)))
    assert (len(dataset.samples("train")), len(dataset.samples("val"))) == (437, 445)
    augmented = Voc(str(real_root(test_data)), labels="SegmentationClassAug", train_list="train_aug")
    assert len(augmented.samples("train")) == 687


def test_real_labels_are_the_ids_that_their_colours_stand_for(test_data):
    # The way through the colors: Pillow paints the picture, the devkit's 22 distinct colors lead back.
    dataset = Voc(str(real_root(test_data)))
    samples = dataset.samples("val")
    ids = [*range(21), 255]
    for sample in (samples[0], samples[222], samples[-1]):
        with Image.open(sample.labels) as picture:
            painted = np.asarray(picture.convert("RGB"))
            palette = np.array(picture.getpalette()).reshape(-1, 3)
        np.testing.assert_array_equal(palette[:21], dataset.colors)
        expected = np.full(painted.shape[:2], 99)
        for id_ in ids:
            expected[(painted == palette[id_]).all(-1)] = id_
        image, labels = dataset.read(sample)
        np.testing.assert_array_equal(labels, expected)
        assert image.shape[:2] == labels.shape
        assert 255 in labels and 0 in labels


# Further splits ------------------------------------------------------------------------------------------------


def test_any_list_of_the_devkit_is_a_split_by_its_name(voc_root):
    lists = voc_root / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    dataset = Voc(str(voc_root))
    assert dataset.splits == ("train", "val")  # which must not share an image; trainval is meant to
    assert dataset.samples("trainval") == [*dataset.samples("train"), *dataset.samples("val")]
    with pytest.raises(DataError, match=r"no split 'test': this dataset has train, val, trainval\. Fix: split=val"):
        dataset.samples("test")


def test_the_hidden_test_list_is_a_split_without_labels(voc_root):
    (voc_root / "ImageSets" / "Segmentation" / "test.txt").write_text("2008_000001\n2008_000002\n")
    for name in ("2008_000001", "2008_000002"):
        shutil.copy(voc_root / "JPEGImages" / "2007_000000.jpg", voc_root / "JPEGImages" / f"{name}.jpg")
    dataset = Voc(str(voc_root))
    assert dataset.splits == ("train", "val", "test")
    with pytest.raises(UnlabeledError, match=r"split 'test' has no label files: 2 images"):
        dataset.samples("test")
