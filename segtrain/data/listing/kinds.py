"""File formats that segtrain does not read: their names and how to convert them."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from segtrain.data.images.contents import shown
from segtrain.data.images.files import IMAGE_SUFFIXES, LISTED_AS_LABELS
from segtrain.shell import command

# By suffix: image and array formats that datasets come in.
KINDS = {
    ".gif": "GIF",
    ".npy": "NumPy array",
    ".npz": "NumPy archive",
    **dict.fromkeys((".pgm", ".ppm", ".pbm", ".pnm"), "Netpbm"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), "JPEG 2000"),
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".webp": "WebP",
    ".svg": "SVG",
    ".json": "JSON",
    ".xml": "XML",
    ".mat": "MATLAB",
    ".tga": "TGA",
    ".pcx": "PCX",
    ".ico": "icon",
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".psd": "Photoshop",
    ".pdf": "PDF",
    ".dib": "BMP",
    ".apng": "animated PNG",
    **dict.fromkeys((".nii", ".gz", ".dcm"), "medical volume"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raw"), "camera raw"),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv"), "video"),
}
# Formats that `segtrain.data.convert` converts to PNG, bit for bit.
CONVERTED = frozenset(
    {".gif", ".npy", ".pgm", ".ppm", ".webp", ".tga", ".pcx", ".dib"},
)
# For images it also converts formats whose pixels may differ slightly.
CONVERTED_IMAGES = CONVERTED | {".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".avif", ".ico"}
_LOSSY = frozenset({".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".avif", ".heic", ".heif", ".jxl"})
_COMPANIONS = frozenset(
    {".txt", ".json", ".xml", ".csv", ".tsv", ".md", ".yaml", ".yml", ".db", ".ini", ".html", ".zip", ".py", ".log"}
    | {".lst", ".sh", ".pdf", ".pickle", ".pkl", ".tar", ".toml", ".lock", ".rst", ".url", ".tfw", ".pgw", ".jgw"}
)


class Unread(NamedTuple):
    """Files of one folder that are of kinds that are not read.

    Attributes:
        what: "images" or "labels".
        files: Their paths; never empty.
    """

    what: str
    files: tuple[Path, ...]

    @property
    def seen(self) -> str:
        """The first of them and what it is: "masks/p2.gif is a GIF, which is not read"."""
        path = self.files[0]
        kind = KINDS.get(path.suffix.lower())
        named = (
            f"a {kind} file" if kind else f"of the unknown kind {path.suffix!r}" if path.suffix else "without suffix"
        )
        return f"{shown(path)} is {named}, which is not read"

    @property
    def expected(self) -> str:
        kinds = IMAGE_SUFFIXES if self.what == "images" else LISTED_AS_LABELS - {".jpg", ".jpeg", ".jfif", ".jpe"}
        return ", ".join(sorted(kinds))

    @property
    def fix(self) -> str:
        """A command that converts them."""
        path = self.files[0]
        suffix, folder = path.suffix.lower(), path.parent
        if suffix in (CONVERTED if self.what == "labels" else CONVERTED_IMAGES):
            return command(_python(), "-m", "segtrain.data.convert", self.what, folder, suffix)
        if suffix in (".heic", ".heif") and self.what == "images":
            folder_words = command(folder)
            return f'for f in {folder_words}/*{path.suffix}; do heif-convert "$f" "${{f%.*}}.jpg"; done'
        if suffix in _LOSSY:
            return f"export the labels again from their source as PNG: {KINDS[suffix]} may have blurred the class ids"
        if suffix in (".json", ".xml", ".svg"):
            return "draw these outlines into PNGs of class ids first, as labelme_export_json and CVAT's mask export do"
        return "export these files again as PNG"


def unread_of(what: str, names: Iterable[str], folder: Path) -> tuple[dict[str, Path], Unread | None]:
    """Find files of other kinds that have the names looked for.

    Args:
        what: "images" or "labels".
        names: Without suffix, relative to the folder.
        folder: Where.

    Returns:
        Such files by name, and those of the most frequent suffix; None if nothing was found.
    """
    wanted = set(names)
    found: dict[str, Path] = {}
    for parent in {os.path.dirname(name) for name in wanted}:
        for path in _files(folder / parent):
            name = f"{parent}/{path.stem}" if parent else path.stem
            if name in wanted and path.suffix.lower() not in _read(what):
                found.setdefault(name, path)
    return found, _most(what, found)


def unread_images(folder: Path, known: Mapping[str, Path]) -> tuple[Path, ...]:
    """List files of a folder of images that look like images and are not read: neither notes nor companions of one."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix in IMAGE_SUFFIXES or suffix in _COMPANIONS or entry.name.startswith("."):
                continue
            if (suffix in KINDS or not suffix or suffix[1:].isalpha()) and entry.is_file():
                found.append(Path(entry.path))
    stems = {path.stem for path in known.values()} if found else set()
    return tuple(sorted(path for path in found if path.stem not in stems))


def _most(what: str, found: Mapping[str, Path]) -> Unread | None:
    by_suffix: dict[str, list[Path]] = {}
    for path in found.values():
        by_suffix.setdefault(path.suffix.lower(), []).append(path)
    return Unread(what, tuple(max(by_suffix.items(), key=lambda item: len(item[1]))[1])) if by_suffix else None


def _read(what: str) -> frozenset[str]:
    return IMAGE_SUFFIXES if what == "images" else LISTED_AS_LABELS


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    return [folder / name for name in names]


def _python() -> str:
    """The interpreter that has segtrain, by a short name where that is the same."""
    found = shutil.which("python")
    same = found is not None and Path(found).parent == Path(sys.executable).parent
    return "python" if same else sys.executable
