"""The files of one folder by the names that pair them with those of another."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from segtrain.data.images.files import IMAGE_SUFFIXES, LISTED_AS_LABELS, files_by_stem
from segtrain.data.listing.spelling import folded


class Naming(NamedTuple):
    """How the names of files pair images with label files.

    Attributes:
        image_suffix: How images end, "_leftImg8bit.png"; empty for any image, whose name ends at its last dot.
        label_suffix: The same for label files.
        image_prefix: How the names of images begin, before what pairs them.
        label_prefix: The same for label files.
        recursive: Whether the folders below belong to it too; a name then begins with them, "aachen/aachen_000".
    """

    image_suffix: str = ""
    label_suffix: str = ""
    image_prefix: str = ""
    label_prefix: str = ""
    recursive: bool = False


BY_NAME = Naming()


@dataclass(frozen=True)
class Listing:
    """The files of one folder.

    Attributes:
        folder: Where they are.
        files: Their paths by the names that pair them, sorted.
        prefix: How their names begin.
        suffix: How their names end.
        recursive: Whether files of the folders below belong to it.
    """

    folder: Path
    files: dict[str, Path]
    prefix: str = ""
    suffix: str = ""
    recursive: bool = False

    def find(self, column: str, root: Path) -> str | None:
        """Find the name that a column of a list means: a path from `root` or from the folder, with or without suffix.

        A suffix that is written must be the file's own.
        """
        if column in self.files:
            return column
        return next((name for inner in self._inner(column, root) if (name := self._match(*os.path.split(inner)))), None)

    def find_respelled(self, column: str, root: Path) -> str | None:
        """Find the one name that a column means but for upper and lower case and Unicode normalization."""
        for inner in self._inner(column, root):
            names = {self._spellings[key] for key in (folded(inner), folded(_stem(inner))) if key in self._spellings}
            if len(names) == 1 and (name := names.pop()) is not None:
                kind, found = inner[len(_stem(inner)) :], self.files[name].suffix
                return name if kind.lower() in ("", found.lower()) else None
        return None

    @cached_property
    def _spellings(self) -> dict[str, str | None]:
        """The name of a file by each of its folded spellings; None if several files have the same spelling."""
        found: dict[str, str | None] = {}
        for name, path in self.files.items():
            head = name[: name.rfind("/") + 1]
            for spelling in {folded(each) for each in (name, head + path.name, head + path.stem)}:
                found[spelling] = None if spelling in found else name
        return found

    def _inner(self, column: str, root: Path) -> Iterator[str]:
        """Yield the paths from the folder that a column may mean."""
        path, folder = os.path.normpath(root / column), os.path.normpath(self.folder)
        if path.startswith(folder + os.sep):
            yield path[len(folder) + 1 :]
        yield os.path.normpath(column)

    def _match(self, head: str, base: str) -> str | None:
        if head and not self.recursive:
            return None
        tail = self.suffix.rpartition(".")[0] if "." in self.suffix else self.suffix
        for name in (base, _stem(base).removeprefix(self.prefix).removesuffix(tail)):
            path = f"{head}/{name}" if head else name
            found = self.files.get(path)
            if found is not None and base in (name, found.name, found.stem):
                return path
        return None


def list_images(folder: Path, naming: Naming) -> Listing:
    """List the images of a folder.

    Raises:
        DataError: The folder is missing, or two files have one name.
    """
    return _listing(folder, IMAGE_SUFFIXES, naming.image_prefix, naming.image_suffix, naming.recursive)


def list_labels(folder: Path, naming: Naming) -> Listing:
    """List the label files of a folder.

    Raises:
        DataError: The folder is missing, or two files have one name.
    """
    return _listing(folder, LISTED_AS_LABELS, naming.label_prefix, naming.label_suffix, naming.recursive)


def _stem(name: str) -> str:
    stem, kind = os.path.splitext(name)
    return stem if kind.lower() in IMAGE_SUFFIXES else name


def _listing(folder: Path, kinds: frozenset[str], prefix: str, suffix: str, recursive: bool) -> Listing:
    tail, dot, kind = suffix.rpartition(".")
    tail, kinds = (tail, frozenset({f".{kind.lower()}"})) if dot else (suffix, kinds)
    found = files_by_stem(folder, kinds, recursive=recursive)
    if tail or prefix:
        found = {
            f"{head}{slash}{base[len(prefix) : len(base) - len(tail)]}": path
            for stem, path in found.items()
            for head, slash, base in [stem.rpartition("/")]
            if base.startswith(prefix) and base.endswith(tail) and len(base) >= len(prefix) + len(tail)
        }
    return Listing(folder, found, prefix, suffix, recursive)
