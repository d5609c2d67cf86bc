"""Dataset of images and labels in plain folders, configured in YAML."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segtrain.data.datasets.classes import ClassTable, LabelValues, class_id, class_table, stored_labels
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.files import MAX_PIXELS, AlphaPolicy, ExifPolicy
from segtrain.data.images.sample import Sample
from segtrain.data.listing.folders import Naming, list_images
from segtrain.data.listing.list_file import read_lines
from segtrain.data.listing.list_fixes import folder_settings
from segtrain.data.listing.list_samples import pair_listed, read_split
from segtrain.data.listing.listed import SampleFolders
from segtrain.data.listing.pairing import is_held_out, pair_files
from segtrain.data.listing.roots import require_list, require_root
from segtrain.data.listing.splits import STANDARD, may_be_unlabeled, require_split, split_key, unlabeled
from segtrain.errors import ConfigError, DataError, argument
from segtrain.limits import Count, InnerFraction, PositiveCount, limited
from segtrain.terminal import printable


class _Files(NamedTuple):
    """Where the files of a split are, relative to the root."""

    images: str | None
    labels: str | None
    list: str | None


class Folder(Dataset):
    """Images and label files in folders, split by folder, by list files, or by a fraction of the names.

    Args:
        root: Base folder of the other paths.
        classes: The class names in the order of the ids, or a table of [red, green, blue] by name.
        train_images: Folder of the training images.
        train_labels: Folder of their label files.
        val_images: Folder of the validation images; `train_images` where None.
        val_labels: Folder of their label files; `train_labels` where None.
        train_list: Text file of training images, one per line: a name, or the two files of a sample,
            relative to `root` ("images/a.jpg labels/a.png"); all of the folder where None.
        val_list: The same for validation.
        val_fraction: Fraction of the training images, 0-1, held out for validation, chosen by name and `split_seed`.
        split_seed: Seed of the choice of images by `val_fraction`.
        image_suffix: How the images' names end, "_leftImg8bit.png"; what is before it pairs them with labels.
        label_suffix: How the label files' names end, "_gtFine_labelIds.png" or "_mask.png".
        image_prefix: How the images' names begin, "img_"; what is behind it pairs them with labels.
        label_prefix: How the label files' names begin, "mask_".
        recursive: Whether the folders hold folders. Names then begin with them, "aachen/aachen_000"; where one of the
            two folders holds none, the names of files alone pair.
        label_values: Content of label files: class `ids`; ids `from_one`, 0 ignored; `colors`, those of `classes`;
            or the class (name, id or `ignore`) of each stored value, {0: background, 255: cell}.
        ignore_class: The id of ignored pixels; where files hold ids, the value of unlabeled pixels in them.
        ignore_colors: Where files hold colors, the colors to ignore.
        flip_pairs: Pairs of classes, [left, right], by name or id, to swap in a mirrored image.
        exif: What to do with images that a camera marked as turned: "refuse", "apply" or "ignore".
        alpha: What to do with transparency in label files: "refuse" or "drop".
        max_pixels: Images with more pixels are refused by their headers.
        image_range: The values of 16-bit images that become 0 and 255, [0, 4095] for images of 12 bits; their upper
            eight bits are kept where None.
        test_images: Folder of the test images; `train_images` where None. Without any of the
            three `test_` arguments the dataset has no test split.
        test_labels: Folder of their label files; where None, `train_labels` for images of `train_images`, and for
            others none: they can be predicted, not scored.
        test_list: The same as `val_list`, for test.
        splits: Further splits by name, each with `images`, `labels` and `list` as those of test:
            {night: {list: night.txt}, rain: {images: rain, labels: rain_labels}}.

    Raises:
        ConfigError: Training and validation would be the same files, or classes and values do not fit together.
    """

    @limited
    def __init__(
        self,
        root: str,
        classes: ClassTable,
        train_images: str | None = None,
        train_labels: str | None = None,
        val_images: str | None = None,
        val_labels: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        val_fraction: InnerFraction | None = None,
        split_seed: Count = 0,
        image_suffix: str = "",
        label_suffix: str = "",
        image_prefix: str = "",
        label_prefix: str = "",
        recursive: bool = False,
        label_values: LabelValues = "ids",
        ignore_class: int = 255,
        ignore_colors: Sequence[Sequence[int]] = (),
        flip_pairs: Sequence[Sequence[int | str]] = (),
        exif: ExifPolicy = "refuse",
        alpha: AlphaPolicy = "refuse",
        max_pixels: PositiveCount = MAX_PIXELS,
        image_range: Sequence[int] | None = None,
        test_images: str | None = None,
        test_labels: str | None = None,
        test_list: str | None = None,
        splits: Mapping[str, Mapping[str, str | None]] | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        self._folders = _files_by_split(
            _Files(train_images, train_labels, train_list),
            _Files(val_images, val_labels, val_list),
            val_fraction,
            _Files(test_images, test_labels, test_list),
            splits or {},
        )
        self._naming = Naming(image_suffix, label_suffix, image_prefix, label_prefix, recursive)
        self._val_fraction, self._split_seed = val_fraction, split_seed
        names, colors = class_table(classes)
        super().__init__(
            names,
            colors,
            ignore_class=ignore_class,
            flip_pairs=_pairs_of_ids(flip_pairs, names, ignore_class),
            **stored_labels(label_values, names, classes, ignore_class, ignore_colors)._asdict(),
            exif=exif,
            alpha=alpha,
            max_pixels=max_pixels,
            image_range=image_range,
        )

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(
            name
            for name, (images, _, names) in self._folders.items()
            if not may_be_unlabeled(name)
            or all((self.root / each).exists() for each in ((images,) if names is None else (names,)) if each)
        )

    def samples(self, split: str) -> list[Sample]:
        if split not in self._folders:
            require_split(split, self.splits, folder_settings("test") if split == "test" else "")
        if self._val_fraction is None or may_be_unlabeled(split):
            return self._listed(split)
        everything = self._listed("train")
        wanted = split == "val"
        samples = [
            sample for sample in everything if is_held_out(sample.name, self._val_fraction, self._split_seed) == wanted
        ]
        if not samples:
            raise DataError(
                f"split '{split}' is empty: {argument('val_fraction')}={self._val_fraction} of {len(everything)} "
                f"images leaves it none. Fix: {argument('split_seed')}={self._split_seed + 1}, or another "
                "val_fraction"
            )
        return samples

    def _listed(self, split: str) -> list[Sample]:
        """List what the folders or the list file of one split hold."""
        images, labels, names = self._folders[split]
        self._require_files(split)
        image_folder, label_folder = (None if part is None else self.root / part for part in (images, labels))
        if names is not None:
            source, val_list = self.root / names, self._folders["val"].list
            # Images of different folders may well be called alike.
            one_folder = self._folders["train"].images == self._folders["val"].images and self._val_fraction is None
            held_out = self.root / val_list if val_list and one_folder and split == "train" else None
            return pair_listed(
                source,
                read_split(source, held_out),
                SampleFolders(self.root, image_folder, label_folder, self._naming),
                split,
            )
        if image_folder is None or label_folder is None:
            raise DataError(
                f"split '{split}' is empty: neither folders nor a list of two files a line, expected one of them. Fix: "
                f"{folder_settings(split)}"
            )
        return pair_files(image_folder, label_folder, split, self._naming)

    def _require_files(self, split: str) -> None:
        """Refuse a split whose folders or list are not there.

        Raises:
            UnlabeledError: Only its labels are missing, and it may come without.
            DataError: Others are.
        """
        images, labels, names = self._folders[split]
        keys = {images: argument(split_key(split, "images")), labels: argument(split_key(split, "labels"))}
        without_labels = images and may_be_unlabeled(split) and not (self.root / (labels or "")).is_dir()
        looked_for = [part for part in (images, None if without_labels else labels) if part]
        instead = folder_settings(split) if may_be_unlabeled(split) else ""
        require_root(self.root, looked_for, {name: key for name, key in keys.items() if name}, instead)
        if names is not None:
            key = argument(split_key(split, "list"))
            require_list(self.root / names, key, names, "" if may_be_unlabeled(split) else self._without_list(split))
        if images and may_be_unlabeled(split) and (without_labels or (labels is None and names is None)):
            folder = self.root / images
            number = len(list_images(folder, self._naming).files if names is None else read_lines(self.root / names))
            raise unlabeled(split, number, folder, None if labels is None else self.root / labels)

    def _without_list(self, split: str) -> str:
        """The overrides that do without the list of a split."""
        train, val = self._folders["train"], self._folders["val"]
        if self._val_fraction is not None or (split == "val" and val[:2] != train[:2]):
            return f"{argument(f'{split}_list')}=null"
        has_train_list = train[2] is not None and (self.root / train[2]).is_file()
        lists = ["val"] if has_train_list else ["train", "val"]
        return " ".join([*(f"{argument(f'{each}_list')}=null" for each in lists), f"{argument('val_fraction')}=0.2"])


def _further_splits(splits: Mapping[str, Mapping[str, str | None]], train: _Files) -> dict[str, _Files]:
    """The files of named splits.

    Raises:
        ConfigError: A name is that of another split or not plain, or a key is unknown.
    """
    found = {}
    for name, keys in splits.items():
        if name in STANDARD or not re.fullmatch(r"[\w-]+", name):
            expected = "a name other than train, val and test, of letters, digits, '_' and '-'"
            raise ConfigError(f"splits: '{printable(name)}', expected {expected}. Fix: rename it, or test_list=FILE")
        if strangers := [key for key in keys if key not in ("images", "labels", "list")]:
            raise ConfigError(f"splits.{name}.{strangers[0]}: expected images, labels or list. Fix: rename the key")
        if not any(keys.values()):
            raise ConfigError(f"splits.{name}: no files, expected images, labels or list. Fix: splits.{name}.list=FILE")
        found[name] = _further_files(train, keys.get("images"), keys.get("labels"), keys.get("list"))
    return found


def _further_files(train: _Files, images: str | None, labels: str | None, names: str | None) -> _Files:
    """The files of a split that is neither train nor val: labels of other folders' images are never guessed."""
    images = images or train.images
    return _Files(images, labels or (train.labels if images == train.images else None), names)


def _pairs_of_ids(
    flip_pairs: Sequence[Sequence[int | str]], names: Sequence[str], ignore_class: int
) -> list[list[int]]:
    return [[class_id(each, names, ignore_class, argument("flip_pairs")) for each in pair] for pair in flip_pairs]


def _files_by_split(
    train: _Files,
    val: _Files,
    val_fraction: float | None,
    test: _Files,
    splits: Mapping[str, Mapping[str, str | None]],
) -> dict[str, _Files]:
    """Return the files of each split; validation without folders of its own uses those of training.

    Raises:
        ConfigError: Validation is set twice, or is training's files, or a named split is malformed.
    """
    if val_fraction is not None and any(val):
        given = [argument(f"val_{field}") for field, value in val._asdict().items() if value is not None]
        raise ConfigError(
            f"{argument('val_fraction')}={val_fraction}: validation is also set by {', '.join(given)}, expected one. "
            f"Fix: {' '.join(f'{key}=null' for key in given)}"
        )
    found = {"train": train, "val": _Files(val.images or train.images, val.labels or train.labels, val.list)}
    if val_fraction is None and found["val"] == train:
        raise ConfigError(
            f"training and validation are the same files (images in {train.images}). Fix: give other folders for "
            f"{argument('val_images')} and {argument('val_labels')}, or {argument('train_list')}=... and "
            f"{argument('val_list')}=..., or {argument('val_fraction')}=0.2"
        )
    if any(test):
        found["test"] = _further_files(train, test.images, test.labels, test.list)
    return found | _further_splits(splits, train)
