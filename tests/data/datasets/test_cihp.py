"""CIHP: its published sizes, its folders, and the real images."""

import shutil

import numpy as np
import pytest
from scipy.io import loadmat

import toys
from segtrain.data import Cihp
from segtrain.data.datasets.cihp import CLASS_NAMES, COLORS, SWAP_PAIRS
from segtrain.data.images.matfile import MatReader
from segtrain.data.listing.splits import UnlabeledError
from segtrain.errors import ConfigError, DataError


def test_there_are_twenty_parts_with_background_first():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == len({tuple(color) for color in COLORS}) == 20
    assert CLASS_NAMES[0] == "Background" and COLORS[0].tolist() == [0, 0, 0]


def test_a_mirror_changes_left_into_right():
    names = [(CLASS_NAMES[left], CLASS_NAMES[right]) for left, right in SWAP_PAIRS]
    assert names == [("Left-arm", "Right-arm"), ("Left-leg", "Right-leg"), ("Left-shoe", "Right-shoe")]
    sided = {index for index, name in enumerate(CLASS_NAMES) if name.startswith(("Left", "Right"))}
    assert sided == {index for pair in SWAP_PAIRS for index in pair}


def test_void_is_no_part(cihp_root):
    assert Cihp(str(cihp_root)).ignore_class == 255


def test_colors_are_the_published_ones_and_no_mat_file_is_read(cihp_root, monkeypatch):
    (cihp_root / "human_colormap.mat").write_text("damaged")
    monkeypatch.setattr(MatReader, "read", None)
    np.testing.assert_array_equal(Cihp(str(cihp_root)).colors, COLORS)


def test_colors_times_100_are_dark_as_in_the_keras_io_program(cihp_root):
    # 255/256 * 100 = 99.6 -> 99; that program cuts, it does not round.
    dark = Cihp(str(cihp_root), colormap_scale=100).colors
    np.testing.assert_array_equal(dark, np.floor(COLORS / 256 * 100))
    assert dark.max() == 99


def test_limits_take_the_first_by_name(cihp_root):
    limited = Cihp(str(cihp_root), num_train_images=3, num_val_images=1)
    assert [sample.name for sample in limited.samples("train")] == ["0000001", "0000002", "0000003"]
    assert [sample.name for sample in limited.samples("val")] == ["0000005"]


def test_validation_in_the_training_folder_takes_the_photographs_that_follow(tmp_path):
    root = toys.draw_cihp(tmp_path, num_train=6)
    dataset = Cihp(str(root), num_train_images=3, num_val_images=2, val_folder="Training")
    assert [sample.name for sample in dataset.samples("train")] == ["0000001", "0000002", "0000003"]
    assert [sample.name for sample in dataset.samples("val")] == ["0000004", "0000005"]
    assert dataset.samples("val")[0].labels == root / "Training" / "Category_ids" / "0000004.png"


def test_validation_in_the_training_folder_needs_no_validation_folder(tmp_path):
    root = toys.draw_cihp(tmp_path, num_train=4, num_val=0)
    for folder in ("Images", "Category_ids"):
        (root / "Validation" / folder).rmdir()
    dataset = Cihp(str(root), num_train_images=3, val_folder="Training")
    assert [sample.name for sample in dataset.samples("val")] == ["0000004"]


def test_validation_in_the_training_folder_needs_an_end_of_training(cihp_root):
    with pytest.raises(ConfigError, match=r"val_folder=Training needs num_train_images"):
        Cihp(str(cihp_root), val_folder="Training")


def test_validation_after_the_last_training_photograph_is_empty(cihp_root):
    with pytest.raises(DataError, match="holds 4 images and the first 4 are for training"):
        Cihp(str(cihp_root), num_train_images=4, val_folder="Training").samples("val")


@pytest.mark.parametrize("count", [0, -1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_limits_below_one_are_refused(cihp_root, split, count):
    # -1 as a slice's end would drop the last image without a word.
    with pytest.raises((ConfigError, DataError), match=f"num_{split}_images={count}|'{split}' is empty"):
        Cihp(str(cihp_root), **{f"num_{split}_images": count}).samples(split)


def test_photograph_without_labels_is_named(cihp_root):
    (cihp_root / "Training" / "Category_ids" / "0000002.png").unlink()
    with pytest.raises(DataError, match="1 names without label file in .*Category_ids: 0000002"):
        Cihp(str(cihp_root)).samples("train")


@pytest.mark.parametrize("name", ["Categories", "Instance_ids", "Human_ids"])
def test_other_labels_of_the_archive_are_refused_by_name(cihp_root, name):
    # keras-io issue 1227: trained on Categories, whose numbers are colors.
    (cihp_root / "Training" / "Category_ids").rename(cihp_root / "Training" / name)
    with pytest.raises(DataError, match=rf"Training: {name}, expected Category_ids\..*Fix: unpack Category_ids"):
        Cihp(str(cihp_root)).samples("train")


def test_colours_under_the_right_name_are_called_what_they_are(cihp_root):
    dataset = Cihp(str(cihp_root))
    sample = dataset.samples("train")[0]
    toys.Image.fromarray(np.array([[9, 29], [55, 0]], np.uint8)).save(sample.labels)
    with pytest.raises(DataError, match=r"unknown values 29 .*55 .*Only CIHP's Category_ids holds class ids"):
        dataset.read_labels(sample)
    sample.labels.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        dataset.read_labels(sample)
    assert "Category_ids holds" not in str(caught.value)


def test_part_beyond_the_twenty_is_refused(cihp_root):
    dataset = Cihp(str(cihp_root))
    sample = dataset.samples("train")[0]
    toys.Image.fromarray(np.full((48, 64), 20, np.uint8)).save(sample.labels)
    with pytest.raises(DataError, match=r"unknown value 20 \(3072 pixels\), expected 0\.\.19, 255"):
        dataset.read(sample)


# Real images ---------------------------------------------------------------------------------------------


def test_the_table_of_the_archive_times_256_is_the_palette(test_data):
    root = test_data / "cihp_sample" / "instance-level_human_parsing"
    table = loadmat(root / "human_colormap.mat")["colormap"] * 256
    np.testing.assert_array_equal(table, np.round(table))  # k/256 exactly
    np.testing.assert_array_equal(COLORS, table)
    np.testing.assert_array_equal(Cihp(str(root)).colors, table)


def test_the_table_times_100_is_the_keras_io_program_colormap(test_data):
    root = test_data / "cihp_sample" / "instance-level_human_parsing"
    program = (loadmat(root / "human_colormap.mat")["colormap"] * 100).astype(np.uint8)
    np.testing.assert_array_equal(Cihp(str(root), colormap_scale=100).colors, program)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_five_real_pairs_are_read(test_data, split):
    dataset = Cihp(str(test_data / "cihp_sample" / "instance-level_human_parsing"))
    samples = dataset.samples(split)
    assert [sample.name for sample in samples] == ["0002190", "0005008", "0012008", "0026375", "0032190"]
    parts = set()
    for sample in samples:
        dataset.check_header(sample)
        image, labels = dataset.read(sample)
        assert image.shape == (*labels.shape, 3)
        parts |= set(np.unique(labels).tolist())
    assert parts == {*range(20)} - {3, 4}  # the five show no glove and no sunglasses


def test_the_clothing_set_has_800_and_204_photographs(test_data):
    dataset = Cihp(str(test_data / "clothing_as_cihp" / "instance-level_human_parsing"))
    assert (len(dataset.samples("train")), len(dataset.samples("val"))) == (800, 204)
    dataset.read(dataset.samples("val")[-1])


def test_the_archives_testing_folder_is_a_split_without_labels(cihp_root):
    images = cihp_root / "Testing" / "Images"
    shutil.copytree(cihp_root / "Validation" / "Images", images)
    dataset = Cihp(str(cihp_root))
    assert dataset.splits == ("train", "val", "test")
    with pytest.raises(UnlabeledError, match="split 'test' has no label files: 2 images"):
        dataset.samples("test")
    shutil.copytree(cihp_root / "Validation" / "Category_ids", images.parent / "Category_ids")
    assert [sample.name for sample in dataset.samples("test")] == [each.name for each in dataset.samples("val")]
