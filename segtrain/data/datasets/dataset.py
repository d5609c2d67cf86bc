"""Base class of datasets: samples by split, and metadata (classes, colors, ignored id, left/right pairs)."""

import abc
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from segtrain.data.datasets.classes import require_two_classes, require_two_reached
from segtrain.data.images.contents import shown
from segtrain.data.images.exif import TURNS
from segtrain.data.images.files import MAX_PIXELS, AlphaPolicy, ExifPolicy, read_image_and_header, read_size
from segtrain.data.images.headers import read_header
from segtrain.data.images.image_range import checked_range
from segtrain.data.images.labels import read_labels, read_labels_size
from segtrain.data.images.sample import Sample
from segtrain.errors import ConfigError, DataError, argument
from segtrain.terminal import controls, printable


class Dataset(abc.ABC):
    """Base of every dataset; a subclass passes its metadata to `__init__` and lists its samples.

    Args:
        class_names: One name a class, in the order of the ids.
        colors: (K, 3) uint8 RGB, one color a class.
        ignore_class: The id of ignored pixels, which are neither trained on nor scored. Crops that reach beyond an
            image are padded with it, so it must not be a class id.
        flip_pairs: Class ids to swap when an image is mirrored, such as (left arm, right arm).
        label_values: Stored value to class id or `ignore_class`, where the files do not hold ids (masks of 0 and 255).
        label_colors: RGB color to stored value, where the label files are in colors.
        exif: What to do with images whose orientation tag asks for a turn: "refuse", "apply" or "ignore".
        alpha: What to do with label files that hold transparency: "refuse", or "drop" it.
        max_pixels: Images with more pixels (height x width) are refused by their headers, before decoding.
        image_range: The values of 16-bit images that become 0 and 255; their upper eight bits are kept where None.

    Raises:
        ConfigError: The arguments contradict each other.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        colors: np.ndarray,
        *,
        ignore_class: int = 255,
        flip_pairs: Iterable[Sequence[int]] = (),
        label_values: Mapping[int, int] | None = None,
        label_colors: Mapping[tuple[int, int, int], int] | None = None,
        exif: ExifPolicy = "refuse",
        alpha: AlphaPolicy = "refuse",
        max_pixels: int = MAX_PIXELS,
        image_range: Sequence[int] | None = None,
    ) -> None:
        num_classes = len(class_names)
        require_two_classes(list(class_names))
        for name in class_names:
            if found := controls(name):
                raise ConfigError(
                    f"{argument('classes')}: the name '{printable(name)}' holds control characters ({found}), expected "
                    "text. Fix: give the class another name"
                )
        if not 0 <= ignore_class <= 255 or ignore_class < num_classes:
            raise ConfigError(
                f"{argument('ignore_class')}={ignore_class}: expected {num_classes}..255, beyond the {num_classes} "
                f"class ids. Fix: {_fix_ignore_class(ignore_class)}"
            )
        if colors.shape != (num_classes, 3):
            raise ConfigError(
                f"dataset colors: {colors.shape}, expected one RGB color for each of {num_classes} classes"
            )
        self.class_names = tuple(class_names)
        self.colors = np.asarray(colors, np.uint8)
        self.ignore_class = ignore_class
        self.flip_pairs = _checked_pairs(flip_pairs, num_classes)
        self.label_colors = label_colors
        self.exif = exif
        self.alpha = alpha
        self.max_pixels = max_pixels
        self.image_range = checked_range(image_range)
        self._set_values(label_values or {index: index for index in (*range(num_classes), ignore_class)})

    @property
    def num_classes(self) -> int:
        """Number of classes, without the ignored id."""
        return len(self.class_names)

    @property
    def known_values(self) -> tuple[int, ...]:
        """The stored values that stand for a class or for ignored pixels, sorted."""
        return tuple(np.flatnonzero(self._is_known).tolist())

    @property
    def class_of_value(self) -> dict[int, int]:
        """The class id, or the ignored id, of each stored value that has a meaning."""
        return {value: int(self._class_of_value[value]) for value in self.known_values}

    @property
    def splits(self) -> tuple[str, ...]:
        """Available splits: always train and val, then test and named ones whose files exist."""
        return ("train", "val")

    @abc.abstractmethod
    def samples(self, split: str) -> list[Sample]:
        """List the samples of a split in a fixed order.

        Args:
            split: One of `splits`.

        Raises:
            UnlabeledError: The split has images and no label files.
            DataError: The layout is not the dataset's, an image has no labels, or the split is empty.
        """

    def read(self, sample: Sample, reduction: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Read one sample.

        Args:
            sample: One of `samples`.
            reduction: 1, 2, 4 or 8: factor by which a JPEG may be decoded smaller than its labels.

        Returns:
            (H, W, 3) uint8 RGB, or (ceil(H / reduction), ceil(W / reduction), 3), and (H, W) uint8 class ids or
            `ignore_class`.

        Raises:
            DataError: A file cannot be read, the sizes differ, or a stored value is not a class.
        """
        try:
            image, header = read_image_and_header(
                sample.image,
                exif=self.exif,
                max_pixels=self.max_pixels,
                reduction=reduction,
                image_range=self.image_range,
            )
        except DataError:
            self._refuse_turned(sample)
            raise
        try:
            labels = self.read_labels(sample)
        except DataError:
            _refuse_one_file(sample)
            raise
        if not header.lossy:  # a JPEG that is its own label file is refused by now
            _refuse_one_file(sample)
        size = header.upright_size if self.exif == "apply" else header.size
        if size != labels.shape:
            raise DataError(_sizes_differ(sample, size, labels.shape))
        return image, labels

    def read_labels(self, sample: Sample) -> np.ndarray:
        """Read the class ids of one sample, (H, W) uint8.

        Raises:
            DataError: The file cannot be read, or a stored value is not a class.
        """
        values = read_labels(sample.labels, colors=self.label_colors, alpha=self.alpha, max_pixels=self.max_pixels)
        if not self._all_known(values):
            is_known = self._is_known[values] > 0
            strangers, counts = np.unique(values[~is_known], return_counts=True)
            listed = ", ".join(
                f"{value} ({count} pixels)" for value, count in zip(strangers[:5], counts[:5], strict=True)
            )
            known = _ranges(np.flatnonzero(self._is_known))
            raise DataError(
                f"labels in {shown(sample.labels)}: unknown {'value' if len(strangers) == 1 else 'values'} {listed}, "
                f"expected {known}. Fix: correct the file, or the dataset's classes, or set {argument('ignore_class')}"
            )
        return values if self._holds_ids else cv2.LUT(values, self._class_of_value)

    def _set_values(self, class_of_value: Mapping[int, int]) -> None:
        """Fill the tables from stored values to class ids."""
        require_two_reached(self.class_names, class_of_value.values(), argument("label_values"), class_of_value)
        self._class_of_value = np.full(256, self.ignore_class, np.uint8)
        self._is_known = np.zeros(256, np.uint8)
        for value, class_id in class_of_value.items():
            self._class_of_value[value] = class_id
            self._is_known[value] = 1
        self._num_known = len(class_of_value)
        # Usually they are one range, where 0 follows 255.
        starts = [value for value in class_of_value if (value - 1) % 256 not in class_of_value]
        self._first_known = np.uint8(starts[0]) if len(starts) == 1 else None
        self._holds_ids = all(value == class_id for value, class_id in class_of_value.items())

    def _all_known(self, values: np.ndarray) -> bool:
        if self._first_known is None:
            return cv2.countNonZero(cv2.LUT(values, self._is_known)) == values.size
        # Bytes wrap round at 256. Six times as fast as the table.
        return int((values - self._first_known).max()) < self._num_known

    def check_header(self, sample: Sample) -> None:
        """Compare the sizes in the two files' headers without decoding a pixel.

        Raises:
            DataError: A header cannot be read, the sizes differ, or the image is turned and `exif` is "refuse".
        """
        _refuse_one_file(sample)
        self._refuse_turned(sample)
        image_size, labels_size = read_size(sample.image, self.exif), read_labels_size(sample.labels)
        if image_size != labels_size:
            raise DataError(_sizes_differ(sample, image_size, labels_size))

    def _refuse_turned(self, sample: Sample) -> None:
        """Raise an error that states which orientation makes a turned image fit its labels."""
        image = read_header(sample.image)
        if self.exif != "refuse" or image.orientation == 1:
            return
        size = read_labels_size(sample.labels)
        policies = [
            policy for policy, fits in (("apply", image.upright_size == size), ("ignore", image.size == size)) if fits
        ]
        found = {
            ("apply",): "sizes match after rotation",
            ("ignore",): "sizes match without rotation",
            (): "sizes match neither way",
        }.get(tuple(policies), "sizes match both ways")
        raise DataError(
            f"EXIF orientation {image.orientation} ({TURNS[image.orientation]}) in {shown(sample.image)}: {found} with "
            f"{shown(sample.labels)}, expected orientation 1. Fix: "
            f"{argument('exif')}={' or '.join(policies) or 'apply'}"
            + ("; look at an image with its labels to see which" if len(policies) == 2 else "")
        )


def _fix_ignore_class(ignore_class: int) -> str:
    """Ids that begin at 1 and ignore 0, as mmsegmentation's reduce_zero_label, are `from_one`."""
    from_one = f"{argument('label_values')}=from_one " if ignore_class == 0 else ""
    return f"{from_one}{argument('ignore_class')}=255"


def _checked_pairs(pairs: Iterable[Sequence[int]], num_classes: int) -> tuple[tuple[int, int], ...]:
    """Return pairs of class ids.

    Raises:
        ConfigError: A pair is not two different ids.
    """
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not all(0 <= index < num_classes for index in pair):
            raise ConfigError(
                f"{argument('flip_pairs')}: {list(pair)}, expected two different ids of 0..{num_classes - 1}, as [14, "
                "15]"
            )
    return tuple((pair[0], pair[1]) for pair in pairs)


def _refuse_one_file(sample: Sample) -> None:
    """Refuse an image that is its own label file, under another name or link."""
    with contextlib.suppress(OSError):  # reading the missing file reports it
        if os.path.samefile(sample.image, sample.labels):
            raise DataError(
                f"labels in {shown(sample.labels)}: the same file as the image {shown(sample.image)}, expected "
                f"two files. Fix: name the folder of the labels"
            )


def _sizes_differ(sample: Sample, image_size: tuple[int, int], labels_size: tuple[int, ...]) -> str:
    fix = "export one of them again at the other's size"
    if image_size == labels_size[::-1]:
        orientation = read_header(sample.image).orientation
        if orientation >= 5:  # the policy was not "refuse": what it did is wrong here
            fix = f"the other of {argument('exif')}=apply and ignore; EXIF orientation {orientation} in the image"
        else:
            fix = "turn one of them by 90 degrees"
        fix += ", the sizes match after rotation"
    return (
        f"sizes differ in {shown(sample.labels)}: labels {labels_size[0]}x{labels_size[1]} (HxW), image "
        f"{shown(sample.image)} {image_size[0]}x{image_size[1]}, expected equal. Fix: {fix}"
    )


def _ranges(values: np.ndarray) -> str:
    """Write sorted integers as runs: 0..19, 255."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
