"""Faults of single files: unreadable, of another kind than their name says, of the wrong size or value."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.audit.faults import Corpus, Fault, assert_told, enlarge, ids_of, masks, people, recolour, save, street
from segtrain.data import Concat, Dataset, Sample
from segtrain.errors import DataError

CORPUS = Corpus()
plants = CORPUS.plants
WHITE = (255, 255, 255)

# Photographs


@plants("image-unreadable", "train_1.png")
def a_photograph_of_no_bytes(folder):
    root, dataset = street(folder)
    (root / "train/train_1.png").write_bytes(b"")
    return dataset


@plants("image-unreadable", "train_1.png")
def a_png_cut_short(folder):
    root, dataset = street(folder)
    path = root / "train/train_1.png"
    path.write_bytes(path.read_bytes()[:-40])
    return dataset


@plants("image-unreadable", "train_1.jpg")
def a_jpeg_cut_short(folder):
    root, dataset = street(folder)
    as_jpeg(root / "train/train_1.png")
    path = root / "train/train_1.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    return dataset


@plants("image-unreadable", "val_0.png")
def a_web_page_under_the_name_of_a_photograph(folder):
    root, dataset = street(folder)
    (root / "val/val_0.png").write_bytes(b"<!DOCTYPE html><html><title>404 Not Found</title></html>")
    return dataset


@plants("image-unreadable", "train_2.png")
def a_pointer_of_git_lfs(folder):
    root, dataset = street(folder)
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n"
    (root / "train/train_2.png").write_bytes(text)
    return dataset


@plants("image-unreadable", "train_0.png")
def a_header_of_a_billion_pixels(folder):
    root, dataset = street(folder)
    forge_size(root / "train/train_0.png", 40_000, 40_000)
    return dataset


@plants("image-unreadable", "train_2.png")
def a_film_under_the_name_of_a_photograph(folder):
    root, dataset = street(folder)
    frames = [Image.new("P", (64, 48), level) for level in (0, 1)]
    frames[0].save(root / "train/train_2.gif", save_all=True, append_images=frames[1:])
    (root / "train/train_2.gif").rename(root / "train/train_2.png")
    return dataset


@plants("image-orientation", "train_1.jpg")
def a_camera_that_was_turned(folder):
    root, dataset = street(folder)
    turned = Image.Exif()
    turned[0x0112] = 6
    as_jpeg(root / "train/train_1.png", exif=turned)
    return dataset


@plants("image-plain", "train_1.png")
def a_black_frame(folder):
    root, dataset = street(folder)
    save(root / "train/train_1.png", np.zeros((48, 64, 3), np.uint8))
    return dataset


# Label files


@plants("labels-unreadable", "train_1.png")
def labels_of_no_bytes(folder):
    root, dataset = street(folder)
    (root / "trainannot/train_1.png").write_bytes(b"")
    return dataset


@plants("labels-unreadable", "train_1.png")
def labels_cut_short(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    path.write_bytes(path.read_bytes()[:-30])
    return dataset


@plants("labels-unreadable", "train_1.png")
def labels_with_a_flipped_byte(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 12] ^= 0xFF
    path.write_bytes(data)
    return dataset


@plants("labels-unreadable", "train_1.png")
def a_web_page_under_the_name_of_labels(folder):
    root, dataset = street(folder)
    (root / "trainannot/train_1.png").write_bytes(b"<html>please log in</html>")
    return dataset


@plants("labels-unreadable", "train_1.jpg")
def labels_as_jpeg(folder):
    root, dataset = street(folder)
    as_jpeg(root / "trainannot/train_1.png")
    return dataset


@plants("labels-unreadable", "train_1.png")
def labels_of_sixteen_bits_beyond_a_byte(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    save(path, ids_of(path).astype(np.uint16) + 300)
    return dataset


@plants("labels-unreadable", "val_1.png")
def labels_of_a_billion_pixels(folder):
    root, dataset = street(folder)
    forge_size(root / "valannot/val_1.png", 40_000, 40_000)
    return dataset


@plants("labels-unreadable", "train_1.png")
def a_photograph_in_the_place_of_labels(folder):
    root, dataset = street(folder)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    save(root / "trainannot/train_1.png", noise)
    return dataset


@plants("labels-unreadable", "train_1.png")
def labels_of_several_pages(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    pages = [Image.open(path).copy(), Image.new("L", (64, 48))]
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])
    return dataset


@plants("labels-unreadable", "train_1.png")
def labels_that_a_camera_turned(folder):
    root, dataset = street(folder)
    turned = Image.Exif()
    turned[0x0112] = 6
    path = root / "trainannot/train_1.png"
    Image.open(path).save(path, exif=turned)
    return dataset


@plants("labels-alpha", "train_1.png")
def labels_with_transparency(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    Image.merge("LA", [Image.open(path), Image.new("L", (64, 48), 128)]).save(path)
    return dataset


@plants("sizes-differ", "train_1.png")
def labels_of_half_the_size(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    save(path, ids_of(path)[::2, ::2])
    return dataset


@plants("sizes-differ", "train_1.png")
def labels_with_height_and_width_exchanged(folder):
    root, dataset = street(folder)
    path = root / "trainannot/train_1.png"
    save(path, ids_of(path).T.copy())
    return dataset


@plants("sizes-differ", "val_1.png")
def labels_one_row_short(folder):
    root, dataset = street(folder)
    path = root / "valannot/val_1.png"
    save(path, ids_of(path)[:-1])
    return dataset


# Stored values


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


@plants("values-are-colours", "0000002.png", also=("one-class-split",))
def pictures_of_the_classes_in_the_place_of_ids(folder):
    root, dataset = people(folder)
    greys = np.zeros(256, np.uint8)
    # CIHP's own Categories folder, read as grey: 0.299 R + 0.587 G + 0.114 B of each class's colour.
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


# Which file is which


@plants("image-is-labels", "train_1.png")
def labels_that_are_a_link_to_the_photograph(folder):
    root, dataset = street(folder)
    labels, image = root / "trainannot/train_1.png", root / "train/train_1.png"
    save(image, ids_of(labels))
    labels.unlink()
    labels.symlink_to(os.path.relpath(image, labels.parent))
    return dataset


@plants("labels-without-image", "train_9.png")
def a_label_file_that_lost_its_photograph(folder):
    root, dataset = street(folder)
    save(root / "trainannot/train_9.png", ids_of(root / "trainannot/train_1.png") % 3)
    return dataset


@plants("labels-without-image", "train_3.png")
def a_photograph_that_is_a_link_to_nowhere(folder):
    root, dataset = street(folder)
    (root / "train/train_3.png").unlink()
    (root / "train/train_3.png").symlink_to("nowhere.png")
    return dataset


@plants("names-differ-by-case", "Train_1.png")
def two_names_that_are_one_elsewhere(folder):
    root, dataset = street(folder)
    for kind in ("train", "trainannot"):
        (root / kind / "train_2.png").rename(root / kind / "Train_1.png")
    return dataset


@plants("images-unused", "cell_train_3.png")
def a_photograph_on_no_list(folder):
    root, dataset = masks(folder)
    (root / "train.txt").write_text("cell_train_0\ncell_train_1\ncell_train_2\n")
    return dataset


class Odd(Dataset):
    """A dataset of somebody's own, which breaks what the base class promises."""

    def __init__(self, root: Path) -> None:
        super().__init__(["sky", "ground"], np.zeros((2, 3), np.uint8))
        self._root = root

    def samples(self, split):
        files = sorted((self._root / split).iterdir())
        return [Sample("same", path, self._root / f"{split}annot" / path.name) for path in files]

    def read(self, sample, reduction=1):
        raise DataError(f"{sample.image}: not today. Fix: wait")


@plants("names-repeat", "train_1.png", also=("values-unknown",))
def a_dataset_that_gives_one_name_twice(folder):
    return Odd(street(folder)[0])


@plants("sample-unreadable", "train_1.png: not today", also=("names-repeat",))
def a_dataset_that_refuses_what_can_be_read(folder):
    root, _ = street(folder)
    for labels in ("trainannot", "valannot"):
        recolour(root / labels, lambda ids: ids % 2)
    return Odd(root)


@plants("values-unknown", "unknown value 4", also=("duplicates",))
def a_class_that_one_of_two_datasets_forgot(folder):
    _, scenes = street(folder)
    _, shorter = street(folder / "other", classes=["sky", "building", "road", "tree"])
    return Concat({"scenes": scenes, "shorter": shorter}, {})


def as_jpeg(path: Path, **options) -> None:
    Image.open(path).convert("L" if "annot" in str(path) else "RGB").save(path.with_suffix(".jpg"), **options)
    path.unlink()


def forge_size(path: Path, width: int, height: int) -> None:
    """Write another size into a PNG's header, with the checksum that belongs to it."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)


@pytest.mark.parametrize("fault", CORPUS.faults, ids=str)
def test_a_planted_fault_of_a_file_is_told(fault: Fault, tmp_path: Path):
    assert_told(fault, tmp_path)
