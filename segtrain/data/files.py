"""Every rule about image files lives here: photographs to RGB, label files to class ids, headers to sizes.

H height, W width. Photographs go through OpenCV, which decodes JPEG fastest; label files go through Pillow, the only
reader that hands out the *indices* of a palette PNG (OpenCV and TensorFlow expand them to colours).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from segtrain.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
# 64 Mi pixels: above any camera's photograph, below what would fill a small machine's memory once decoded.
MAX_PIXELS = 64 * 2**20
ExifPolicy = Literal["refuse", "apply", "ignore"]
AlphaPolicy = Literal["refuse", "drop"]
_REDUCED = {2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: cv2.IMREAD_REDUCED_GRAYSCALE_8}
_LABEL_FORMATS = ("PNG", "BMP", "TIFF")

# tf.data calls from its own threads; OpenCV's pool on top of them only adds switching.
cv2.setNumThreads(0)


def read_image(
    path: Path, *, exif: ExifPolicy = "refuse", max_pixels: int = MAX_PIXELS, reduction: int = 1
) -> np.ndarray:
    """Read a photograph.

    Args:
        path: A JPEG, PNG, BMP, WebP or TIFF file.
        exif: What to do where the camera's orientation tag asks for a turn: "refuse" the file, "apply" the turn, or
            "ignore" it, for labels drawn on the stored pixels.
        max_pixels: Larger pictures are refused before anything is decoded.
        reduction: 1, 2, 4 or 8: JPEGs are decoded at ceil(H / reduction) x ceil(W / reduction), other files whole.

    Returns:
        (H, W, 3) uint8 RGB; grey and palette pictures are expanded, alpha is dropped.

    Raises:
        DataError: The file is missing, empty, cut short, turned, too large, or not a picture.
    """
    data = _read_bytes(path)
    if not data.startswith((b"\xff\xd8", b"\x89PNG", b"BM", b"II", b"MM", b"RIFF")) or b"IEND" not in data[-4096:]:
        height, width = 1, 1
    else:
        height, width = read_size(path, exif)
    if height * width > max_pixels:
        raise DataError(
            f"{path}: {height}x{width} pixels (HxW), expected at most {max_pixels}. Fix: make the picture smaller, or "
            f"raise dataset.max_pixels"
        )
    if data.startswith(b"\xff\xd8"):
        # Entropy-coded JPEG data holds no marker, so the end marker must follow the last scan. OpenCV fills a cut
        # picture with grey and says nothing.
        if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            raise DataError(_truncated(path, data, "JPEG"))
    elif data.startswith(b"\x89PNG") and b"IEND" not in data[-4096:]:
        raise DataError(_truncated(path, data, "PNG"))
    flags = cv2.IMREAD_COLOR_RGB | (0 if exif == "apply" else cv2.IMREAD_IGNORE_ORIENTATION)
    if reduction > 1 and data.startswith(b"\xff\xd8"):
        flags |= _REDUCED[reduction]
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(
            f"cannot decode {path}: {len(data)} bytes beginning {data[:8]!r}, expected a JPEG, PNG, BMP, WebP or TIFF "
            f"picture. Fix: replace or remove the file"
        )
    return image


def read_labels(
    path: Path,
    *,
    colors: Mapping[tuple[int, int, int], int] | None = None,
    alpha: AlphaPolicy = "refuse",
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read class ids exactly as they are stored.

    Palette files yield their indices, one-bit files 0 and 1, sixteen-bit files their values where all fit a byte.

    Args:
        path: A PNG, BMP or TIFF file.
        colors: RGB colour to stored value, for files in colours; others are refused where None.
        alpha: "refuse" files with transparency, or "drop" it.
        max_pixels: Larger files are refused before anything is decoded.

    Returns:
        (H, W) uint8 stored values; `Dataset.read` turns them into class ids.

    Raises:
        DataError: The file is missing, cut short, lossy (JPEG), in colours, or holds values above 255.
    """
    data = _read_bytes(path)
    if data.startswith(b"\xff\xd8"):
        raise DataError(
            f"labels in {path}: a JPEG file, expected PNG; JPEG blurs class ids into others. Fix: export the labels "
            f"again from their source as PNG"
        )
    try:
        with Image.open(path, formats=_LABEL_FORMATS) as picture:
            mode = picture.mode
            picture.load()
            values = np.asarray(picture if colors is None else picture.convert("RGB"))
            if alpha == "drop" and mode in ("LA", "RGBA"):
                mode = mode[:-1]
                values = values[..., 0]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if data.startswith(b"\x89PNG") and b"IEND" not in data[-4096:]:
            raise DataError(_truncated(path, data, "PNG")) from error
        raise DataError(
            f"cannot decode labels in {path}: {len(data)} bytes beginning {data[:8]!r}, expected a PNG, BMP or TIFF of "
            f"class ids. Fix: export the labels again from their source"
        ) from error
    if values.shape[0] * values.shape[1] > max_pixels:
        raise DataError(f"{path}: {values.shape} pixels, expected at most {max_pixels}. Fix: raise dataset.max_pixels")
    if colors is not None:
        return _ids_of_colors(path, values, colors)
    if mode not in ("P", "L", "1", "I", "I;16", "I;16B"):
        raise DataError(
            f"labels in {path}: mode {mode}, values (H, W, {values.shape[-1] if values.ndim == 3 else 1}), expected "
            f"class ids (H, W) in a grey or palette PNG. Fix: convert the colours to ids first"
        )
    if values.dtype.itemsize > 1:
        if values.min() < 0 or values.max() > 255:
            raise DataError(
                f"labels in {path}: values {values.min()}..{values.max()}, expected 0..255. Fix: map the ids to "
                f"0..255 first"
            )
    elif mode == "L" and data.startswith(b"\x89PNG") and data[25] == 0 and data[24] in (2, 4):
        # Pillow stretches 2- and 4-bit greys to 0..255; the ids are the unstretched values.
        values = values // (85 if data[24] == 2 else 17)
    return values.astype(np.uint8)


def _ids_of_colors(path: Path, values: np.ndarray, colors: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    ids = np.zeros(values.shape[:2], np.uint8)
    known = np.zeros(values.shape[:2], bool)
    for color, value in colors.items():
        same = (values == np.array(color, np.uint8)).all(axis=-1)
        ids[same] = value
        known |= same
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise DataError(
            f"labels in {path}: {np.count_nonzero(~known)} pixels of unknown colours, the first at ({row}, {column}) "
            f"is {values[row, column].tolist()}, expected those of the table. Fix: add it to dataset.label_colors"
        )
    return ids


def read_size(path: Path, exif: ExifPolicy = "refuse") -> tuple[int, int]:
    """Read only a file's header.

    Args:
        path: A picture.
        exif: See `read_image`; "apply" gives the size after the turn.

    Returns:
        Height and width, in pixels.

    Raises:
        DataError: The file is missing or has no picture's header.
    """
    try:
        with Image.open(path) as picture:
            orientation = 1 if picture.format == "PNG" else picture.getexif().get(0x0112, 1)
            if exif == "refuse" and orientation != 1:
                raise DataError(
                    f"{path}: EXIF orientation {orientation}, expected 1. Fix: dataset.exif=apply or ignore"
                )
            if exif == "apply" and orientation in (5, 6, 7, 8):
                return picture.width, picture.height
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        data = _read_bytes(path)
        raise DataError(
            f"cannot read the header of {path}: {len(data)} bytes beginning {data[:8]!r}, expected a picture. Fix: "
            f"replace or remove the file"
        ) from error


def files_by_stem(folder: Path, suffixes: frozenset[str], *, recursive: bool = False) -> dict[str, Path]:
    """List the files of a folder that have one of `suffixes` (lower case), by name without suffix, sorted.

    Where `recursive`, those of the folders below too, by their path from `folder`, as "aachen/aachen_000".

    Raises:
        DataError: The folder is missing, or two files differ only in their suffix.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: it was looked for to list files ({', '.join(sorted(suffixes))})")
    if recursive:
        below = {
            f"{place}{stem}": path
            for place, part in _folders_below(folder)
            for stem, path in files_by_stem(part, suffixes).items()
        }
        return dict(sorted(below.items()))
    found: dict[str, Path] = {}
    # os.scandir, not glob: folders may be called "[v1]".
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if path.suffix.lower() not in suffixes or entry.name.startswith(".") or not entry.is_file():
            continue
        if path.stem in found:
            raise DataError(
                f"two files for '{path.stem}' in {folder}: {found[path.stem].name} and {path.name}, expected one. "
                f"Fix: remove one of them"
            )
        found[path.stem] = path
    return found


def _folders_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """A folder and all below it with their paths from it, "" and "aachen/"; through links, each folder once."""
    seen = set()
    waiting = [("", folder)]
    while waiting:
        place, part = waiting.pop()
        status = part.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back up would lead round for ever
            continue
        seen.add((status.st_dev, status.st_ino))
        yield place, part
        with os.scandir(part) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        waiting += [(f"{place}{name}/", part / name) for name in reversed(names)]


def read_names(path: Path) -> list[str]:
    """Read a list file: one name a line; blank lines, a byte-order mark and Windows line ends are accepted.

    Raises:
        DataError: The file is missing, lists a name twice, or a name leaves its folder.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list {path}: {error}. Fix: give a text file with one name a line") from error
    names = [line.strip() for line in lines if line.strip()]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"list {path}: '{name}' stands twice, expected once. Fix: remove one of the lines")
        if name.startswith(("/", "~")) or ".." in Path(name).parts:
            raise DataError(f"list {path}: '{name}' leaves the dataset, expected a name below its root")
        seen.add(name)
    return names


def _read_bytes(path: Path) -> bytes:
    """Read a whole file, or say which one could not be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Fix: restore the file or remove its name") from error
    if not data:
        raise DataError(f"cannot decode {path}: the file is empty. Fix: replace or remove it")
    return data


def _truncated(path: Path, data: bytes, kind: str) -> str:
    return (
        f"cannot decode {path}: a truncated {kind} file, {len(data)} bytes without an end marker. Fix: copy the file "
        f"again or remove it"
    )
