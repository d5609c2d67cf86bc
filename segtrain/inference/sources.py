"""Images to predict: from a file, a folder, a glob, a list, a video or a camera. No TensorFlow."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segtrain.data.images.files import IMAGE_SUFFIXES
from segtrain.data.listing.list_file import read_lines
from segtrain.errors import ConfigError, DataError
from segtrain.shell import command
from segtrain.terminal import printable

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
LIST_SUFFIXES = frozenset({".txt", ".lst", ".csv"})
_IMAGES = ", ".join(sorted(IMAGE_SUFFIXES))
_KINDS = f"an image ({_IMAGES}), a video, or a list of images ({', '.join(sorted(LIST_SUFFIXES))})"


class Image(NamedTuple):
    """An image to predict.

    Attributes:
        path: The file.
        name: Path of its results within their folder, without suffix.
    """

    path: Path
    name: str


class Video(NamedTuple):
    """A video or camera to predict frame by frame.

    Attributes:
        source: A file, or the number of a camera.
        name: Name of its results, without suffix.
    """

    source: Path | int
    name: str


def find_inputs(source: Any, without: Path | None = None) -> list[Image | Video]:
    """List what a source holds, in the order of names; each has a name of its own.

    Args:
        source: A file, a folder (with those below), a glob, a text file with one image per line, a video, the number
            of a camera, or a list of these.
        without: Folder whose files do not count: that of earlier results.

    Raises:
        ConfigError: There is no source.
        DataError: A source is missing, empty or of another kind.
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources or sources == [None] or sources == [""]:
        raise ConfigError(
            "source: nothing to predict, expected a file, folder, glob, list, video or camera number. Fix: "
            "segtrain predict FOLDER"
        )
    excluded = None if without is None else without.resolve()
    found = [each for one in sources for each in _inputs_of(one, excluded)]
    return list(_with_own_names(found))


def _inputs_of(source: Any, excluded: Path | None) -> Iterable[Image | Video]:
    text = str(source)
    if re.fullmatch(r"\d{1,3}", text):
        return [Video(int(text), f"camera-{text}")]
    path = Path(text).expanduser()
    if path.is_dir():
        return _of_folder(path, excluded)
    if not os.path.lexists(path) and re.search(r"[*?\[]", text):
        return _of_glob(str(path))
    if not path.is_file():
        seen = "not a regular file" if os.path.lexists(path) else "no such file or folder"
        raise DataError(
            f"source={printable(text)}: {seen}, expected {_KINDS} or a folder. Fix: segtrain predict FOLDER"
        )
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return [Image(path, path.stem)]
    if suffix in VIDEO_SUFFIXES:
        return [Video(path, path.stem)]
    if suffix in LIST_SUFFIXES:
        return _of_list(path)
    raise DataError(f"source={printable(text)}: a file of another kind, expected {_KINDS}. Fix: {_convert(path)}")


def _convert(path: Path) -> str:
    return command("convert", path, path.with_suffix(".png"))


def _of_folder(folder: Path, excluded: Path | None) -> list[Image | Video]:
    found: list[Image | Video] = []
    for parent, names, files in os.walk(folder, followlinks=False):
        here = Path(parent)
        names[:] = sorted(name for name in names if not name.startswith(".") and (here / name).resolve() != excluded)
        for file in sorted(files):
            path = here / file
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if file.startswith("."):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                found.append(Image(path, stem))
            elif path.suffix.lower() in VIDEO_SUFFIXES:
                found.append(Video(path, stem))
    if not found:
        kinds = sorted({Path(file).suffix.lower() or "no suffix" for _, _, files in os.walk(folder) for file in files})
        seen = f"files with {', '.join(kinds[:5])}" if kinds else "no files"
        raise DataError(
            f"source={printable(folder)}: {printable(seen)}, expected images ({_IMAGES}). Fix: segtrain predict "
            f"ANOTHER_FOLDER"
        )
    return found


def _of_glob(pattern: str) -> list[Image | Video]:
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    base = Path(fixed[: fixed.rfind("/") + 1] or ".")
    matches = [Path(each) for each in sorted(glob.glob(pattern, recursive=True))]
    found: list[Image | Video] = []
    for path in matches:
        kind = Image if path.suffix.lower() in IMAGE_SUFFIXES else Video
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            found.append(kind(path, path.relative_to(base).with_suffix("").as_posix()))
    if not found:
        raise DataError(
            f"source={printable(pattern)}: {len(matches)} matches, none of them an image, expected files such as "
            f"*.jpg. Fix: segtrain predict FOLDER"
        )
    return found


def _of_list(path: Path) -> list[Image | Video]:
    """Read one path per line, relative to the folder of the list or to the working folder."""
    found: list[Image | Video] = []
    missing: list[str] = []
    for _, text in read_lines(path):
        if text.startswith("#"):
            continue
        file = next((each for each in (path.parent / text, Path(text)) if each.is_file()), None)
        if file is None:
            missing.append(text)
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            relative = Path(os.path.normpath(text))
            inside = not relative.is_absolute() and ".." not in relative.parts
            found.append(Image(file, relative.with_suffix("").as_posix() if inside else relative.stem))
        else:
            missing.append(text)
    if missing or not found:
        seen = "no lines"
        if missing:
            number = len(missing) + len(found)
            seen = f"{len(missing)} of {number} lines name no image, the first {printable(missing[0])}"
        raise DataError(
            f"source={printable(path)}: {seen}, expected one image file per line, relative to "
            f"{printable(path.parent)} or to the working folder. Fix: {command('head', path)} shows the lines"
        )
    return found


def _with_own_names(found: Sequence[Image | Video]) -> Iterator[Image | Video]:
    """Give inputs of equal names others, so that no result replaces another: a.jpg and a.png become a_jpg and a_png."""
    numbers: dict[str, int] = {}
    for each in found:
        numbers[each.name] = numbers.get(each.name, 0) + 1
    taken: set[str] = set()
    for each in found:
        name = each.name
        if numbers[name] > 1 and not isinstance(each[0], int):
            name = f"{name}_{each[0].suffix.lstrip('.').lower()}"
        own, number = name, 2
        while own in taken:
            own, number = f"{name}_{number}", number + 1
        taken.add(own)
        yield each._replace(name=own)
