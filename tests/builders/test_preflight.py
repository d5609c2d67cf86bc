"""What a run reads before its first step."""

import os

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import toys
from segtrain.builders import preflight
from segtrain.builders.preflight import (
    refuse_leaks,
    require_image_range,
    require_scorable,
    require_valid_labels,
    warn_of_palettes,
    warn_of_single_class,
)
from segtrain.data import Concat, Dataset, Folder, Voc
from segtrain.data.audit.findings import find_all
from segtrain.data.audit.gather import gather
from segtrain.data.audit.record import examine
from segtrain.data.listing.splits import UnlabeledError
from segtrain.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Counting(Folder):
    """Counts the label files it reads."""

    read_files = 0

    def read_labels(self, sample):
        self.read_files += 1
        return super().read_labels(sample)


def look(dataset, limit=None, **node):
    cfg = {"dataset": {"root": str(dataset.root), **node}, "workers": 1, "limit_samples": limit}
    require_valid_labels(OmegaConf.create(cfg), dataset, dataset.samples("val"))


def fill(root, value, names=("cell_val_0", "cell_val_1")):
    for name in names:
        path = root / "masks" / f"{name}.png"
        Image.fromarray(np.full_like(np.array(Image.open(path)), value)).save(path)


@pytest.fixture
def dataset(binary_root):
    return Counting(str(binary_root), **toys.BINARY)


def test_a_bad_value_in_the_last_validation_file_is_refused(dataset):
    path = dataset.samples("val")[-1].labels
    labels = np.array(Image.open(path))
    labels[-1, -1] = 7
    Image.fromarray(labels).save(path)
    with pytest.raises(DataError, match=rf"labels in {path}: unknown value 7 \(1 pixels\)"):
        look(dataset)


def test_all_bad_files_are_listed(dataset, binary_root):
    fill(binary_root, 9)
    with pytest.raises(DataError) as caught:
        look(dataset)
    assert str(caught.value).startswith("2 of 2 validation label files cannot be used:")
    assert str(caught.value).count("unknown value 9") == 2


def test_files_that_were_read_are_not_read_again_until_one_changes(dataset):
    look(dataset)
    assert dataset.read_files == 2
    look(dataset)
    assert dataset.read_files == 2
    os.utime(dataset.samples("val")[0].labels, ns=(1, 1))
    look(dataset)
    assert dataset.read_files == 4
    look(dataset, ignore_class=3)  # other rules for the same files
    assert dataset.read_files == 6


def test_of_many_files_a_bounded_number_is_read(dataset, monkeypatch):
    monkeypatch.setattr(preflight, "MOST_LABELS", 1)
    look(dataset)
    assert dataset.read_files == 1


@pytest.mark.parametrize(("value", "name"), [(0, "background"), (255, "foreground")])
def test_validation_of_a_single_class_is_refused(dataset, binary_root, value, name):
    fill(binary_root, value)
    for _ in range(2):  # a refusal is not remembered as a success
        with pytest.raises(DataError, match=f"the 2 validation label files read hold {name} only: .*at least 2 "):
            look(dataset)


def test_masks_whose_255_is_ignored_are_pointed_to_binary(binary_root):
    dataset = Folder(str(binary_root), **{**toys.BINARY, "label_values": "ids"})
    with pytest.raises(DataError, match=r"hold background and ignored pixels only.*Fix: dataset=binary, or .*255: 1"):
        look(dataset)


def test_a_part_of_a_split_may_hold_a_single_class(dataset, binary_root, caplog):
    fill(binary_root, 0)
    look(dataset, limit=2)
    assert "hold background only" in caplog.text


def test_training_labels_of_a_single_class_are_a_warning(dataset, binary_root, caplog):
    warn_of_single_class(dataset, dataset.samples("train"))
    assert not caplog.records and dataset.read_files == 1  # the first file shows both classes
    fill(binary_root, 0, [f"cell_train_{number}" for number in range(4)])
    warn_of_single_class(dataset, dataset.samples("train"))
    assert "the 4 training label files read hold background only" in caplog.text


def test_a_dataset_that_makes_its_labels_is_left_alone(tmp_path):
    class Made(Dataset):
        def __init__(self):
            super().__init__(("a", "b"), np.zeros((2, 3), np.uint8))
            self.root = tmp_path

        def samples(self, split):
            return [preflight.Sample("x", tmp_path / "none", tmp_path / "none")]

        def read(self, sample, reduction=1):
            return np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)

    look(Made())


@pytest.fixture
def dark_root(binary_root):
    """The toy with images of 12 bits in 16-bit PNGs."""
    for path in (binary_root / "images").iterdir():
        values = np.array(Image.open(path).convert("L")).astype(np.uint16) * 16
        path.unlink()
        Image.fromarray(values).save(path.with_suffix(".png"))
    return binary_root


def test_twelve_bits_in_sixteen_are_refused_unless_a_range_is_given(dark_root):
    for options in ({}, {"image_range": [0, 4095]}, {"image_range": [0, 65535]}):
        dataset = Folder(str(dark_root), **toys.BINARY, **options)
        if options:
            require_image_range(dataset, dataset.samples("train"))
            continue
        with pytest.raises(DataError, match=r"4 of 4 16-bit images hold .*Fix: 'dataset\.image_range=\[0,4095\]'"):
            require_image_range(dataset, dataset.samples("train"))
    assert Folder(str(dark_root), **toys.BINARY, image_range=[0, 4095]).read(dataset.samples("train")[0])[0].max() > 200


def test_a_dataset_within_another_is_told_its_own_key(dark_root):
    dataset = Concat({"dark": Folder(str(dark_root), **toys.BINARY)})
    with pytest.raises(DataError, match=r"Fix: 'dataset\.datasets\.dark\.image_range=\[0,4095\]'"):
        require_image_range(dataset, dataset.samples("train"))


@pytest.mark.parametrize("options", [{}, {"image_range": [0, 4095]}])
def test_check_reports_dark_images_too(dark_root, options):
    dataset = Folder(str(dark_root), **toys.BINARY, **options)
    samples = {split: dataset.samples(split) for split in ("train", "val")}
    records = {split: [examine(dataset, each) for each in listed] for split, listed in samples.items()}
    found = find_all(gather(dataset, samples, {}, records, crop_size=None, batch_size=1))
    dark = [each for each in found if each.kind == "image-range"]
    assert [(each.severity, len(each.cases)) for each in dark] == ([] if options else [("error", 6)])


@pytest.mark.parametrize("mixed", [False, True])
def test_palettes_that_differ_are_a_warning_of_train_and_check(voc_root, mixed, caplog):
    dataset = Voc(str(voc_root))
    samples = {split: dataset.samples(split) for split in ("train", "val")}
    if mixed:
        path = samples["val"][0].labels
        image = Image.open(path)
        palette = image.getpalette()
        image.putpalette(palette[::-1])
        image.save(path)
    warn_of_palettes(dataset, [*samples["train"], *samples["val"]])
    records = {split: [examine(dataset, each) for each in listed] for split, listed in samples.items()}
    found = find_all(gather(dataset, samples, {}, records, crop_size=None, batch_size=1))
    differing = [each for each in found if each.kind == "palettes-differ"]
    assert [(each.severity, [case.file for case in each.cases]) for each in differing] == (
        [("warning", [str(path)])] if mixed else []
    )
    assert ("palettes of the label files differ: index 0 is #000000 in 5 files" in caplog.text) is mixed


# Leaks --------------------------------------------------------------------------------------------------------


def with_lists(root, **lists):
    """The masks with further lists, `test` or named."""
    for name, names in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{each}\n" for each in names))
    splits = {name: {"list": f"{name}.txt"} for name in lists if name != "test"}
    return Folder(str(root), **toys.BINARY, test_list="test.txt" if "test" in lists else None, splits=splits)


def compare(dataset, validation="val", limit=None):
    refuse_leaks(dataset, {split: dataset.samples(split) for split in ("train", validation)}, validation, limit)


@pytest.mark.parametrize(
    ("lists", "validation", "seen"),
    [
        ({"test": ["cell_train_0"]}, "val", "1 images are in both splits, train and test: cell_train_0"),
        ({"night": ["cell_train_1", "cell_val_0"]}, "val", "train and night: cell_train_1"),
        ({"test": ["cell_train_2"]}, "test", "train and test: cell_train_2"),
        ({"some": ["cell_train_2"]}, "some", "train and some: cell_train_2"),  # whatever validates
    ],
)
def test_a_training_image_in_any_other_split_is_refused(binary_root, lists, validation, seen):
    with pytest.raises(DataError) as caught:
        compare(with_lists(binary_root, **lists), validation)
    assert seen in str(caught.value)


def test_lists_that_hold_all_of_train_or_a_part_of_it_are_meant(binary_root, caplog):
    train = [f"cell_train_{index}" for index in range(4)]
    compare(
        with_lists(binary_root, trainval=[*train, "cell_val_0", "cell_val_1"], some=train[:2], night=["cell_val_1"])
    )
    assert caplog.text == ""


def test_validation_images_in_test_are_a_warning(binary_root, caplog):
    compare(with_lists(binary_root, test=["cell_val_1"]))
    (message,) = caplog.messages
    assert message.startswith("1 of 2 validation images are in split test too")


def test_a_test_split_that_cannot_be_listed_keeps_no_run_from_training(binary_root, caplog):
    compare(with_lists(binary_root, test=["cell_test_0"]))
    assert [each for each in caplog.records if each.levelname == "WARNING"] == []


# Labels to score ----------------------------------------------------------------------------------------------


def test_labels_of_ignored_pixels_only_cannot_be_scored(tmp_path):
    # As in the Cityscapes package, whose test labels hold the borders of the camera and nothing else.
    root = toys.draw_folder(tmp_path)
    street = Folder(str(root), toys.FOLDER_CLASSES, "train", "trainannot", "val", "valannot", ignore_class=11)
    require_scorable(street, street.samples("val"), "val")
    *hidden, last = street.samples("val")
    for sample in hidden:
        Image.fromarray(np.full((48, 64), 11, np.uint8)).save(sample.labels)
    require_scorable(street, street.samples("val"), "val")
    Image.fromarray(np.full((48, 64), 11, np.uint8)).save(last.labels)
    with pytest.raises(UnlabeledError, match=r"split 'test' has no labels to score: 2 label files .*Fix: split=val"):
        require_scorable(street, street.samples("val"), "test")
