"""Faults of stored values: what is no class, and what wrote it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.audit.faults import Corpus, Fault, assert_told, enlarge, ids_of, masks, people, recolour, save, street
from segtrain.data import Concat

CORPUS = Corpus()
plants = CORPUS.plants
WHITE = (255, 255, 255)


@plants("labels-in-colors", "#800000", also=("one-class-split",))
def masks_in_colours(folder):
    root, dataset = street(folder)
    table = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128), (128, 128, 0), *[WHITE] * 7], np.uint8)
    recolour(root / "trainannot", lambda ids: table[ids])
    return dataset


@plants("labels-in-colors", "train_1.png")
def one_mask_in_colours_with_transparency(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    ids = ids_of(path)
    save(path, np.dstack([ids * 20, ids, ids, np.full_like(ids, 255)]))
    return dataset


@plants("colors-unknown", "#800001")
def a_colour_one_step_off_the_table(folder):
    table = {"sky": [0, 0, 0], "building": [128, 0, 0], "road": [0, 128, 0], "tree": [0, 0, 128], "car": [128, 128, 0]}
    options = {"classes": table, "label_values": "colors", "ignore_colors": [[255, 255, 255]]}
    root, dataset = street(folder, **options)
    colors = np.array([*table.values(), *[WHITE] * 7], np.uint8)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, lambda ids: colors[ids])
    path = root / "trainannot/train_1.png"
    pixels = ids_of(path)
    pixels[3, 4] = (128, 0, 1)
    save(path, pixels)
    return dataset


@plants("values-void", "train_0.png")
def a_void_that_is_not_declared(folder):
    root, dataset = street(folder)
    recolour(root / "trainannot", lambda ids: np.where(ids == 11, 255, ids).astype(np.uint8))
    return dataset


@plants("values-from-one", "5 occurs and 0 never does")
def ids_that_count_from_one(folder):
    root, dataset = street(folder)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, lambda ids: np.where(ids == 11, 11, ids + 1).astype(np.uint8))
    return dataset


@plants("values-one-more", "with 5, one beyond the 5 classes")
def a_class_that_the_list_forgot(folder):
    root, dataset = street(folder)
    recolour(root / "trainannot", lambda ids: np.where(ids == 3, 5, ids).astype(np.uint8), "train_2")
    return dataset


@plants("values-scaled", "0, 128, 255")
def ids_stretched_to_be_seen(folder):
    root, dataset = street(folder, classes=["sky", "ground", "car"])
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, lambda ids: np.array([0, 128, 255] * 4, np.uint8)[ids])
    return dataset


@plants("values-binary", "masks of 0 and 255")
def masks_of_255_where_ids_are_expected(folder):
    _, dataset = masks(folder, label_values="ids")
    return dataset


@plants("values-binary", "masks of 0 and 255")
def masks_of_255_where_255_is_void(folder):
    root, dataset = masks(folder, label_values={0: 0, 1: 1})
    save(root / "masks/cell_val_0.png", ids_of(root / "masks/cell_val_0.png") // 255)
    return dataset


@plants("values-interpolated", "cell_train_1.png")
def masks_with_grey_edges(folder):
    root, dataset = masks(folder)
    path = root / "masks/cell_train_1.png"
    Image.open(path).resize((32, 24), Image.Resampling.BILINEAR).resize((64, 48), Image.Resampling.BILINEAR).save(path)
    return dataset


@plants("values-interpolated", "train_1.png")
def labels_resized_with_their_void(folder):
    root, dataset = street(folder)
    enlarge(root, "train_1")
    return dataset


@plants("values-interpolated", "train_3.png")
def a_grey_photograph_in_the_place_of_labels(folder):
    root, dataset = street(folder)
    save(root / "trainannot/train_3.png", np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8))
    return dataset


@plants("values-are-colors", "0000002.png", also=("one-class-split",))
def pictures_of_the_classes_in_the_place_of_ids(folder):
    root, dataset = people(folder)
    greys = np.zeros(256, np.uint8)
    # CIHP's own Categories folder, read as gray: 0.299 R + 0.587 G + 0.114 B of each class's color.
    greys[: len(dataset.colors)] = np.round(dataset.colors @ (0.299, 0.587, 0.114))
    recolour(root / "Training/Category_ids", lambda ids: greys[ids])
    return dataset


@plants("values-unknown", "train_1.png: unknown value 77 (1 pixels)")
def one_pixel_of_no_class(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    ids = ids_of(path)
    ids[5, 5] = 77
    save(path, ids)
    return dataset


@plants("values-unknown", "unknown value 4", also=("duplicates",))
def a_class_that_one_of_two_datasets_forgot(folder):
    _, scenes = street(folder)
    _, shorter = street(folder / "other", classes=["sky", "building", "road", "tree"])
    return Concat({"scenes": scenes, "shorter": shorter}, {})


@pytest.mark.parametrize("fault", CORPUS.faults, ids=str)
def test_a_planted_fault_of_stored_values_is_told(fault: Fault, tmp_path: Path):
    assert_told(fault, tmp_path)
