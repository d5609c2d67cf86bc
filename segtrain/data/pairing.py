"""From folders and lists to samples: which photograph goes with which label file, and what is missing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from segtrain.data.dataset import Sample
from segtrain.data.files import IMAGE_SUFFIXES, LABEL_SUFFIXES, files_by_stem
from segtrain.errors import DataError


def pair_files(images: Path, labels: Path, names: Sequence[str] | None, split: str) -> list[Sample]:
    """Pair the photographs of one folder with the label files of another by name without suffix.

    Args:
        images: Folder of photographs.
        labels: Folder of label files.
        names: Which to take, in this order, with or without suffix; all photographs, sorted, where None.
        split: For the message of an empty split.

    Raises:
        DataError: A folder is missing, a photograph has no labels, or nothing is left.
    """
    image_files = files_by_stem(images, IMAGE_SUFFIXES)
    # JPEG labels are listed so that reading them can say what is wrong with them.
    label_files = files_by_stem(labels, LABEL_SUFFIXES | {".jpg", ".jpeg"})
    stems = list(image_files) if names is None else [_stem(name) for name in names]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else ()):
        raise DataError(f"split '{split}' names {twice[0]} twice, expected once. Fix: take one off the list")
    _refuse_missing([stem for stem in stems if stem not in image_files], "image", images)
    _refuse_missing([stem for stem in stems if stem not in label_files], "label file", labels)
    if not stems:
        raise DataError(
            f"split '{split}' is empty: looked for photographs in {images} with labels in {labels}, found 0. Fix: "
            f"put files there, or name other folders or lists"
        )
    return [Sample(stem, image_files[stem], label_files[stem]) for stem in stems]


def require_split(split: str, known: Iterable[str]) -> None:
    """Refuse a split that the dataset does not have.

    Raises:
        DataError: `split` is not in `known`.
    """
    known = list(known)
    if split not in known:
        raise DataError(f"no split '{split}': this dataset has {', '.join(known)}. Fix: split={known[-1]}")


def require_root(root: str | Path, looked_for: Sequence[str], example: str) -> Path:
    """Return the dataset's root once everything in `looked_for` exists below it.

    Raises:
        DataError: The root or a part of its layout is missing.
    """
    root = Path(root).expanduser()
    missing = [name for name in looked_for if not (root / name).exists()]
    if missing:
        seen = "no such folder"
        if root.is_dir():
            found = sorted(entry.name for entry in root.iterdir())[:6]
            seen = f"it holds {', '.join(found)}" if found else "it is empty"
        raise DataError(f"dataset.root={root}: {seen}, looked for {', '.join(missing)}. Fix: dataset.root={example}")
    return root


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else Path(name).name


def _refuse_missing(stems: Sequence[str], what: str, folder: Path) -> None:
    if stems:
        listed = ", ".join(stems[:5]) + (f" and {len(stems) - 5} more" if len(stems) > 5 else "")
        raise DataError(
            f"{len(stems)} names without {what} in {folder}: {listed}. Fix: add the missing files, or take the names "
            f"off the split"
        )
