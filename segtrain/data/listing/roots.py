"""Check that `root` holds a dataset's layout, and search near it if not."""

import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.errors import DataError, argument
from segtrain.shell import setting

_LIST_SUFFIXES = frozenset({".txt", ".lst", ".csv", ".tsv", ".list"})
# A layout lies a few folders deeper or higher than where it was looked for; folders of images are not looked into.
_DEPTH = 3
_MOST_FOLDERS = 2000


def require_root(
    root: str | Path, looked_for: Sequence[str], keys: Mapping[str, str] | None = None, source: str = ""
) -> Path:
    """Return the dataset's root once everything in `looked_for` exists below it.

    Args:
        root: The folder.
        looked_for: Folders and files, relative to it.
        keys: By name looked for, the key that may name another.
        source: A command that fetches the dataset; "" if none exists.

    Raises:
        DataError: The root or a part of its layout is missing; the fix names the folder near it that holds all.
    """
    root = Path(root).expanduser()
    missing = [name for name in looked_for if not (root / name).exists()]
    if missing:
        seen = "no such folder"
        if root.is_dir():
            found = sorted(entry.name for entry in root.iterdir())
            names = shown(Path(", ".join(found[:6]))) + (", ..." if len(found) > 6 else "")
            seen = f"it holds {names}" if found else "it is empty"
        elif root.exists():
            seen = "not a folder"
        fix = _fix_root(root, looked_for) or _fix_names(root, looked_for, missing, keys or {}) or source
        raise DataError(
            f"{argument('root')}={shown(root)}: {seen}, looked for {', '.join(missing)}. Fix: "
            f"{fix or argument('root') + '=/path/to/dataset'}"
        )
    return root


def require_list(source: Path, key: str, value: str, without: str = "") -> None:
    """Refuse a list file that is not there, and name the one that is.

    Args:
        source: The list file.
        key: The key that names it.
        value: Its value.
        without: The overrides that do without the list; "" where it is needed.

    Raises:
        DataError: `source` does not exist.
    """
    if source.exists():
        return
    others = _lists_in(source.parent)
    seen = f"{shown(source.parent)} holds {', '.join(others[:6])}" if others else f"no list in {shown(source.parent)}"
    fix = without or f"restore {shown(source)}"
    if near := _near_list(source.stem, others):
        name = near if value.endswith(source.name) else Path(near).stem
        fix = setting(key, str(Path(value).with_name(name)))
    raise DataError(f"{key}={shown(Path(value))}: no file {shown(source)}, {seen}. Fix: {fix}")


def _fix_root(root: Path, looked_for: Sequence[str]) -> str:
    """The root that holds the layout, below or above; else the folder whose name is near a missing root's."""
    for folder in _folders_near(root):
        if all((folder / name).exists() for name in looked_for):
            return setting(argument("root"), _written_like(folder, root))
    if not root.exists() and root.parent.is_dir():
        folders = [entry.name for entry in os.scandir(root.parent) if entry.is_dir()]
        if near := _nearest(root.name, folders):
            return setting(argument("root"), str(root.with_name(near)))
        for folder in _folders_below(root.parent):
            if all((folder / name).exists() for name in looked_for):
                return setting(argument("root"), str(folder))
    return ""


def _fix_names(root: Path, looked_for: Sequence[str], missing: Sequence[str], keys: Mapping[str, str]) -> str:
    """The keys of missing folders with the one folder each that can be meant; "" where that is not clear."""
    if not root.is_dir() or not all(name in keys for name in missing):
        return ""
    there = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    free = [name for name in there if name not in {Path(each).parts[0] for each in looked_for}]
    settings = []
    for name in missing:
        near = _nearest(name, free) or (free[0] if len(free) == len(missing) == 1 else "")
        if not near:
            return ""
        free.remove(near)
        settings.append(setting(keys[name], near))
    return " ".join(settings)


def _nearest(word: str, known: Collection[str], cutoff: float = 0.7) -> str:
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else ""


def _folders_near(root: Path) -> Iterator[Path]:
    """Folders below a root, the nearest first, then those above it and the root's siblings."""
    if root.is_dir():
        yield from _folders_below(root)
    absolute = Path(os.path.abspath(root))
    for parent in list(absolute.parents)[:_DEPTH]:
        if parent.is_dir() and parent != parent.parent:
            yield parent


def _folders_below(root: Path) -> Iterator[Path]:
    level, seen = [root], 0
    for _ in range(_DEPTH):
        following = []
        for folder in level:
            try:
                with os.scandir(folder) as entries:
                    names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
            except OSError:
                continue
            seen += len(names)
            if seen > _MOST_FOLDERS:
                return
            following += [folder / name for name in names]
        yield from following
        level = following


def _written_like(folder: Path, root: Path) -> str:
    """A folder, relative where the root is."""
    return str(folder) if folder.is_absolute() == root.is_absolute() else os.path.relpath(folder)


def _lists_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if Path(entry.name).suffix.lower() in _LIST_SUFFIXES)


def _near_list(stem: str, others: Sequence[str]) -> str:
    """The list whose name is written otherwise: train_aug.txt for trainaug; "" where none or several are."""
    plain = {other: re.sub(r"[\W_]", "", Path(other).stem).lower() for other in others}
    wanted = re.sub(r"[\W_]", "", stem).lower()
    same = [other for other, each in plain.items() if each == wanted]
    longer = [other for other, each in plain.items() if len(wanted) > 2 and each.startswith(wanted)]
    for found in (same, longer):
        if len(found) == 1:
            return found[0]
    near = _nearest(stem, [Path(other).stem for other in others], cutoff=0.75)
    return next((other for other in others if Path(other).stem == near), "")
