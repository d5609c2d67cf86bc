"""From folders and lists to samples: which image goes with which label file, and what is missing."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.data.images.files import TwoFilesError
from segtrain.data.images.sample import Sample
from segtrain.data.listing.folders import BY_NAME, Listing, Naming, list_images, list_labels
from segtrain.data.listing.kinds import Unread, unread_images
from segtrain.data.listing.matching import match_labels
from segtrain.data.listing.pairing_fixes import explain_missing_labels, fix_naming, fix_two_files
from segtrain.data.listing.splits import may_be_unlabeled, unlabeled
from segtrain.errors import DataError

logger = logging.getLogger(__name__)


def pair_files(images: Path, labels: Path, split: str, naming: Naming = BY_NAME) -> list[Sample]:
    """Pair all images of one folder, sorted, with the label files of another by name.

    Args:
        images: Folder of images.
        labels: Folder of label files.
        split: For messages.
        naming: How names pair.

    Raises:
        DataError: A folder is missing, an image has no labels, or nothing is left.
    """
    image_files, label_files = list_folders(images, labels, naming)
    warn_of_unread(image_files)
    samples = pair_names(list(image_files.files), image_files, label_files, naming, split)
    if not samples:
        raise _empty(split, images, labels, naming)
    return samples


def list_folders(images: Path, labels: Path, naming: Naming) -> tuple[Listing, Listing]:
    """List the images and the label files of a split.

    Raises:
        DataError: A folder is missing, or holds two files of one name.
    """
    what = "image"
    try:
        image_files = list_images(images, naming)
        what = "label"
        return image_files, list_labels(labels, naming)
    except TwoFilesError as error:
        fix = fix_two_files(*error.files, what, images.resolve() == labels.resolve())
        raise DataError(f"{error}. Fix: {fix}") from error


def pair_names(names: Sequence[str], images: Listing, labels: Listing, naming: Naming, split: str) -> list[Sample]:
    """Pair names of images with label files.

    Raises:
        UnlabeledError: None has a label file, in a split that may come without.
        DataError: Some have no label file.
    """
    found = match_labels(names, images, labels)
    if missing := [name for name in names if name not in found]:
        seen, fix = explain_missing_labels(missing, images, labels, naming, split)
        if not found and not fix and may_be_unlabeled(split):
            raise unlabeled(split, len(missing), images.folder, labels.folder)
        refuse_missing(missing, "label file", labels.folder, seen, fix)
    return [Sample(name, images.files[name], found[name]) for name in names]


def warn_of_unread(images: Listing) -> None:
    """Log one line about files among the images that are not read, and so take no part."""
    if unread := unread_images(images.folder, images.files):
        more = ", ..." if len(unread) > 1 else ""
        logger.warning(
            "%d files in %s are of kinds that are not read, and take no part: %s%s. Fix: %s",
            *(len(unread), shown(images.folder), shown(Path(unread[0].name)), more, Unread("images", unread).fix),
        )


def refuse_shared(train: Sequence[Sample], other: Sequence[Sample], split: str = "val") -> None:
    """Refuse an image that is in the training split and in another: its scores would measure memory.

    Args:
        train: Of the training split.
        other: Of the other split.
        split: Its name.

    Raises:
        DataError: An image is in both splits.
    """
    held_out = {sample.image for sample in other}
    if shared := [sample.name for sample in train if sample.image in held_out]:
        instead = "validate on others" if split == "val" else f"off split {split}"
        raise DataError(
            f"{len(shared)} images are in both splits, train and {split}: {some(shared)}, expected none. Fix: take "
            f"them off the training split, or {instead}"
        )


def refuse_missing(names: Sequence[str], what: str, folder: Path, seen: str = "", fix: str = "") -> None:
    """Refuse names that have no file.

    Args:
        names: The names without a file; may be empty.
        what: The kind of file that is missing.
        folder: Where it was looked for.
        seen: What was found instead.
        fix: A command or override.

    Raises:
        DataError: `names` is not empty.
    """
    if names:
        raise DataError(
            f"{len(names)} names without {what} in {shown(folder)}: {some(names)}"
            + (f"; {seen}" if seen else "")
            + f". Fix: {fix or 'add the missing files, or take the names off the split'}"
        )


def is_held_out(name: str, fraction: float, seed: int) -> bool:
    """Whether a sample validates in a split by `fraction`: a pure function of its name and the seed.

    A sample that is added or removed moves no other from one split to the other.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def some(names: Sequence[str]) -> str:
    """The first names of many, for a message."""
    return shown(Path(", ".join(names[:5]))) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _empty(split: str, images: Path, labels: Path, naming: Naming) -> DataError:
    """Nothing is left of a split: files of other kinds, other ends, or in folders below."""
    found = unread_images(images, {})
    fix = Unread("images", found).fix if found else ""
    fix = fix or fix_naming((), images, labels, naming)
    which_images, which_labels = (
        f" {before}*{behind}" if before or behind else ""
        for before, behind in (
            (naming.image_prefix, naming.image_suffix),
            (naming.label_prefix, naming.label_suffix),
        )
    )
    seen = f"found 0 that are read; {Unread('images', found).seen}" if found else "found 0"
    return DataError(
        f"split '{split}' is empty: looked for images{which_images} in {shown(images)} with labels{which_labels} in "
        f"{shown(labels)}, {seen}. Fix: {fix or 'put files there, or name other folders or lists'}"
    )
