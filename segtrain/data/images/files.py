"""Every rule about files of a dataset: images to RGB, label files to stored values, folders and lists to names.

H height, W width. The header decides on a file (`headers`), before anything is decoded
(`decoders`); the rules of label files have a module of their own (`labels`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segtrain.data.images.completeness import require_read
from segtrain.data.images.contents import read_bytes, shown
from segtrain.data.images.decoders import decode_deep, decode_rgb, turn
from segtrain.data.images.exif import TURNS
from segtrain.data.images.headers import (
    MAX_PIXELS,
    ExifPolicy,
    Header,
    parse_header,
    read_header,
)
from segtrain.data.images.image_range import Range
from segtrain.data.images.labels import AlphaPolicy, read_labels
from segtrain.data.images.limits import check_limits, most_bytes
from segtrain.errors import DataError, argument

__all__ = [
    "IMAGE_SUFFIXES",
    "LABEL_SUFFIXES",
    "MAX_PIXELS",
    "AlphaPolicy",
    "ExifPolicy",
    "files_by_stem",
    "read_image",
    "read_image_and_header",
    "read_labels",
    "read_size",
    "read_stored_range",
]

# .jfif is what browsers on Windows call a JPEG that they save.
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".jpe"})
IMAGE_SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp", ".webp", ".tif", ".tiff"}
LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
# JPEG labels are listed so that reading them reports what is wrong with them.
LISTED_AS_LABELS = LABEL_SUFFIXES | JPEG_SUFFIXES


class TwoFilesError(DataError):
    """Two files of a folder have one name but for their suffix.

    Attributes:
        files: The two.
    """

    def __init__(self, folder: Path, first: Path, second: Path) -> None:
        super().__init__(
            f"two files for '{shown(Path(first.stem))}' in {shown(folder)}: {shown(Path(first.name))} and "
            f"{shown(Path(second.name))}, expected one"
        )
        self.files = (first, second)


def read_image(
    path: Path,
    *,
    exif: ExifPolicy = "refuse",
    max_pixels: int = MAX_PIXELS,
    reduction: int = 1,
    image_range: Range | None = None,
) -> np.ndarray:
    """Read an image.

    Color profiles and gamma are not applied, as in TensorFlow and PyTorch. A JPEG with damaged bytes in its middle
    may come with other colors: see `decoders.decode_rgb`.

    Args:
        path: A JPEG, PNG, BMP, WebP or TIFF file.
        exif: What to do where the camera's orientation tag asks for a turn: "refuse" the file, "apply" the turn, or
            "ignore" it, for labels drawn on the stored pixels.
        max_pixels: Larger images are refused before decoding.
        reduction: 1, 2, 4 or 8: JPEGs are decoded at ceil(H / reduction) x ceil(W / reduction), others at full size.
        image_range: The values of 16-bit images that become 0 and 255; others are clipped. Their upper eight bits are
            kept where None. Images of 8 bits stay as they are.

    Returns:
        (H, W, 3) uint8 RGB; gray and palette images are expanded, alpha is dropped.

    Raises:
        DataError: The file is missing, empty, cut short, turned, too large, animated, or not an image.
    """
    return read_image_and_header(path, exif=exif, max_pixels=max_pixels, reduction=reduction, image_range=image_range)[
        0
    ]


def read_image_and_header(
    path: Path,
    *,
    exif: ExifPolicy = "refuse",
    max_pixels: int = MAX_PIXELS,
    reduction: int = 1,
    image_range: Range | None = None,
) -> tuple[np.ndarray, Header]:
    """Read an image and its header, which holds its full size at any `reduction`; see `read_image`."""
    data = read_bytes(path, most=most_bytes(max_pixels))
    header = parse_header(data, path)
    if header.several:
        raise DataError(
            f"cannot decode {shown(path)}: {header.kind} with several images ({header.several}), expected one. Fix: "
            f"save the one that the labels belong to"
        )
    _require_upright(header, path, exif)
    check_limits(header, path, max_pixels, data)
    image = decode_rgb(data, header, path, reduction, image_range)
    return turn(image, header.orientation) if exif == "apply" else image, header


def read_stored_range(path: Path, max_pixels: int = MAX_PIXELS) -> Range | None:
    """Read the lowest and the highest stored value of a 16-bit image; None for others, by their header.

    Raises:
        DataError: See `read_image`.
    """
    header = read_header(path)
    if not header.is_deep:
        return None
    require_read(header, path)
    data = read_bytes(path, most=most_bytes(max_pixels))
    check_limits(header, path, max_pixels, data)
    values = decode_deep(data, header, path)
    return int(values.min()), int(values.max())


def read_size(path: Path, exif: ExifPolicy = "refuse") -> tuple[int, int]:
    """Read only a file's header.

    Args:
        path: The image file.
        exif: See `read_image`; "apply" gives the size after the turn.

    Returns:
        Height and width, in pixels.

    Raises:
        DataError: The file is missing, has no image header, or is turned.
    """
    header = read_header(path)
    require_read(header, path)
    _require_upright(header, path, exif)
    return header.upright_size if exif == "apply" else header.size


def files_by_stem(folder: Path, suffixes: frozenset[str], *, recursive: bool = False) -> dict[str, Path]:
    """List the files of a folder that have one of `suffixes` (lower case), by name without suffix, sorted.

    Where `recursive`, those of the folders below too, by their path from `folder`, as "aachen/aachen_000".

    Raises:
        DataError: The folder is missing, or two files differ only in their suffix.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {shown(folder)}: it was looked for to list files ({', '.join(sorted(suffixes))})")
    if recursive:
        below = {
            f"{prefix}{stem}": path
            for prefix, part in _folders_below(folder)
            for stem, path in files_by_stem(part, suffixes).items()
        }
        return dict(sorted(below.items()))
    found: dict[str, Path] = {}
    # os.scandir, not glob: folders may be called "[v1]".
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if path.suffix.lower() not in suffixes or entry.name.startswith(".") or not _is_file(entry):
            continue
        if path.stem in found:
            raise TwoFilesError(folder, found[path.stem], path)
        found[path.stem] = path
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file or a link, even a broken one: reading it reports that.

    Left out, it would be a sample lost in silence.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link in a circle
        return True


def _folders_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """A folder and all below it with their paths from it, "" and "aachen/"; through links, each folder once."""
    seen = set()
    waiting = [("", folder)]
    while waiting:
        prefix, part = waiting.pop()
        status = part.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back up would lead round for ever
            continue
        seen.add((status.st_dev, status.st_ino))
        yield prefix, part
        with os.scandir(part) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        waiting += [(f"{prefix}{name}/", part / name) for name in reversed(names)]


def _require_upright(header: Header, path: Path, exif: ExifPolicy) -> None:
    if exif == "refuse" and header.orientation != 1:
        raise DataError(
            f"EXIF orientation {header.orientation} ({TURNS[header.orientation]}) in {shown(path)}: expected 1, "
            f"upright. Fix: {argument('exif')}=apply where labels were drawn on the upright image, "
            f"{argument('exif')}=ignore where on its stored pixels"
        )
