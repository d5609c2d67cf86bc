"""Read lines of a list file as samples: each column is used exactly, or the line is refused.

A line is one name, or the image and the label file of a sample, separated by blanks, a tab, a comma, a semicolon or a
bar, quoted or not. Names may hold any of these: of all positions where a line can be cut, the one whose two sides
are files is used.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from segtrain.data.images.contents import shown
from segtrain.data.listing.folders import BY_NAME, Listing, Naming, list_images, list_labels
from segtrain.data.listing.list_entry import escape_of
from segtrain.data.listing.list_file import Line, list_problem
from segtrain.data.listing.spelling import respelled_path, warn_of_respelled

SEPARATOR = re.compile(r"\s*[,;|]\s*|\s+")
# Each cut is tried; a line with more separators than this is refused.
_MOST_CUTS = 100
_NUMBERS = re.compile(r"(?:(?:\s*[,;|]\s*|\s+)-?\d+)+$")


class SampleFolders(NamedTuple):
    """Folders of the files that a list names.

    Attributes:
        root: Base folder of the relative paths in lists of two columns.
        images: Folder of the images that are listed by name; None if the list must hold paths.
        labels: Folder of the label files of images listed by name.
        naming: How names of images and label files pair.
    """

    root: Path
    images: Path | None
    labels: Path | None
    naming: Naming = BY_NAME


class Entry(NamedTuple):
    """The sample that one line names.

    Attributes:
        line: The line.
        kind: "paths" of two files, two "names", "a path and a name", or one "name".
        name: Of the sample.
        image: The image.
        labels: The label file; None for one name, whose label file has the same.
    """

    line: Line
    kind: str
    name: str
    image: Path
    labels: Path | None = None


@dataclass
class ListReader:
    """Reads the lines of one list; the folders are listed only if a line needs them.

    Args:
        source: The list file.
        folders: Where the listed files are.
        swapped: Whether the label file is the first column.
    """

    source: Path
    folders: SampleFolders
    swapped: bool = False
    _seen: dict[Path, Mapping[str, list[str]]] = field(default_factory=dict)

    @cached_property
    def _root(self) -> str:
        return str(self.folders.root)

    @cached_property
    def images(self) -> Listing | None:
        return None if self.folders.images is None else list_images(self.folders.images, self.folders.naming)

    @cached_property
    def labels(self) -> Listing | None:
        return None if self.folders.labels is None else list_labels(self.folders.labels, self.folders.naming)

    def read(self, lines: Sequence[Line]) -> tuple[list[Entry], list[Line]]:
        """Read lines as entries.

        Returns:
            The entries, and the lines whose files were not found.

        Raises:
            DataError: A line has several meanings.
        """
        entries, failed, respelled = [], [], []
        for line in lines:
            entry = self._entry(line, exactly=True)
            if entry is None and (entry := self._entry(line, exactly=False)):
                found = " ".join(str(each) for each in (entry.image, entry.labels) if each)
                respelled.append((line.text, found))
            if entry is not None:
                entries.append(entry)
            elif not line.text.startswith("#") or self._begins_with_image(line):
                failed.append(line)
        warn_of_respelled(respelled, f"the list {self.source}")
        return entries, failed

    def _begins_with_image(self, line: Line) -> bool:
        """Whether a line that looks like a comment begins with the name of an existing file."""
        first = SEPARATOR.split(line.text, maxsplit=1)[0]
        if self._find_path(first):
            return True
        return self.images is not None and self._name_finder(self.images, exactly=True)(first) is not None

    def finds(self, line: Line) -> bool:
        """Whether the files of a line exist, spelled exactly so."""
        return self._entry(line, exactly=True) is not None

    def _entry(self, line: Line, exactly: bool) -> Entry | None:
        cuts = len(SEPARATOR.findall(line.text))
        if cuts > _MOST_CUTS:
            raise list_problem(
                self.source,
                Line(line.number, f"{line.text[:60]}..."),
                f"{cuts + 1} columns, expected two, an image and its label file, or one name",
                "write one sample a line",
            )
        has_columns = cuts > 0
        find_path = self._find_path if exactly else self._find_respelled_path
        if has_columns and (found := self._pair(line, "paths", find_path, find_path)):
            return found
        if self.images is None or self.labels is None:
            return None
        find_image, find_labels = self._name_finder(self.images, exactly), self._name_finder(self.labels, exactly)
        name = find_image(line.text)
        pair = None
        if has_columns and name is None:
            pair = self._pair(line, "names", find_image, find_labels) or self._pair(
                line,
                "a path and a name",
                lambda column: find_path(column) or find_image(column),
                lambda column: find_path(column) or find_labels(column),
            )
        without = line.text if name is not None else _NUMBERS.sub("", line.text)
        if without != line.text:
            name = find_image(without)
        if name is None:
            return pair
        if pair is not None and pair.labels != self.labels.files.get(name[0]):
            number = line.text[len(without) :].strip()
            file = "" if pair.labels is None else shown(pair.labels)
            fix = f"write {os.path.basename(file)} for the file, or take the column off"
            raise list_problem(
                self.source,
                line,
                f"{number} is a number, and the label file {file} exists; expected only one of them",
                fix,
            )
        return Entry(line, "name", name[0], name[1])

    def _pair(self, line: Line, kind: str, find_image: "Finder", find_labels: "Finder") -> Entry | None:
        """Cut a line in two so that both sides are files."""
        found = []
        for cut in SEPARATOR.finditer(line.text):
            first, second = line.text[: cut.start()], line.text[cut.end() :]
            if self.swapped:
                first, second = second, first
            image = find_image(first)
            if image is not None and (labels := find_labels(second)) is not None:
                found.append((first, image, labels))
        if len(found) > 1 and len({(image[1], labels[1]) for _, image, labels in found}) > 1:
            readings = " or ".join(
                f"{shown(Path(image[1].name))} with {shown(Path(labels[1].name))}" for _, image, labels in found[:2]
            )
            raise list_problem(
                self.source,
                line,
                f"it can be read as {readings}, expected one reading",
                "separate the two columns by a character that is in no name, such as a tab",
            )
        if not found:
            return None
        _, image, labels = found[0]
        return Entry(line, kind, image[0], image[1], labels[1])

    def _find_path(self, column: str) -> tuple[str, Path] | None:
        for reading in self.readings(column):
            path = f"{self._root}/{reading}"
            if os.path.isfile(path) and not escape_of(reading):
                return os.path.splitext(os.path.normpath(reading))[0], Path(path)
        return None

    def _find_respelled_path(self, column: str) -> tuple[str, Path] | None:
        for reading in self.readings(column):
            if not escape_of(reading) and (near := respelled_path(self.folders.root, reading, self._seen)):
                return str(near.relative_to(self.folders.root).with_suffix("")), near
        return None

    def _name_finder(self, listing: Listing, exactly: bool) -> "Finder":
        def find(column: str) -> tuple[str, Path] | None:
            for reading in self.readings(column):
                name = (listing.find if exactly else listing.find_respelled)(reading, self.folders.root)
                if name is not None and not escape_of(reading):
                    return name, listing.files[name]
            return None

        return find

    def readings(self, column: str) -> Iterator[str]:
        """Yield a column as it is, and then as other programs write the same path below the root.

        Quotes around it, backslashes for slashes, a slash before it, and the root itself before it.
        """
        yield column
        if len(column) > 1 and column[0] == column[-1] and column[0] in "\"'":
            column = column[1:-1].replace(column[0] * 2, column[0])
            yield column
        if "\\" in column:
            column = column.replace("\\", "/")
            yield column
        if column.startswith("/"):
            root = f"{os.path.abspath(self.folders.root)}/"
            yield column.removeprefix(root).lstrip("/")
        elif column.startswith("./"):
            yield column[2:]


Finder = Callable[[str], tuple[str, Path] | None]
