"""Names of splits: which exist, which must not overlap, and those without public labels."""

from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from segtrain.data.images.contents import shown
from segtrain.errors import DataError, argument
from segtrain.terminal import printable

STANDARD = ("train", "val", "test")
WITHOUT_LABELS = "Fix: split=val, or predict without labels in Python: segtrain.load_run(RUN).predict(image)"
_LABELED = ("train", "val")


class UnlabeledError(DataError):
    """The images of a split have no label files, as in a benchmark that keeps those of its test split."""


def require_split(split: str, known: Iterable[str], fix: str = "") -> None:
    """Refuse a split that the dataset does not have.

    Args:
        split: Its name.
        known: Those that it has.
        fix: The settings that would add it.

    Raises:
        DataError: `split` is not in `known`.
    """
    known = list(known)
    if split not in known:
        instead = "val" if "val" in known else known[-1]
        raise DataError(
            f"no split '{printable(split)}': this dataset has {', '.join(known)}. Fix: split={instead}"
            + (f", or {fix}" if fix else "")
        )


def split_key(split: str, part: str) -> str:
    """The argument of `Folder` that names a part of a split: `val_list`, or `splits.night.list` of a named one.

    Args:
        split: Its name.
        part: "images", "labels" or "list".
    """
    return f"{split}_{part}" if split in STANDARD else f"splits.{split}.{part}"


def may_be_unlabeled(split: str) -> bool:
    """Whether a split may have images without label files: any but train and val."""
    return split not in _LABELED


def unlabeled(split: str, number: int, images: Path, labels: Path | None) -> UnlabeledError:
    """Make the error for a split of images without label files.

    Args:
        split: Its name.
        number: Number of images.
        images: Folder of the images.
        labels: Folder searched for label files; None if no argument names one.
    """
    seen = (
        f"{argument(split_key(split, 'labels'))} is not given"
        if labels is None
        else f"none of theirs in {shown(labels)}"
    )
    return UnlabeledError(
        f"split '{split}' has no label files: {number} images in {shown(images)}, {seen}, expected one for each image "
        f"to score it. {WITHOUT_LABELS}"
    )


def must_differ(one: str, other: str, images: Set[Any], other_images: Set[Any]) -> bool:
    """Whether an image in both of two splits is a leak.

    Train, val and test must not overlap. A named list may overlap with val, test and other lists, as "night" does;
    with train only where it holds all of it, as "trainval" does, or is a part of it.

    Args:
        one: Name of a split.
        other: Name of another.
        images: All images of the first.
        other_images: All images of the second.
    """
    if one == other:
        return False
    if one in STANDARD and other in STANDARD:
        return True
    if "train" not in (one, other):
        return False
    return not (images <= other_images or other_images <= images)
