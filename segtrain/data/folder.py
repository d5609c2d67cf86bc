"""Your own photographs and labels in plain folders, told by YAML alone."""

from collections.abc import Sequence
from pathlib import Path

from segtrain.data.classes import ClassTable, LabelValues, class_id, class_table, stored_labels
from segtrain.data.dataset import Dataset, Sample
from segtrain.data.files import MAX_PIXELS, AlphaPolicy, ExifPolicy
from segtrain.data.list_samples import pair_listed, read_split
from segtrain.data.listed import Place
from segtrain.data.listing import Naming
from segtrain.data.pairing import is_held_out, pair_files, require_split
from segtrain.data.roots import require_list, require_root
from segtrain.errors import ConfigError, DataError
from segtrain.limits import Count, InnerFraction, PositiveCount, limited


class Folder(Dataset):
    """Photographs and label files in folders, split by folder, by list files, or by a share of the names.

    Args:
        root: What the other paths are relative to.
        classes: The class names in the order of the ids, or a table of [red, green, blue] by name.
        train_images: Folder of the training photographs.
        train_labels: Folder of their label files.
        val_images: Folder of the validation photographs; `train_images` where None.
        val_labels: Folder of their label files; `train_labels` where None.
        train_list: Text file that tells the training photographs, one a line: a name, or the two files of a sample,
            relative to `root` ("images/a.jpg labels/a.png"); all of the folder where None.
        val_list: The same for validation.
        val_fraction: This share of the training photographs, 0-1, validates instead, chosen by name and `split_seed`.
        split_seed: Another seed chooses others.
        image_suffix: How the photographs' names end, "_leftImg8bit.png"; what is before it pairs them with labels.
        label_suffix: How the label files' names end, "_gtFine_labelIds.png" or "_mask.png".
        image_prefix: How the images' names begin, "img_"; what is behind it pairs them with labels.
        label_prefix: How the label files' names begin, "mask_".
        recursive: Whether the folders hold folders. Names then begin with them, "aachen/aachen_000"; where one of the
            two folders holds none, the names of files alone pair.
        label_values: What label files hold: class `ids`; ids `from_one`, 0 being void; `colors`, those of `classes`;
            or the class (name, id or `ignore`) of each stored value, {0: background, 255: cell}.
        ignore_class: The id of void; where files hold ids, the value of unlabelled pixels in them.
        ignore_colors: Where files hold colours, those of void.
        swap_pairs: Pairs of classes, [left, right], by name or id, that change places in a mirrored photograph.
        exif: What to do with photographs that a camera marked as turned: "refuse", "apply" or "ignore".
        alpha: What to do with transparency in label files: "refuse" or "drop".
        max_pixels: Larger pictures are refused by their headers.
        image_range: The values of 16-bit images that become 0 and 255, [0, 4095] for images of 12 bits; their upper
            eight bits are kept where None.

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
        swap_pairs: Sequence[Sequence[int | str]] = (),
        exif: ExifPolicy = "refuse",
        alpha: AlphaPolicy = "refuse",
        max_pixels: PositiveCount = MAX_PIXELS,
        image_range: Sequence[int] | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        train = (train_images, train_labels, train_list)
        val = (val_images or train_images, val_labels or train_labels, val_list)
        self._folders = {"train": train, "val": val}
        self._naming = Naming(image_suffix, label_suffix, image_prefix, label_prefix, recursive)
        self._val_fraction, self._split_seed = val_fraction, split_seed
        if val_fraction is None:
            _refuse_same(train, val)
        else:
            _check_fraction(val_fraction, {"val_images": val_images, "val_labels": val_labels, "val_list": val_list})
        names, colors = class_table(classes)
        super().__init__(
            names,
            colors,
            ignore_class=ignore_class,
            swap_pairs=[
                [class_id(each, names, ignore_class, "dataset.swap_pairs") for each in pair] for pair in swap_pairs
            ],
            **stored_labels(label_values, names, classes, ignore_class, ignore_colors)._asdict(),
            exif=exif,
            alpha=alpha,
            max_pixels=max_pixels,
            image_range=image_range,
        )

    def samples(self, split: str) -> list[Sample]:
        require_split(split, self.splits)
        if self._val_fraction is None:
            return self._listed(split)
        everything = self._listed("train")
        wanted = split == "val"
        samples = [
            sample for sample in everything if is_held_out(sample.name, self._val_fraction, self._split_seed) == wanted
        ]
        if not samples:
            raise DataError(
                f"split '{split}' is empty: dataset.val_fraction={self._val_fraction} of {len(everything)} photographs "
                f"leaves it none. Fix: dataset.split_seed={self._split_seed + 1}, or another val_fraction"
            )
        return samples

    def _listed(self, split: str) -> list[Sample]:
        """List what the folders or the list file of one split hold."""
        images, labels, names = self._folders[split]
        keys = {images: f"dataset.{split}_images", labels: f"dataset.{split}_labels"}
        require_root(
            self.root, [part for part in (images, labels) if part], {name: key for name, key in keys.items() if name}
        )
        image_folder, label_folder = (None if part is None else self.root / part for part in (images, labels))
        if names is not None:
            source, val_list = self.root / names, self._folders["val"][2]
            # Images of different folders may well be called alike.
            one_folder = self._folders["train"][0] == self._folders["val"][0] and self._val_fraction is None
            held_out = self.root / val_list if val_list and one_folder and split == "train" else None
            require_list(source, f"dataset.{split}_list", names, self._without_list(split))
            return pair_listed(
                source, read_split(source, held_out), Place(self.root, image_folder, label_folder, self._naming), split
            )
        if image_folder is None or label_folder is None:
            raise DataError(
                f"split '{split}' is empty: neither folders nor a list of two files a line, expected one of them. Fix: "
                f"dataset.{split}_images=... dataset.{split}_labels=..."
            )
        return pair_files(image_folder, label_folder, split, self._naming)

    def _without_list(self, split: str) -> str:
        """The overrides that do without the list of a split."""
        train, val = self._folders["train"], self._folders["val"]
        if self._val_fraction is not None or (split == "val" and val[:2] != train[:2]):
            return f"dataset.{split}_list=null"
        has_train_list = train[2] is not None and (self.root / train[2]).is_file()
        lists = ["val"] if has_train_list else ["train", "val"]
        return " ".join([*(f"dataset.{each}_list=null" for each in lists), "dataset.val_fraction=0.2"])


def _refuse_same(train: tuple[str | None, ...], val: tuple[str | None, ...]) -> None:
    if train == val:
        raise ConfigError(
            f"dataset: training and validation are the same files (images in {train[0]}). Fix: give other folders for "
            f"dataset.val_images and dataset.val_labels, or dataset.train_list=... and dataset.val_list=..., or "
            f"dataset.val_fraction=0.2"
        )


def _check_fraction(fraction: float, others: dict[str, str | None]) -> None:
    if given := [f"dataset.{key}" for key, value in others.items() if value is not None]:
        raise ConfigError(
            f"dataset.val_fraction={fraction}: validation is told by {', '.join(given)} too, expected once. Fix: "
            f"{' '.join(f'{key}=null' for key in given)}"
        )
