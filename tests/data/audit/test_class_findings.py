"""Faults of classes, of sizes, and of label files as a whole; and clean datasets, of which nothing is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import toys
from data.audit.faults import (
    Corpus,
    Fault,
    assert_told,
    enlarge,
    findings_of,
    ids_of,
    masks,
    people,
    recolour,
    save,
    street,
)
from segtrain.data import Cihp, Folder, People, Voc

CORPUS = Corpus()
plants = CORPUS.plants


# Which classes occur


@plants("class-not-trained", "car (4)")
def a_class_that_only_val_shows(folder):
    root, dataset = street(folder)
    recolour(root / "trainannot", replace(4, 3))
    return dataset


@plants("class-not-validated", "car (4)")
def a_class_that_only_train_shows(folder):
    root, dataset = street(folder)
    recolour(root / "valannot", replace(4, 3))
    return dataset


@plants("class-zero-absent", "sky (0) never occurs", also=("void-share",))
def a_first_class_that_never_occurs(folder):
    root, dataset = street(folder)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, replace(0, 11))
    return dataset


@plants("class-last-absent", "car (4) never occurs")
def a_list_with_a_name_too_many(folder):
    root, dataset = street(folder)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, replace(4, 3))
    return dataset


@plants("class-absent", "building (1), tree (3)")
def classes_that_never_occur(folder):
    root, dataset = street(folder)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, lambda ids: replace(3, 2)(replace(1, 2)(ids)))
    return dataset


@plants("class-rare", "car (4) in 2")
def a_class_of_two_photographs(folder):
    root = toys.draw_folder(folder, num_train=60, size=(24, 32))
    recolour(root / "trainannot", replace(4, 3), "train_[0-9]?")
    recolour(root / "trainannot", replace(4, 3), "train_[2-9]")
    return Folder(
        str(root), toys.FOLDER_CLASSES, "train", "trainannot", "val", "valannot", ignore_class=toys.FOLDER_IGNORE
    )


@plants("one-class-split", "only sky (0)", also=("class-not-trained",))
def labels_of_background_alone(folder):
    root, dataset = street(folder)
    recolour(root / "trainannot", np.zeros_like)
    return dataset


@plants("one-class-split", "ignored pixels only", also=("class-not-trained",))
def labels_of_void_alone(folder):
    root, dataset = street(folder)
    recolour(root / "trainannot", lambda ids: np.full_like(ids, 11))
    return dataset


@plants("values-binary", "masks of 0 and 255")
def masks_whose_foreground_is_void(folder):
    return masks(folder, label_values="ids")[1]


@plants("pair-one-sided", "Left-arm (14) occurs in 8 label files")
def arms_that_are_all_left(folder):
    root, dataset = people(folder, num_train=6)
    for split in ("Training", "Validation"):
        recolour(root / split / "Category_ids", replace(15, 14))
    return dataset


# What label files hold


@plants("masks-inverted", "cell_train_0.png")
def masks_with_black_and_white_exchanged(folder):
    root, dataset = masks(folder)
    recolour(root / "masks", lambda ids: 255 - ids)
    return dataset


@plants("masks-inverted-some", "cell_train_2.png")
def one_mask_with_black_and_white_exchanged(folder):
    root, dataset = masks(folder)
    ids = np.full((48, 64), 255, np.uint8)
    ids[20:25, 20:40] = 0
    save(root / "masks/cell_train_2.png", ids)
    return dataset


@plants("foreground-scarce", "0.033%")
def masks_of_next_to_nothing(folder):
    root, dataset = masks(folder)
    for number, path in enumerate(sorted((root / "masks").iterdir())):
        ids = np.zeros((48, 64), np.uint8)
        ids[number, number] = 255  # 1 of 3072 pixels
        save(path, ids)
    return dataset


@plants("labels-all-void", "train_1.png")
def one_label_file_of_void_alone(folder):
    root, dataset = street(folder)
    save(root / "trainannot/train_1.png", np.full((48, 64), 11, np.uint8))
    return dataset


@plants("labels-empty", "train_7.png")
def one_photograph_that_nobody_labelled(folder):
    root = toys.draw_folder(folder, num_train=60, size=(24, 32))
    save(root / "trainannot/train_7.png", np.zeros((24, 32), np.uint8))
    return Folder(
        str(root), toys.FOLDER_CLASSES, "train", "trainannot", "val", "valannot", ignore_class=toys.FOLDER_IGNORE
    )


@plants("labels-one-class", "train_1.png")
def one_label_file_of_a_single_class(folder):
    root, dataset = street(folder)
    save(root / "trainannot/train_1.png", np.full((48, 64), 2, np.uint8))
    return dataset


@plants("void-share", "of the pixels are ignored")
def labels_that_are_mostly_void(folder):
    root, dataset = street(folder)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, replace(0, 11))
        for path in (root / labels).iterdir():
            ids = ids_of(path)
            ids[0, :] = 0  # so that class 0 still occurs
            save(path, ids)
    return dataset


@plants("labels-interpolated", "train_1.png")
def labels_resized_as_if_they_were_a_photograph(folder):
    root, dataset = street(folder)
    recolour(root / "trainannot", replace(11, 0), "train_1")  # else there are values between 4 and 11 too
    enlarge(root, "train_1")
    return dataset


# Sizes


@plants("image-tiny", "train_1.png")
def a_thumbnail_among_photographs(folder):
    root, dataset = street(folder)
    for kind in ("train", "trainannot"):
        save(root / kind / "train_1.png", np.array(Image.open(root / kind / "train_1.png"))[20:30, 10:30])
    return dataset


@plants("aspect-extreme", "train_1.png 20x400 (HxW)")
def a_strip_among_photographs(folder):
    root, dataset = street(folder)
    rng = np.random.default_rng(0)
    image, ids = toys.draw_pair(rng, (20, 400), (1, 2, 3, 4), void=11)
    save(root / "train/train_1.png", image)
    save(root / "trainannot/train_1.png", ids)
    return dataset


@plants("sizes-vary", "train_1.png")
def a_photograph_much_larger_than_the_others(folder):
    root, dataset = street(folder)
    image, ids = toys.draw_pair(np.random.default_rng(0), (240, 320), (1, 2, 3, 4), void=11)
    save(root / "train/train_1.png", image)
    save(root / "trainannot/train_1.png", ids)
    return dataset


@plants("crop-mostly-padding", "crop_size 128x128 is 81% padding", crop_size=(128, 128))
def crops_far_larger_than_the_photographs(folder):
    return street(folder)[1]  # 48 x 64 of 128 x 128 pixels are 18.75 %


@plants("crop-larger", "reaches beyond 4 of 4", crop_size=(64, 64))
def crops_larger_than_the_photographs(folder):
    return street(folder)[1]


@plants("crop-small", "crop_size 12x12 shows 4.7%", crop_size=(12, 12))
def crops_that_see_next_to_nothing(folder):
    return street(folder)[1]  # 144 of 3072 pixels


@pytest.mark.parametrize("fault", CORPUS.faults, ids=str)
def test_a_planted_fault_of_classes_or_sizes_is_told(fault: Fault, tmp_path: Path):
    assert_told(fault, tmp_path)


@pytest.mark.parametrize("kind", ["cihp", "voc", "binary", "folder", "people"])
def test_of_a_clean_dataset_nothing_is_told_but_notes(kind, tmp_path):
    dataset = {
        "cihp": lambda: Cihp(str(toys.draw_cihp(tmp_path, num_train=12, num_val=6))),
        "voc": lambda: Voc(str(toys.draw_voc(tmp_path, num_train=12, num_val=6))),
        "binary": lambda: Folder(str(toys.draw_binary(tmp_path, num_train=12, num_val=6)), **toys.BINARY),
        "folder": lambda: street(tmp_path)[1],
        "people": lambda: People(str(tmp_path / "people"), num_train_images=8, num_val_images=4, size=(96, 112)),
    }[kind]()
    assert [(each.kind, each.summary) for each in findings_of(dataset) if each.severity != "note"] == []


def replace(old: int, new: int):
    return lambda ids: np.where(ids == old, new, ids).astype(np.uint8)
