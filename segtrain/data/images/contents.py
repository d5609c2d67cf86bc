"""Read a file's bytes, and identify the format of a file that is not an image segtrain reads."""

from pathlib import Path

from segtrain.errors import DataError, argument
from segtrain.reading import NotRegular, TooLarge, read_regular
from segtrain.terminal import printable

_STARTS = (
    (b"GIF8", "a GIF image"),
    (b"version https://git-lfs", "a pointer of git-LFS, not the file itself; `git lfs pull` fetches it"),
    (b"\0\5\x16\7", "an AppleDouble file, macOS' notes on a file of that name; it can be removed"),
    (b"\0\0\0\1Bud1", "a .DS_Store of macOS; it can be removed"),
    (b"\xd0\xcf\x11\xe0", "a Thumbs.db of Windows or an old Office file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"\x89PNG", "a PNG damaged by a transfer in text mode"),
    (b"II+\0", "a BigTIFF image"),
    (b"MM\0+", "a BigTIFF image"),
)
_FTYP = {b"avif": "an AVIF image", b"avis": "an AVIF video"}


def read_bytes(path: Path, most: int | None = None, beginning: int | None = None) -> bytes:
    """Read a regular file, or its beginning; a pipe or a device is refused without waiting on it.

    Args:
        path: The file; links are followed.
        most: Maximum size in bytes; larger files are refused.
        beginning: Number of bytes to read; None for all.

    Raises:
        DataError: The file is missing, empty, not a regular file, too large, or cannot be read.
    """
    try:
        data = read_regular(path, most, beginning)
    except NotRegular as error:
        raise DataError(f"cannot read {shown(path)}: {error.strerror}. Fix: remove it") from error
    except TooLarge as error:
        raise DataError(
            f"cannot read {shown(path)}: {error.strerror}. Fix: replace the file, or raise {argument('max_pixels')}"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot read {shown(path)}: {error.strerror}. Fix: restore the file or remove its name"
        ) from error
    if not data:
        raise DataError(f"cannot decode {shown(path)}: the file is empty. Fix: replace or remove it")
    return data


def what_it_is(data: bytes) -> str:
    """Name the format of a file that segtrain does not read as an image, by its first bytes."""
    for start, name in _STARTS:
        if data.startswith(start):
            return name
    if data[4:8] == b"ftyp":
        return _FTYP.get(data[8:12], "a HEIC image" if data[8:11] in (b"hei", b"hev", b"mif", b"msf") else "a video")
    text = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, as a failed download leaves"
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML file"
    if not any(data):
        return f"{len(data)} zero bytes, as a full disk leaves"
    return f"{len(data)} bytes beginning {data[:8]!r}"


def shown(path: Path) -> str:
    """Write a path for a message of one line: control characters and bytes that are not text are escaped."""
    return printable(path)
