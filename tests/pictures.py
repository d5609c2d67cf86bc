"""Picture files written byte by byte, without the libraries that read them in the product.

H height, W width, C channels.
"""

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
# Row and column of the first pixel of each pass of Adam7, and the steps between its rows and columns.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    values: np.ndarray,
    depth: int,
    kind: int,
    palette: bytes = b"",
    chunks: Iterable[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
) -> bytes:
    """Write a PNG of `depth` bits a value; `values` is (H, W) or (H, W, C); `chunks` stand before the pixels."""
    height, width = values.shape[:2]
    passes = [values[row::down, column::right] for row, column, down, right in ADAM7] if interlaced else [values]
    rows = b"".join(_rows(part, depth) for part in passes if part.size)
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    parts = [(b"IHDR", head), *([(b"PLTE", palette)] if palette else []), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _rows(values: np.ndarray, depth: int) -> bytes:
    rows = b""
    for row in values.reshape(len(values), -1):
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return rows


def saved(picture: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    """Write a picture with Pillow."""
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def smooth(size: tuple[int, int] = (41, 59), seed: int = 0) -> np.ndarray:
    """Draw what a JPEG keeps nearly as it is: soft blobs of color, (H, W, 3) uint8."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(few).resize(size[::-1], Image.Resampling.BICUBIC))


def with_exif(orientation: int, order: str = "<", thumbnail: bytes = b"") -> bytes:
    """Write a block of EXIF, without the "Exif" that JPEG puts before it, that asks for a turn."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "IH", 8, 1) + entries + struct.pack(order + "I", 0) + thumbnail


def jpeg_with(data: bytes, marker: int, body: bytes) -> bytes:
    """Put a segment behind the first two bytes of a JPEG."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]
