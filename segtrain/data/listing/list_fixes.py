"""Explain lines of a list whose files were not found, and give a fix."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.data.images.files import IMAGE_SUFFIXES
from segtrain.data.listing.kinds import unread_of
from segtrain.data.listing.list_entry import escape_of
from segtrain.data.listing.list_file import Line, drop_lines, list_problem
from segtrain.data.listing.listed import ListReader, SampleFolders
from segtrain.data.listing.pairing_fixes import fix_naming
from segtrain.data.listing.splits import split_key
from segtrain.errors import DataError, argument
from segtrain.shell import command, quote, setting

_DELIMITERS = ("\t", ";", "|", ",")


def explain_failed(failed: Sequence[Line], total: int, reader: ListReader, split: str) -> DataError:
    """The error for lines whose files were not found, with the first line's reason.

    Args:
        failed: Those lines, at least one.
        total: How many lines the list has.
        reader: The reader that looked for the files.
        split: Whose list it is.
    """
    line = failed[0]
    many = f" ({len(failed)} of {total} lines)" if len(failed) > 1 else ""
    problem, fix = _explain(failed, reader, split)
    if not fix and len(failed) == total > 1:  # a command would leave an empty list
        fix = f"name another list, or other folders: {folder_settings(split)}"
    return list_problem(reader.source, line, problem + many, fix or drop_lines(failed, reader.source))


def new_list(source: Path, text: str, columns: Sequence[int], split: str, only: str = "") -> str:
    """A command that writes a list of some columns, and the key that uses it.

    Args:
        source: The list.
        text: One of its lines.
        columns: Which to keep, from 1.
        split: Whose list it is.
        only: A condition of awk.
    """
    delimiter = _delimiter(text)
    target = source.with_name(f"{source.stem}_selected{source.suffix or '.txt'}")
    fields = ", ".join(f"${column}" for column in columns)
    program = f"{only} {{print {fields}}}".strip()
    options = [] if delimiter == " " else ["-F", delimiter, "-v", f"OFS={delimiter}"]
    return f"{command('awk', *options, program, source)} > {quote(str(target))}, then {list_setting(split, target)}"


def list_setting(split: str, path: Path) -> str:
    """The override that names a list; absolute, for datasets look for lists in different folders."""
    return setting(argument(split_key(split, "list")), os.path.abspath(path))


def folder_settings(split: str) -> str:
    """The overrides that name the folders of a split."""
    return f"{argument(split_key(split, 'images'))}=... {argument(split_key(split, 'labels'))}=..."


def columns_of(text: str) -> list[str]:
    """Cut a line at its separator, as programs that write CSV do."""
    delimiter = _delimiter(text)
    if delimiter == " ":
        return text.split()
    return [column.strip() for column in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))]


def _explain(failed: Sequence[Line], reader: ListReader, split: str) -> tuple[str, str]:
    line, folders = failed[0], reader.folders
    if fix := _strip_fix(failed, reader):
        where = escape_of(line.text)
        left = f"leaves the dataset: {where}" if where else f"no such file below {argument('root')}={folders.root}"
        return f"{left}, expected a path from {argument('root')}", fix
    if (escape := escape_of(line.text)) and not all(_may_be_inside(each, reader) for each in columns_of(line.text)):
        return (
            f"leaves the dataset: {escape}, expected a path below {argument('root')}",
            f"copy the files into {shown(folders.root)} and write their paths relative to it",
        )
    columns = columns_of(line.text)
    if len(columns) > 2:
        fix = new_list(reader.source, line.text, (1, 2), split)
        return f"{len(columns)} columns, expected two, an image and its label file, or one name", fix
    if len(columns) == 2:
        return _explain_pair(columns[0], columns[1], failed, reader, split)
    return _explain_name(failed, reader, split)


def _may_be_inside(column: str, reader: ListReader) -> bool:
    """Whether a column has a reading below the root whose folder exists."""
    return any(not escape_of(each) and (reader.folders.root / each).parent.is_dir() for each in reader.readings(column))


def _explain_pair(image: str, labels: str, failed: Sequence[Line], reader: ListReader, split: str) -> tuple[str, str]:
    """Explain which of two files is missing, and what was found instead."""
    for what, column, listing in (("image", image, reader.images), ("labels", labels, reader.labels)):
        if not column:
            return f"the column of the {what} is empty, expected a file", ""
        if any(os.path.isfile(reader.folders.root / each) for each in reader.readings(column)):
            continue
        if listing is not None and any(listing.find(each, reader.folders.root) for each in reader.readings(column)):
            continue
        column = list(reader.readings(column))[-1]
        path = reader.folders.root / column
        kind = "images" if what == "image" else "labels"
        _, unread = unread_of(kind, [path.stem], path.parent)
        if unread is not None and path.suffix.lower() != unread.files[0].suffix.lower():
            return f"no {what} {shown(path)}, {unread.seen}; expected {unread.expected}", unread.fix
        found = _same_stem(path)
        instead = f", there is {shown(found)}" if found else ""
        fix = _suffix_fix(path, found, reader.source, what == "labels") if found else _affix_fix(path, failed, reader)
        return f"no {what} {shown(path)}{instead}, expected a path from {argument('root')}={reader.folders.root}", fix
    return "the two columns name no pair of files together, expected an image and its label file", ""


def _explain_name(failed: Sequence[Line], reader: ListReader, split: str) -> tuple[str, str]:
    """Why one name has no image."""
    line, folders = failed[0], reader.folders
    if folders.images is None or reader.images is None or folders.labels is None:
        return (
            "one name, but neither folders nor two files a line are given, expected one of them",
            folder_settings(split),
        )
    text = list(reader.readings(line.text))[-1]
    outside = folders.root / text
    if outside.is_file() and os.path.normpath(outside.parent) != os.path.normpath(folders.images):
        folder = os.path.relpath(outside.parent, folders.root)
        return (
            f"a file outside of the images' folder {shown(folders.images)}, expected a name in it, or an image and its "
            f"label file",
            setting(argument(split_key(split, "images")), folder),
        )
    stem, kind = os.path.splitext(text)
    stem = stem if kind else text
    others, unread = unread_of("images", [os.path.basename(text), os.path.basename(stem)], folders.images)
    if others and unread is not None:
        return (
            f"no image of this name in {shown(folders.images)}, {unread.seen}; expected {unread.expected}",
            unread.fix,
        )
    found = _same_stem(folders.images / os.path.basename(text)) if kind.lower() in IMAGE_SUFFIXES else None
    if found:
        fix = _suffix_fix(folders.images / os.path.basename(text), found, reader.source)
        return f"no such image in {shown(folders.images)}, there is {shown(found)}, expected its own name", fix
    wanted = [list(reader.readings(each.text))[-1] for each in failed]
    return f"no image of this name in {shown(folders.images)}, expected one", _naming_fix(wanted, folders)


def _naming_fix(wanted: Sequence[str], folders: SampleFolders) -> str:
    """The keys under which the images have the names that the list wants."""
    if folders.images is None or folders.labels is None:
        return ""
    return fix_naming((), folders.images, folders.labels, folders.naming, set(wanted))


def _strip_fix(failed: Sequence[Line], reader: ListReader) -> str:
    """A command that removes the prefix of paths that were written for another folder."""
    text = failed[0].text
    for prefix in _beginnings(text):
        if all(
            reader.finds(Line(each.number, each.text.replace(prefix, "")))
            for each in failed[:20]
            if prefix in each.text
        ):
            pattern = re.sub(r"([\\.*^$\[\]#])", r"\\\1", prefix)
            return command("sed", "-i.bak", f"s#{pattern}##g", reader.source)
    return ""


def _beginnings(text: str) -> Iterator[str]:
    """The folders that a path begins with, the shortest first: "/home/", "/home/ann/"."""
    for match in re.finditer(r"[/\\]", re.split(r"[\s,;|]", text)[0]):
        if match.end() > 1:
            yield text[: match.end()]


def _same_stem(path: Path) -> Path | None:
    if not path.parent.is_dir():
        return None
    found = [
        each
        for each in sorted(path.parent.iterdir())
        if each.stem == path.stem and each.suffix.lower() in IMAGE_SUFFIXES
    ]
    return found[0] if len(found) == 1 else None


def _suffix_fix(path: Path, found: Path, source: Path, is_last: bool = True) -> str:
    """A command that corrects the suffix that a list writes."""
    if not path.suffix:
        return command("sed", "-i.bak", f"s/$/{found.suffix}/", source) if is_last else ""
    old = path.suffix.replace(".", r"\.")
    return command("sed", "-i.bak", "-E", f"s/{old}($|[[:space:],;|\"'])/{found.suffix}\\1/g", source)


def _affix_fix(path: Path, failed: Sequence[Line], reader: ListReader) -> str:
    """A command that adds what the names of files have around those of a list: masks/a.png is masks/a_mask.png."""
    if not path.parent.is_dir():
        return ""
    near = sorted(each.stem for each in path.parent.iterdir() if path.stem in each.stem and each.suffix == path.suffix)
    folder = os.path.relpath(path.parent, reader.folders.root)
    for name in near:
        before, behind = name[: name.index(path.stem)], name[name.index(path.stem) + len(path.stem) :]
        pattern = rf"({re.escape(folder)}/)([^/]+)({re.escape(path.suffix)})"
        texts = [re.sub(pattern, rf"\1{before}\2{behind}\3", each.text) for each in failed[:20]]
        if all(reader.finds(Line(line.number, text)) for text, line in zip(texts, failed, strict=False)):
            script = f"s#{pattern}#\\1{before}\\2{behind}\\3#g"
            return command("sed", "-i.bak", "-E", script, reader.source)
    return ""


def _delimiter(text: str) -> str:
    return next((each for each in _DELIMITERS if each in text), " ")
