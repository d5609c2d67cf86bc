"""Your own photographs and class ids in plain folders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segtrain.data.colormap import voc_colormap
from segtrain.data.dataset import Dataset, Sample
from segtrain.data.files import read_names
from segtrain.data.pairing import pair_files, require_root, require_split
from segtrain.errors import ConfigError


class Folder(Dataset):
    """A folder of photographs and a folder of label files for each split, or one pair of folders with list files.

    Args:
        root: What the other paths are relative to.
        classes: The class names, in the order of the ids.
        train_images: Folder of the training photographs.
        train_labels: Folder of their label files: grey or palette PNGs of class ids, named as the photographs.
        val_images: Folder of the validation photographs; may be `train_images` where lists are given.
        val_labels: Folder of their label files.
        train_list: Text file that names the training photographs, one a line; all of the folder where None.
        val_list: The same for validation.
        ignore_class: The id of unlabelled pixels.
        colors: One [R, G, B] a class; VOC's colours where None.
        swap_pairs: Pairs of ids, [left, right], that change places in a mirrored photograph.

    Raises:
        ConfigError: Training and validation would be the same files.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str],
        train_images: str,
        train_labels: str,
        val_images: str,
        val_labels: str,
        train_list: str | None = None,
        val_list: str | None = None,
        ignore_class: int = 255,
        colors: Sequence[Sequence[int]] | None = None,
        swap_pairs: Sequence[Sequence[int]] = (),
    ) -> None:
        self.root = Path(root).expanduser()
        self._splits = split_folders(train_images, train_labels, train_list, val_images, val_labels, val_list)
        table = voc_colormap(len(classes)) if colors is None else _color_table(colors)
        super().__init__(classes, table, ignore_class=ignore_class, swap_pairs=swap_pairs)

    def samples(self, split: str) -> list[Sample]:
        require_split(split, self._splits)
        return folder_samples(self.root, self._splits[split], split)


def _color_table(colors: Sequence[Sequence[int]]) -> np.ndarray:
    for color in colors:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise ConfigError(f"dataset.colors: {list(color)}, expected [red, green, blue], each 0..255")
    return np.array(colors, np.uint8)


def split_folders(
    train_images: str, train_labels: str, train_list: str | None, val_images: str, val_labels: str, val_list: str | None
) -> dict[str, tuple[str, str, str | None]]:
    """Sort the folders and list by split.

    Raises:
        ConfigError: Both splits would be the same files.
    """
    splits = {"train": (train_images, train_labels, train_list), "val": (val_images, val_labels, val_list)}
    if splits["train"] == splits["val"]:
        raise ConfigError(
            f"dataset: training and validation are the same files (images in {train_images}). Fix: give other folders "
            f"for dataset.val_images and dataset.val_labels, or dataset.train_list=... and dataset.val_list=..."
        )
    return splits


def folder_samples(root: Path, folders: tuple[str, str, str | None], split: str) -> list[Sample]:
    """List the samples of one split of `split_folders`.

    Raises:
        DataError: A folder or a list is missing, or a photograph has no labels.
    """
    images, labels, names = folders
    require_root(root, [part for part in folders if part], "/data/my_dataset")
    return pair_files(root / images, root / labels, read_names(root / names) if names else None, split)
