"""From folders and lists to samples: which photograph goes with which label file, and what is missing."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from segtrain.data.dataset import Sample
from segtrain.data.files import IMAGE_SUFFIXES, LABEL_SUFFIXES, files_by_stem, read_names
from segtrain.errors import DataError

# JPEG labels are listed so that reading them can say what is wrong with them.
_LISTED_AS_LABELS = LABEL_SUFFIXES | {".jpg", ".jpeg"}
_FILE = rf".+(?:{'|'.join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))})"
_PAIR = re.compile(rf"({_FILE})\s+({_FILE})", re.IGNORECASE)
_COLUMNS = re.compile(r"(?:\s+-?\d+)+$")


def pair_files(
    images: Path,
    labels: Path,
    names: Sequence[str] | None,
    split: str,
    *,
    suffixes: tuple[str, str] = ("", ""),
    recursive: bool = False,
) -> list[Sample]:
    """Pair the photographs of one folder with the label files of another by name.

    Args:
        images: Folder of photographs.
        labels: Folder of label files.
        names: Which to take, in this order, with or without suffix; columns of numbers behind a name do not count.
            All photographs, sorted, where None.
        split: For the message of an empty split.
        suffixes: How photographs and label files end, ("_leftImg8bit.png", "_gtFine_labelIds.png"); what is before it
            is the name that pairs, and files of other ends do not count. Empty: any picture, all before the dot.
        recursive: Whether folders below belong to it too; a name then begins with them, "aachen/aachen_000".

    Raises:
        DataError: A folder is missing, a photograph has no labels, or nothing is left.
    """
    image_suffix, label_suffix = suffixes
    image_files = _files_by_name(images, IMAGE_SUFFIXES, image_suffix, recursive)
    label_files = _files_by_name(labels, _LISTED_AS_LABELS, label_suffix, recursive)
    if names is None:
        stems = list(image_files)
    else:
        stems = [_find(name, image_files, image_suffix, recursive) for name in names]
        _refuse_twice(stems, split)
    refuse_missing([stem for stem in stems if stem not in image_files], "image", images)
    refuse_missing([stem for stem in stems if stem not in label_files], "label file", labels)
    if not stems:
        which_images, which_labels = (f" *{suffix}" if suffix else "" for suffix in suffixes)
        raise DataError(
            f"split '{split}' is empty: looked for photographs{which_images} in {images} with labels{which_labels} in "
            f"{labels}, found 0. Fix: put files there, or name other folders or lists"
        )
    return [Sample(stem, image_files[stem], label_files[stem]) for stem in stems]


def listed_pairs(root: Path, lines: Sequence[str], split: str, source: Path) -> list[Sample] | None:
    """Read lines of two files each, "images/a.jpg labels/a.png", as samples; None where a line is one name.

    Args:
        root: What the files are relative to.
        lines: Of a list file.
        split: For the message of a file named twice.
        source: The list file, for messages.

    Raises:
        DataError: Some lines hold two files and others do not, a file is missing, or leaves the dataset.
    """
    found = [_PAIR.fullmatch(line) for line in lines]
    if not any(found):
        return None
    samples = []
    for line, match in zip(lines, found, strict=True):
        if match is None or match[2].startswith(("/", "~")):
            expected = "two files below the dataset's root, as in the other lines"
            raise DataError(f"list {source}: '{line}', expected {expected}. Fix: correct the line")
        name = str(PurePosixPath(match[1]).with_suffix(""))
        samples.append(Sample(name, root / match[1], root / match[2]))
    _refuse_twice([sample.name for sample in samples], split)
    refuse_missing([sample.name for sample in samples if not sample.image.is_file()], "image", root)
    refuse_missing([sample.name for sample in samples if not sample.labels.is_file()], "label file", root)
    return samples


def read_split(lists: Mapping[str, Path], split: str) -> list[str]:
    """Read the list file of one split, whose names belong to the same folder as those of the other.

    Args:
        lists: The list files of "train" and "val".
        split: Which of them.

    Raises:
        DataError: The list cannot be read, or training would see names of the validation list.
    """
    names = read_names(lists[split])
    if split == "train" and lists["val"].is_file():
        held_out = set(read_names(lists["val"]))
        if shared := [name for name in names if name in held_out]:
            raise DataError(
                f"list {lists['train']}: {len(shared)} of its {len(names)} names stand in the validation list "
                f"{lists['val']} too: {_some(shared)}, expected none. Fix: take them off the training list, or "
                f"validate on another"
            )
    return names


def refuse_shared(train: Iterable[Sample], val: Iterable[Sample]) -> None:
    """Refuse a photograph that is in both splits: validation would praise what was learnt by heart.

    Raises:
        DataError: A file of `train` is in `val`.
    """
    held_out = {sample.image for sample in val}
    if shared := [sample.name for sample in train if sample.image in held_out]:
        raise DataError(
            f"{len(shared)} photographs are in both splits, train and val: {_some(shared)}, expected none. Fix: take "
            f"them off the training split, or validate on others"
        )


def refuse_missing(stems: Sequence[str], what: str, folder: Path) -> None:
    """Refuse names that have no file.

    Args:
        stems: The names without one; nothing happens where there are none.
        what: The kind of file that is missing.
        folder: Where it was looked for.

    Raises:
        DataError: There are some.
    """
    if stems:
        raise DataError(
            f"{len(stems)} names without {what} in {folder}: {_some(stems)}. Fix: add the missing files, or take the "
            f"names off the split"
        )


def is_held_out(name: str, fraction: float, seed: int) -> bool:
    """Tell whether a sample validates in a split by `fraction`: a pure function of its name and the seed.

    A sample that is added or removed moves no other from one split to the other.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


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


def _files_by_name(folder: Path, kinds: frozenset[str], suffix: str, recursive: bool) -> dict[str, Path]:
    """List the files that end in `suffix` by what is before it."""
    if not suffix:
        return files_by_stem(folder, kinds, recursive=recursive)
    tail, dot, kind = suffix.rpartition(".")
    tail, kinds = (tail, frozenset({f".{kind.lower()}"})) if dot else (suffix, kinds)
    found = files_by_stem(folder, kinds, recursive=recursive)
    # Not `[:-len(tail)]`: the tail of ".png" is empty.
    return {stem[: len(stem) - len(tail)]: path for stem, path in found.items() if stem.endswith(tail)}


def _find(line: str, known: Mapping[str, Path], suffix: str, recursive: bool) -> str:
    """Find the name that a line of a list means: whole, or without the columns of numbers behind it."""
    whole = _stem(line, suffix, recursive)
    return whole if whole in known else _stem(_COLUMNS.sub("", line), suffix, recursive)


def _stem(name: str, suffix: str, recursive: bool) -> str:
    path = PurePosixPath(name)
    if suffix and name.endswith(suffix):
        path = path.with_name(path.name.removesuffix(suffix)) if path.name != suffix else path
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        path = path.with_suffix("")
    return str(path) if recursive else path.name


def _refuse_twice(stems: Sequence[str], split: str) -> None:
    if len(set(stems)) < len(stems):
        twice = min(stem for stem, count in Counter(stems).items() if count > 1)
        raise DataError(f"split '{split}' names {twice} twice, expected once. Fix: take one off the list")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
