"""Faults of single files: unreadable, of another kind than their name says, or of the wrong size."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.audit.faults import Corpus, Fault, assert_told, ids_of, masks, recolour, save, street
from segtrain.data import Dataset, Sample
from segtrain.errors import DataError

CORPUS = Corpus()
plants = CORPUS.plants

# Images


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


@plants("image-unreadable", "train_3.png")
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


@plants("names-respelled", "TRAIN_2.png")
def a_label_file_of_another_case(folder):
    root, dataset = street(folder)
    (root / "trainannot/train_2.png").rename(root / "trainannot/TRAIN_2.png")
    return dataset


@plants("files-unread", "train_9.gif")
def an_image_of_a_kind_that_is_not_read(folder):
    root, dataset = street(folder)
    (root / "train/train_9.gif").write_bytes(b"GIF89a")
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
