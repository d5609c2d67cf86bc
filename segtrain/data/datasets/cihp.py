"""Crowd Instance-level Human Parsing: 20 body parts and garments (Gong et al. 2018, arXiv:1808.00157)."""

from pathlib import Path
from typing import Annotated

import numpy as np

from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.files import MAX_PIXELS, ExifPolicy
from segtrain.data.images.sample import Sample
from segtrain.data.listing.pairing import pair_files
from segtrain.data.listing.roots import require_root
from segtrain.data.listing.splits import require_split, unlabeled
from segtrain.errors import ConfigError, DataError, argument
from segtrain.limits import Limits, PositiveCount, limited

CLASS_NAMES = (
    "Background", "Hat", "Hair", "Glove", "Sunglasses", "UpperClothes", "Dress", "Coat", "Socks", "Pants",
    "Torso-skin", "Scarf", "Skirt", "Face", "Left-arm", "Right-arm", "Left-leg", "Right-leg", "Left-shoe", "Right-shoe",
)  # fmt: skip
# `human_colormap.mat` of CIHP's archive, times 256.
COLORS = np.array(
    [
        (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51), (255, 85, 0), (0, 0, 85), (0, 119, 221),
        (85, 85, 0), (0, 85, 85), (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221), (0, 255, 255),
        (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0),
    ],
    np.uint8,
)  # fmt: skip
# Left and right are the person's own; a mirrored image changes them over.
SWAP_PAIRS = ((14, 15), (16, 17), (18, 19))

_TESTING = "Testing"
# Other folders of the archive next to Category_ids, each with files of the same names.
_NO_CLASS_IDS = ("Categories", "Instances", "Instance_ids", "Human", "Human_ids")
_ONLY_IDS = "Only CIHP's Category_ids holds class ids: Categories holds colors, Instance_ids numbers of parts"


class Cihp(Dataset):
    """CIHP as its archive unpacks: `Training` and `Validation` with `Images` and `Category_ids`, and the color table.

    `Testing`, whose labels are not public, is split "test" where it is there.

    Args:
        root: The folder `instance-level_human_parsing` that holds `Training`.
        num_train_images: Number of training images to use, the first by name; None for all.
        num_val_images: Only the first so many validation images.
        val_folder: "Validation", or "Training" for programs that validate on the training images that follow
            the first `num_train_images`.
        colormap_scale: Factor of the color table published as `human_colormap.mat`, in k/256: 256 gives the true
            colors; the keras.io program uses 100 and paints them dark. The file itself is not read.
        exif: What to do with images that a camera marked as turned: "refuse", "apply" or "ignore".
        max_pixels: Images with more pixels are refused by their headers.

    Raises:
        ConfigError: A limit is below 1, or `val_folder="Training"` without `num_train_images`.
    """

    @limited
    def __init__(
        self,
        root: str,
        num_train_images: PositiveCount | None = None,
        num_val_images: PositiveCount | None = None,
        val_folder: str = "Validation",
        colormap_scale: Annotated[float, Limits(0, 65536, above=True)] = 256,
        exif: ExifPolicy = "refuse",
        max_pixels: PositiveCount = MAX_PIXELS,
    ) -> None:
        self.root = Path(root).expanduser()
        if val_folder == "Training" and num_train_images is None:
            raise ConfigError(
                f"{argument('val_folder')}=Training needs {argument('num_train_images')}, to know where training ends"
            )
        self._limits = {"train": num_train_images, "val": num_val_images}
        self._val_folder = val_folder
        super().__init__(
            CLASS_NAMES,
            np.clip(COLORS / 256 * colormap_scale, 0, 255).astype(np.uint8),
            flip_pairs=SWAP_PAIRS,
            exif=exif,
            max_pixels=max_pixels,
        )

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "val", *(["test"] if (self.root / _TESTING / "Images").is_dir() else []))

    def samples(self, split: str) -> list[Sample]:
        require_split(split, self.splits)
        if split == "test":
            return _test_samples(self.root / _TESTING)
        for name in ("Training", self._val_folder):
            _refuse_without_ids(self.root / name)
        looked_for = [
            f"{folder}/{kind}" for folder in ("Training", self._val_folder) for kind in ("Images", "Category_ids")
        ]
        require_root(self.root, list(dict.fromkeys(looked_for)))
        folder = self.root / (self._val_folder if split == "val" else "Training")
        samples = pair_files(folder / "Images", folder / "Category_ids", split)
        if split == "val" and self._val_folder == "Training":
            first = self._limits["train"] or 0
            if len(samples) <= first:
                raise DataError(
                    f"split 'val' is empty: {folder} holds {len(samples)} images and the first {first} are for "
                    f"training. Fix: {argument('num_train_images')}={max(1, len(samples) - 50)}"
                )
            samples = samples[first:]
        return samples[: self._limits[split]]

    def read_labels(self, sample: Sample) -> np.ndarray:
        try:
            return super().read_labels(sample)
        except DataError as error:
            if "unknown value" not in str(error):
                raise
            raise DataError(f"{error.message}. {_ONLY_IDS}") from error


def _test_samples(folder: Path) -> list[Sample]:
    images, labels = folder / "Images", folder / "Category_ids"
    if not labels.is_dir():
        raise unlabeled("test", sum(1 for _ in images.iterdir()), images, labels)
    return pair_files(images, labels, "test")


def _refuse_without_ids(folder: Path) -> None:
    """Refuse a folder with the archive's other kinds of labels instead of class ids (keras-io issue 1227)."""
    others = [name for name in _NO_CLASS_IDS if (folder / name).is_dir()]
    if others and not (folder / "Category_ids").is_dir():
        raise DataError(
            f"labels in {folder}: {', '.join(others)}, expected Category_ids. {_ONLY_IDS}. Fix: unpack Category_ids "
            f"from CIHP's archive too"
        )
