"""Read image headers without decoding: format, size, orientation.

H height, W width. A forged header may claim sixty thousand by sixty thousand pixels, and decoders believe it; the few
relevant bytes are read here first.
"""

import re
import struct
from pathlib import Path
from typing import Literal, NamedTuple

from segtrain.data.images.contents import read_bytes, shown, what_it_is
from segtrain.data.images.exif import ORIENTATION, exif_orientation, known_turn, tiff_forgery, tiff_tags
from segtrain.data.images.png import PNG_MODES, PNG_START, most_chunks, png_chunks
from segtrain.data.images.tiff import Tiff, classic_tiff, describe
from segtrain.errors import DataError

# 64 Mi pixels: above any camera's image, below what would fill a small machine's memory once decoded.
MAX_PIXELS = 64 * 2**20
# JPEG's own limit; a larger width comes from a forged header.
MAX_SIDE = 2**16

ExifPolicy = Literal["refuse", "apply", "ignore"]

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

# Fill bytes of 0xff may stand before a marker; 0xff followed by zero is not a marker.
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_MOST_READ = 1 << 28  # bytes, of files whose tags may be at the end
_MOST_SEGMENTS, _MOST_EXIF = 65_536, 8
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_COMPRESSION, _TIFF_PHOTOMETRIC = 256, 257, 259, 262
_TIFF_LOSSY = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP"}


class Header(NamedTuple):
    """Metadata in the first bytes of an image file.

    Attributes:
        kind: "PNG", "JPEG", "BMP", "WebP" or "TIFF", from the bytes, not the file's name.
        height: In stored pixels, before any turn.
        width: See `height`.
        orientation: That of EXIF, 1 to 8; 1 is upright.
        bits: Of a channel, in PNG and JPEG; of a pixel in BMP.
        mode: For PNG one of `PNG_MODES`; "" for other kinds.
        lossy: Name of the lossy compression, which would blur class ids; "" if lossless.
        several: "animation" or "pages" if the file holds more than one image.
        inverted: A gray TIFF whose 0 is white.
        tiff: What the pixels of a TIFF are.
        memory: Bytes of memory that a pixel takes while it is decoded, measured.
        first_scan: Position of the first scan of a JPEG that may have several; 0 for others.
        run_lengths: Whether a BMP is compressed.
        forged: What its header claims that no encoder writes; "" where nothing is.
    """

    kind: str
    height: int
    width: int
    orientation: int = 1
    bits: int = 8
    mode: str = ""
    lossy: str = ""
    several: str = ""
    inverted: bool = False
    tiff: Tiff | None = None
    memory: float = 6
    first_scan: int = 0
    run_lengths: bool = False
    forged: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the stored pixels."""
        return self.height, self.width

    @property
    def is_deep(self) -> bool:
        """Whether a channel has 16 bits."""
        return self.tiff.bits == 16 if self.tiff else self.kind == "PNG" and self.bits == 16

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width after the turn that the orientation asks for."""
        return self.size if self.orientation < 5 else (self.width, self.height)


def parse_header(data: bytes, path: Path, expected: str = "a JPEG, PNG, BMP, WebP or TIFF image") -> Header:
    """Read the header of an image.

    Args:
        data: The file, or its beginning.
        path: For messages.
        expected: For messages.

    Raises:
        DataError: The file is not an image, or its header is damaged or truncated.
    """
    parsers = {b"\xff\xd8": _jpeg, b"\x89P": _png, b"BM": _bmp, b"RI": _webp, b"II": _tiff, b"MM": _tiff}
    parser = parsers.get(data[:2])
    try:
        header = parser(data) if parser else None
    except (struct.error, IndexError):
        raise DataError(
            f"cannot decode {shown(path)}: its header ends after {len(data)} bytes, a truncated file. Fix: copy the "
            f"file again or remove it"
        ) from None
    if header is None and data[:4] in (b"II+\0", b"MM\0+"):
        raise DataError(f"cannot read {shown(path)}: a BigTIFF image, expected {expected}. Fix: {classic_tiff(path)}")
    if header is None:
        raise DataError(
            f"cannot decode {shown(path)}: {what_it_is(data)}, expected {expected}. Fix: replace or remove the file"
        )
    if not header.height or not header.width:
        raise DataError(
            f"cannot decode {shown(path)}: {header.height}x{header.width} pixels (HxW) by its header, expected at "
            f"least 1x1. Fix: replace or remove the file"
        )
    return header


def read_header(path: Path) -> Header:
    """Read the header of an image, and no more of its file than needed.

    Raises:
        DataError: See `read_bytes` and `parse_header`.
    """
    # Long enough for a JPEG with a camera's thumbnail before its size; the tags of other formats may be at the end.
    beginning = read_bytes(path, beginning=65536)
    if beginning.startswith((b"\xff\xd8", PNG_START)):
        try:
            return parse_header(beginning, path)
        except DataError:
            if len(beginning) < 65536:
                raise
    return parse_header(read_bytes(path, beginning=_MOST_READ), path)


def _png(data: bytes) -> Header | None:
    if not data.startswith(PNG_START) or data[12:16] != b"IHDR":
        if len(data) < 16:
            raise IndexError
        return None
    width, height, bits, color, _, _, _ = struct.unpack_from(">IIBBBBB", data, 16)
    if bits not in _PNG_DEPTHS.get(color, ()):
        return None
    orientation, several, most = 0, "", most_chunks(data)
    for number, (name, start, end) in enumerate(png_chunks(data)):
        if name == b"eXIf" and not orientation:
            orientation = exif_orientation(data[start:end])
        elif name == b"acTL":
            several = "animation"
        if number > most:  # refused when its chunks are inspected
            break
    memory = 6 if color != 4 else bits  # OpenCV makes four channels of gray with alpha
    return Header("PNG", height, width, orientation or 1, bits, PNG_MODES[color], several=several, memory=memory)


def _jpeg(data: bytes) -> Header | None:
    position, exifs, orientation, found = 2, 0, 1, None
    for _ in range(_MOST_SEGMENTS):
        # Between segments libjpeg skips bytes that are not markers.
        match = _MARKER.search(data, position)
        if match is None:
            raise IndexError
        position, marker = match.end(), match[1][0]
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a body
            continue
        if marker in (0xDA, 0xD9):  # the pixels, or the end
            return found and _with_scans(found, data, position)._replace(orientation=orientation)
        length = int.from_bytes(data[position : position + 2], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and found is None:
            found = _frame(data, position + 2, marker)
        elif marker == 0xE1 and data[position + 2 : position + 8] == b"Exif\0\0" and exifs < _MOST_EXIF:
            orientation, exifs = exif_orientation(data[position + 8 : position + length]), exifs + 1
        position += max(2, length)
    return found and found[0]._replace(
        forged=f"a forged JPEG file, more than {_MOST_SEGMENTS} segments before its pixels"
    )


def _frame(data: bytes, position: int, marker: int) -> tuple[Header, int, float]:
    """Read the frame of a JPEG: its header, its components, and its coefficients by pixel."""
    bits, height, width, components = struct.unpack_from(">BHHB", data, position)
    sampling = [
        (data[position + 7 + 3 * index] >> 4) * (data[position + 7 + 3 * index] & 15) for index in range(components)
    ]
    coefficients = sum(sampling) / max(1, *sampling, 1)
    is_progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
    memory = 10 if components == 4 else 6
    return (
        Header("JPEG", height, width, bits=bits, lossy="JPEG", memory=memory, first_scan=is_progressive),
        components,
        coefficients,
    )


def _with_scans(frame: tuple[Header, int, float], data: bytes, position: int) -> Header:
    """Find the first scan if there may be more: then all coefficients are kept, in two bytes each."""
    header, components, coefficients = frame
    if not header.first_scan and data[position + 2] >= components:
        return header
    memory = max(header.memory, header.memory - 3 + 2 * coefficients)
    return header._replace(first_scan=position - 2, memory=memory)


def _bmp(data: bytes) -> Header | None:
    if int.from_bytes(data[14:18], "little") == 12:  # OS/2's
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    run_lengths = int.from_bytes(data[14:18], "little") >= 40 and data[30] in (1, 2)
    return Header("BMP", abs(height), abs(width), bits=bits, memory=9, run_lengths=run_lengths)


def _webp(data: bytes) -> Header | None:
    if data[8:12] != b"WEBP":
        return None
    kind, flags = data[12:16], data[20]
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        return Header("WebP", height, width, lossy="WebP", memory=7.1)
    if kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return Header("WebP", (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1, memory=7.1)
    if kind != b"VP8X":
        return None
    width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    orientation, position = 1, 12
    for _ in range(_MOST_SEGMENTS if flags & 8 else 0):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"EXIF":
            body = data[position + 8 : position + 8 + length]
            orientation = exif_orientation(body.removeprefix(b"Exif\0\0"))
            break
        position += 8 + length + length % 2
        if position + 8 > len(data):
            break
    return Header("WebP", height, width, orientation, several="animation" if flags & 2 else "", memory=7.1)


def _tiff(data: bytes) -> Header | None:
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    tags, next_page = tiff_tags(data)
    return Header(
        "TIFF",
        tags.get(_TIFF_HEIGHT, 0),
        tags.get(_TIFF_WIDTH, 0),
        known_turn(tags.get(ORIENTATION, 1)),
        lossy=_TIFF_LOSSY.get(tags.get(_TIFF_COMPRESSION, 1), ""),
        several="pages" if next_page else "",
        inverted=tags.get(_TIFF_PHOTOMETRIC) == 0,
        tiff=describe(tags),
        memory=9,
        forged=tiff_forgery(data, tags),
    )
