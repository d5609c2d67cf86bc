"""Record of one image and its label file: sizes, classes, fingerprints, and all problems found.

H height, W width.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.damage import jpeg_damage
from segtrain.data.images.files import read_image, read_labels, read_stored_range
from segtrain.data.images.palette import read_palette, used_colors
from segtrain.data.images.sample import Sample
from segtrain.errors import DataError

THUMBNAIL = 16  # pixels a side
# Lines of three pixels whose middle is of a class between the outer two are what interpolation leaves along borders;
# fewer borders than this prove nothing.
_MIN_BORDERS = 30
# Fraction of the borders: at most 0.017 in each of 2,900 drawn label files (CamVid, VOC, pets, garments, nuclei), at
# least 0.22 in the same files once resized by interpolation to 0.25 to 4 times their size.
INTERPOLATED = 0.12
_MOST_COLORS = 256  # a file with more is not a label drawing


class Problem(NamedTuple):
    """Why a sample cannot be trained on.

    Attributes:
        kind: Kind of the finding: "image-unreadable", "labels-unreadable", "sizes-differ", ...
        text: The reader's error message, which names the file.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """Measurements of one sample. Fields that a problem kept from being read are empty or None.

    Attributes:
        name: The sample's.
        image: Path of the image.
        labels: Path of the label file.
        problems: All of them, not the first.
        image_size: (H, W) in pixels.
        labels_size: The same of the label file.
        pixels: SHA-256 of the decoded image and its size.
        ids: SHA-256 of the class ids and their size.
        difference_hash: 64 bits, one for each step of brightness along the rows of an 8x9 miniature (dHash); copies
            at another size or quality differ in few.
        thumbnail: Gray miniature of `THUMBNAIL` x `THUMBNAIL` bytes.
        classes: Pixels by class id, including ignored pixels.
        stored: Pixels by stored value, where the values could be read and some are unknown.
        unknown: The stored values that are not a class.
        colors: Pixels by "#rrggbb", where the label file is drawn in a few colors that are not a class's.
        columns: Mean column, as a fraction of the width, by id of the classes that have a left and a right.
        damage: libjpeg's warning about damaged bytes in the image; see `add_jpeg_damage`.
        stored_range: Lowest and highest value of a 16-bit image whose dataset gives no range for it.
        palette: By index that occurs in a palette label file, its color as "#rrggbb".
        interpolated: Fraction of the borders that show a class in between; 0 where borders are too few to judge.
    """

    name: str
    image: str
    labels: str
    problems: tuple[Problem, ...] = ()
    image_size: tuple[int, int] | None = None
    labels_size: tuple[int, int] | None = None
    pixels: str = ""
    ids: str = ""
    difference_hash: int = 0
    thumbnail: bytes = b""
    classes: Mapping[int, int] = field(default_factory=dict)
    stored: Mapping[int, int] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    colors: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[int, float] = field(default_factory=dict)
    damage: str = ""
    stored_range: tuple[int, int] | None = None
    palette: Mapping[int, str] = field(default_factory=dict)
    interpolated: float = 0.0


def add_jpeg_damage(record: Record) -> Record:
    """Add libjpeg's warning about an image that could be read. Not thread-safe: stderr is captured meanwhile."""
    if record.problems:
        return record
    return replace(record, damage=jpeg_damage(Path(record.image)))


def examine(dataset: Dataset, sample: Sample) -> Record:
    """Read both files of a sample as a training run would and record their content and problems. Never raises."""
    image: np.ndarray | None
    labels: np.ndarray | None
    found: dict[str, Any] = {}
    try:
        image, labels = dataset.read(sample)
    except DataError as error:
        image, labels, found = _diagnose(dataset, sample, error)
    owner = dataset.member(sample)[0] if isinstance(dataset, Concat) else dataset
    if image is not None:
        if owner.image_range is None:
            found["stored_range"] = read_stored_range(sample.image, owner.max_pixels)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        found |= {
            "image_size": image.shape[:2],
            "pixels": _digest(image),
            "difference_hash": difference_hash(gray),
            "thumbnail": cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).tobytes(),
        }
    if labels is not None:
        found |= {
            "labels_size": labels.shape,
            "ids": _digest(labels),
            "classes": _counts(labels),
            "columns": _columns(labels, dataset.flip_pairs),
            "interpolated": interpolated_fraction(labels),
        }
        if owner.label_colors is None and (palette := read_palette(sample.labels)):
            found["palette"] = used_colors(sample.labels, palette, owner.max_pixels)
    paths = str(sample.image), str(sample.labels)
    return Record(sample.name, *paths, **found)


def difference_hash(gray: np.ndarray) -> int:
    """Hash an image's content rather than its bytes, as 64 bits; `gray` is (H, W) uint8."""
    small = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def interpolated_fraction(labels: np.ndarray) -> float:
    """Fraction of class changes along rows that pass through an id in between, within three pixels.

    Ids have no order, so that drawn labels rarely do; labels that were resized by interpolation nearly always.
    """
    left, middle, right = labels[:, :-2], labels[:, 1:-1], labels[:, 2:]
    borders = np.count_nonzero(left != right)
    if borders < _MIN_BORDERS:
        return 0.0
    between = (np.minimum(left, right) < middle) & (middle < np.maximum(left, right))
    return float(np.count_nonzero(between) / borders)


def _diagnose(
    dataset: Dataset, sample: Sample, joint_error: DataError
) -> tuple[np.ndarray | None, np.ndarray | None, dict[str, Any]]:
    """Read the two files separately, after reading them together has failed, to find all problems."""
    problems = []
    image = labels = None
    owner = dataset.member(sample)[0] if isinstance(dataset, Concat) else dataset
    found: dict[str, Any] = {}
    limits: dict[str, Any] = {"max_pixels": owner.max_pixels}
    try:
        image = read_image(sample.image, exif=owner.exif, **limits)
    except DataError as error:
        turned = owner.exif == "refuse" and _reads(read_image, sample.image, exif="ignore", **limits)
        problems.append(Problem("image-orientation" if turned else "image-unreadable", error.message))
    limits["colors"] = owner.label_colors
    try:
        labels = dataset.read_labels(sample)
    except DataError as error:
        kind = "labels-unreadable"
        if _reads(read_labels, sample.labels, alpha=owner.alpha, **limits):
            values = read_labels(sample.labels, alpha=owner.alpha, **limits)
            found |= {"stored": _counts(values), "interpolated": interpolated_fraction(values)}
            found["unknown"] = tuple(value for value in found["stored"] if value not in owner.known_values)
            kind = "values-unknown"
        elif owner.alpha == "refuse" and _reads(read_labels, sample.labels, alpha="drop", **limits):
            kind = "labels-alpha"
        elif colors := _few_colors(sample.labels, owner):
            found["colors"] = colors
            kind = "labels-in-colors" if owner.label_colors is None else "colors-unknown"
        problems.append(Problem(kind, error.message))
    if image is not None and labels is not None and image.shape[:2] != labels.shape:
        problems.append(Problem("sizes-differ", str(joint_error)))
    if not problems:
        problems.append(Problem("image-is-labels" if _is_one_file(sample) else "sample-unreadable", str(joint_error)))
    found["problems"] = tuple(problems)
    return image, labels, found


def _few_colors(path: Path, dataset: Dataset) -> dict[str, int]:
    """Count the colors of a label file that are not a class's; empty if it has more than a few colors."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return {}
    try:
        image = read_image(path, exif="ignore", max_pixels=dataset.max_pixels)
    except DataError:
        return {}
    counts: Counter[int] = Counter()
    for rows in _bands(image):
        red, green, blue = np.moveaxis(image[rows].astype(np.uint32), -1, 0)
        codes = (red << 16 | green << 8 | blue).ravel()
        # Drawings are runs of one color: far fewer than pixels are sorted.
        starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
        lengths = np.diff(np.append(starts, len(codes)))
        colors, index = np.unique(codes[starts], return_inverse=True)
        if len(colors) > _MOST_COLORS:
            return {}
        counts.update(dict(zip(colors.tolist(), np.bincount(index, lengths).astype(int).tolist(), strict=True)))
        if len(counts) > _MOST_COLORS:
            return {}
    if all(color == (color & 255) * 0x10101 for color in counts):  # grays
        return {}
    known = {red << 16 | green << 8 | blue for red, green, blue in dataset.label_colors or ()}
    return {f"#{color:06x}": counts[color] for color in sorted(counts) if color not in known}


def _bands(image: np.ndarray) -> Iterator[slice]:
    """Yield the rows of an image in bands of 1 MiB pixels, so that what is computed of them stays small."""
    rows = max(1, (1 << 20) // image.shape[1])
    for top in range(0, len(image), rows):
        yield slice(top, top + rows)


def _reads(read: Callable[..., np.ndarray], path: Path, **options: Any) -> bool:
    try:
        read(path, **options)
    except DataError:
        return False
    return True


def _is_one_file(sample: Sample) -> bool:
    try:
        return os.path.samefile(sample.image, sample.labels)
    except OSError:
        return False


def _digest(pixels: np.ndarray) -> str:
    found = hashlib.sha256(str(pixels.shape).encode())
    found.update(np.ascontiguousarray(pixels).data)
    return found.hexdigest()


def _counts(labels: np.ndarray) -> dict[int, int]:
    counts = np.sum([np.bincount(labels[rows].ravel(), minlength=256) for rows in _bands(labels)], axis=0)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _columns(labels: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> dict[int, float]:
    found = {}
    for class_id in {class_id for pair in pairs for class_id in pair}:
        columns = np.count_nonzero(labels == class_id, axis=0)
        if total := columns.sum():
            found[class_id] = float((columns @ np.arange(0.5, len(columns))) / total / len(columns))
    return found
