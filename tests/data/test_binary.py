"""Two classes from black-and-white masks."""

import numpy as np
import pytest
from PIL import Image

import toys
from segtrain.data import Binary
from segtrain.errors import ConfigError, DataError


def overwrite(sample, rows):
    Image.fromarray(np.array(rows, np.uint8)).save(sample.labels)


@pytest.mark.parametrize("foreground", [255, 1])
def test_masks_of_255_and_of_1_are_the_same_two_classes(tmp_path, foreground):
    dataset = Binary(str(toys.draw_binary(tmp_path, foreground=foreground)))
    for sample in dataset.samples("train"):
        with Image.open(sample.labels) as mask:
            expected = np.asarray(mask) == foreground
        labels = dataset.read(sample)[1]
        assert set(np.unique(labels)) == {0, 1}
        np.testing.assert_array_equal(labels == 1, expected)


def test_one_bit_masks_are_read(binary_root):
    dataset = Binary(str(binary_root))
    sample = dataset.samples("train")[0]
    Image.fromarray(np.eye(4, dtype=bool)).save(sample.labels)
    np.testing.assert_array_equal(dataset.read_labels(sample), np.eye(4))


def test_grey_between_black_and_white_is_refused(binary_root):
    dataset = Binary(str(binary_root))
    sample = dataset.samples("train")[0]
    overwrite(sample, [[0, 128, 255], [128, 0, 255]])
    with pytest.raises(DataError) as caught:
        dataset.read_labels(sample)
    assert f"{sample.labels}: unknown value 128 (2 pixels), expected 0..1, 255" in str(caught.value)


def test_the_id_of_padding_is_no_stored_value(binary_root):
    dataset = Binary(str(binary_root))
    assert dataset.ignore_class == 2  # 255 is foreground here
    sample = dataset.samples("train")[0]
    overwrite(sample, [[0, 2, 255]])
    with pytest.raises(DataError, match=r"unknown value 2 \(1 pixels\)"):
        dataset.read_labels(sample)


def test_there_are_two_classes_and_the_foreground_has_its_name(binary_root):
    dataset = Binary(str(binary_root), foreground="nucleus")
    assert dataset.class_names == ("background", "nucleus") and dataset.swap_pairs == ()


def test_lists_split_one_folder(binary_root):
    (binary_root / "train.txt").write_bytes(b"\xef\xbb\xbfcell_val_1\r\n\r\ncell_train_0.png\r\n")
    names = [sample.name for sample in Binary(str(binary_root)).samples("train")]
    assert names == ["cell_val_1", "cell_train_0"]


def test_four_folders_need_no_lists(binary_root):
    for kind in ("images", "masks"):
        (binary_root / f"val_{kind}").mkdir()
        for path in (binary_root / kind).glob("cell_val_*"):
            path.rename(binary_root / f"val_{kind}" / path.name)
    dataset = Binary(str(binary_root), val_images="val_images", val_labels="val_masks", train_list=None, val_list=None)
    assert [sample.name for sample in dataset.samples("train")] == [f"cell_train_{index}" for index in range(4)]
    assert [sample.name for sample in dataset.samples("val")] == ["cell_val_0", "cell_val_1"]


def test_training_and_validation_on_the_same_files_are_refused(binary_root):
    with pytest.raises(ConfigError, match="training and validation are the same files"):
        Binary(str(binary_root), train_list=None, val_list=None)


def test_missing_list_is_looked_for(binary_root):
    (binary_root / "val.txt").unlink()
    with pytest.raises(DataError, match=r"looked for val\.txt\. Fix: "):
        Binary(str(binary_root)).samples("val")


def test_empty_list_is_an_empty_split(binary_root):
    (binary_root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="split 'val' is empty"):
        Binary(str(binary_root)).samples("val")


def test_the_nuclei_have_430_and_108_photographs_in_rgb(test_data):
    dataset = Binary(str(test_data / "dsb2018_nuclei_binary"))
    train, val = dataset.samples("train"), dataset.samples("val")
    assert (len(train), len(val)) == (430, 108)
    for sample in val[:20]:  # grey and colour PNGs, with and without alpha
        image, labels = dataset.read(sample)
        assert image.shape == (*labels.shape, 3) and set(np.unique(labels)) <= {0, 1}
