"""Two classes from folders of photographs and black-and-white masks."""

from pathlib import Path

import numpy as np

from segtrain.data.dataset import Dataset, Sample
from segtrain.data.folder import folder_samples, split_folders
from segtrain.data.pairing import require_split


class Binary(Dataset):
    """Photographs and masks in two folders, split by list files, or in four folders.

    Masks hold 0 for background and either 255 or 1 for foreground; any other value is refused.

    Args:
        root: What the other paths are relative to.
        train_images: Folder of the training photographs.
        train_labels: Folder of their masks, named as the photographs.
        val_images: Folder of the validation photographs.
        val_labels: Folder of their masks.
        train_list: Text file that names the training photographs, one a line; all of the folder where None.
        val_list: The same for validation.
        foreground: Name of the foreground class.

    Raises:
        ConfigError: Training and validation would be the same files.
    """

    def __init__(
        self,
        root: str,
        train_images: str = "images",
        train_labels: str = "masks",
        val_images: str = "images",
        val_labels: str = "masks",
        train_list: str | None = "train.txt",
        val_list: str | None = "val.txt",
        foreground: str = "foreground",
    ) -> None:
        self.root = Path(root).expanduser()
        self._splits = split_folders(train_images, train_labels, train_list, val_images, val_labels, val_list)
        # 255 means foreground here, so the padding of crops takes another id.
        super().__init__(
            ("background", foreground),
            np.array([(0, 0, 0), (230, 25, 75)], np.uint8),
            ignore_class=2,
            label_values={0: 0, 1: 1, 255: 1},
        )

    def samples(self, split: str) -> list[Sample]:
        require_split(split, self._splits)
        return folder_samples(self.root, self._splits[split], split)
