"""One split's list file to samples: header, columns, duplicates, and what is wrong with a line that is refused."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.data.images.sample import Sample
from segtrain.data.listing.list_file import Line, drop_lines, list_problem, read_lines
from segtrain.data.listing.list_fixes import explain_failed, list_setting, new_list
from segtrain.data.listing.listed import SEPARATOR, Entry, ListReader, SampleFolders
from segtrain.data.listing.pairing import pair_names, some
from segtrain.data.listing.splits import split_key
from segtrain.errors import DataError, argument
from segtrain.shell import command, quote, setting

_IMAGE_WORDS = frozenset(
    {"filename", "filenames", "file", "files", "file_name", "file_path", "name", "names", "path", "photo", "picture"}
    | {"input", "x", "id", "image", "images", "img", "imgs", "images_path"}
    | {f"{image}_{what}" for image in ("image", "img") for what in ("id", "path", "file", "name")}
)
_LABEL_WORDS = frozenset(
    {"labels", "masks", "annotations", "annot", "target", "segmentation", "groundtruth", "ground_truth", "gt", "y"}
    | {"labels_path", "seg", "seg_map"}
    | {f"{label}{what}" for label in ("label", "mask", "annotation", "seg") for what in ("", "_path", "_file", "_name")}
)


def pair_listed(source: Path, lines: Sequence[Line], folders: SampleFolders, split: str) -> list[Sample]:
    """Read the lines of a list file as samples, in their order.

    Args:
        source: The list file, for messages.
        lines: Its lines.
        folders: Where the listed files are.
        split: For messages.

    Raises:
        DataError: A line names no file, or more than the files of one sample; lines differ in what their columns are;
            an image is listed twice or has no label file.
    """
    reader = ListReader(source, folders)
    # A file may be called "image".
    roles = _header(lines, source, split) if lines and not reader.finds(lines[0]) else []
    reader.swapped = roles == ["label", "image"]
    lines = lines[1:] if roles else lines
    entries, failed = reader.read(lines)
    if failed:
        raise explain_failed(failed, len(lines), reader, split)
    if not entries:
        raise DataError(
            f"split '{split}' is empty: the list {shown(source)} names nothing, expected one name or two files a line. "
            f"Fix: {setting('dataset.' + split_key(split, 'list'), None)}"
        )
    _refuse_mixed(entries, reader, two_columns=len(roles) == 2)
    _refuse_flags(entries, source, folders, split)
    _refuse_swapped(entries, reader)
    _refuse_twice(entries, source)
    if entries[0].kind == "name" and reader.images is not None and reader.labels is not None:
        return pair_names([entry.name for entry in entries], reader.images, reader.labels, folders.naming, split)
    return [Sample(entry.name, entry.image, entry.labels) for entry in entries if entry.labels]


def read_split(source: Path, held_out: Path | None) -> list[Line]:
    """Read the list file of one split, whose names belong to the same folder as those of the other.

    Args:
        source: The list file.
        held_out: The validation list where `source` is the training list; None where it is the validation list itself.

    Raises:
        DataError: The list cannot be read, or the training list holds lines of the validation list.
    """
    lines = read_lines(source)
    if held_out is not None and held_out.is_file():
        texts = {line.text for line in read_lines(held_out)}
        if shared := [line.text for line in lines if line.text in texts and not line.text.startswith("#")]:
            target = source.with_name(f"{source.stem}_without_val{source.suffix}")
            raise DataError(
                f"list {shown(source)}: {len(shared)} of its {len(lines)} names are also in the validation list "
                f"{shown(held_out)}: {some(shared)}, expected none. Fix: "
                f"{command('grep', '-vxFf', held_out, source)} > {quote(str(target))}, then "
                f"{list_setting('train', target)}"
            )
    return lines


def _header(lines: Sequence[Line], source: Path, split: str) -> list[str]:
    """The roles of the columns where the first line is a header, ["image", "label"]; [] where it is not."""
    first = lines[0]
    columns = [column.strip("\"' ").lower() for column in SEPARATOR.split(first.text)]
    roles = ["image" if each in _IMAGE_WORDS else "label" if each in _LABEL_WORDS else "" for each in columns]
    if not any(roles) or len(lines) == 1 or re.search(r"[./\\\d]", first.text):
        return []
    if len(roles) == 1 and roles != ["image"]:
        return []
    if sorted(roles) in (["image"], ["image", "label"]):
        return roles
    if len(SEPARATOR.split(lines[1].text)) != len(columns):
        return []
    named = [roles.index(role) + 1 for role in ("image", "label") if role in roles]
    raise list_problem(
        source,
        first,
        f"a header of {len(columns)} columns, expected two, an image and its label file, or one",
        new_list(source, first.text, named, split),
    )


def _refuse_mixed(entries: Sequence[Entry], reader: ListReader, two_columns: bool) -> None:
    """Refuse lines whose columns are read in another way than those before."""
    first = entries[0]
    for entry in entries:
        if entry.kind != first.kind or (two_columns and entry.kind == "name"):
            expected = "an image and its label file" if first.kind != "name" or two_columns else "one name"
            paths = f"two paths from {argument('root')}"
            found = {"name": "one name", "names": "two names in the folders", "paths": paths}
            raise list_problem(
                reader.source,
                entry.line,
                f"{found.get(entry.kind, entry.kind)}, expected {expected} as in line {first.line.number}",
                drop_lines([entry.line], reader.source),
            )


def _refuse_flags(entries: Sequence[Entry], source: Path, folders: SampleFolders, split: str) -> None:
    """Refuse a column of -1, 0 and 1, which chooses images in VOC's lists of one class."""
    if entries[0].kind != "name":
        return
    numbers = [re.findall(r"[\s,;|](-?\d+)(?=$|[\s,;|])", _behind(entry)) for entry in entries]
    values = {each[0] for each in numbers if len(each) == 1}
    if all(len(each) == 1 for each in numbers) and len(values) > 1 and values <= {"-1", "0", "1"}:
        fix = new_list(source, entries[0].line.text, [1], split, only="$2 == 1")
        raise list_problem(
            source,
            entries[0].line,
            f"the second column holds {', '.join(sorted(values))}, as lists of the images that show one class do, "
            f"expected names of the images to use",
            fix,
        )


def _behind(entry: Entry) -> str:
    """The columns of numbers behind a name."""
    text = entry.line.text
    stem = os.path.splitext(os.path.basename(entry.name))[0]
    return text[text.rfind(stem) + len(stem) :] if stem in text else ""


def _refuse_swapped(entries: Sequence[Entry], reader: ListReader) -> None:
    """Refuse lines that name the label file first."""
    images, labels = (
        None if each is None else os.path.normpath(each) for each in (reader.folders.images, reader.folders.labels)
    )
    if images is None or labels is None or images == labels:
        return
    for entry in entries:
        if entry.labels and (str(entry.image.parent), str(entry.labels.parent)) == (labels, images):
            raise list_problem(
                reader.source,
                entry.line,
                f"the first file is in the folder of labels {shown(entry.image.parent)}, expected the image first",
                command("sed", "-i.bak", "1i label,image", reader.source),
            )


def _refuse_twice(entries: Sequence[Entry], source: Path) -> None:
    seen: dict[str, Entry] = {}
    twice: list[tuple[Entry, Entry]] = []
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if first is not entry:
            twice.append((first, entry))
    if twice:
        first, entry = twice[0]
        raise list_problem(
            source,
            entry.line,
            f"listed twice, first in line {first.line.number} ({len(twice)} lines), expected each image once",
            drop_lines([each.line for _, each in twice], source),
        )
