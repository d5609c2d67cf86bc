"""What a file is before anything of it is decoded: its kind, its size, which way up it lies.

H height, W width. A forged header may claim sixty thousand by sixty thousand pixels, and decoders believe it; the few
bytes that tell are read here first.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from segtrain.data.contents import read_bytes, shown, what_it_is
from segtrain.data.exif import ORIENTATION, exif_orientation, known_turn, tiff_tags
from segtrain.data.tiff import Tiff, classic_tiff, describe
from segtrain.errors import DataError

# 64 Mi pixels: above any camera's photograph, below what would fill a small machine's memory once decoded.
MAX_PIXELS = 64 * 2**20
# JPEG's own limit; wider pictures than that come from forged headers.
MAX_SIDE = 2**16

ExifPolicy = Literal["refuse", "apply", "ignore"]

PNG_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey+alpha", 6: "RGBA"}
_PNG_CHANNELS = {"grey": 1, "RGB": 3, "palette": 1, "grey+alpha": 2, "RGBA": 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_START = b"\x89PNG\r\n\x1a\n"

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_COMPRESSION, _TIFF_PHOTOMETRIC = 256, 257, 259, 262
_TIFF_LOSSY = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP"}


class Header(NamedTuple):
    """What the first bytes of a picture say.

    Attributes:
        kind: "PNG", "JPEG", "BMP", "WebP" or "TIFF", whatever the file's name says.
        height: In stored pixels, before any turn.
        width: See `height`.
        orientation: That of EXIF, 1 to 8; 1 is upright.
        bits: Of a channel, in PNG and JPEG; of a pixel in BMP.
        mode: For PNG one of `PNG_MODES`; "" for other kinds.
        lossy: The compression that would blur class ids; "" where there is none.
        several: "animation" or "pages" where the file holds more than one picture.
        inverted: A grey TIFF whose 0 is white.
        tiff: What the pixels of a TIFF are.
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

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the stored pixels."""
        return self.height, self.width

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width after the turn that the orientation asks for."""
        return self.size if self.orientation < 5 else (self.width, self.height)


def parse_header(data: bytes, path: Path, expected: str = "a JPEG, PNG, BMP, WebP or TIFF picture") -> Header:
    """Read the header of a picture.

    Args:
        data: The file, or its beginning.
        path: For messages.
        expected: For messages.

    Raises:
        DataError: The file is another thing than a picture, or its header is damaged or cut short.
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
        raise DataError(f"cannot read {shown(path)}: a BigTIFF picture, expected {expected}. Fix: {classic_tiff(path)}")
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
    """Read the header of a picture from no more of its file than that takes.

    Raises:
        DataError: See `read_bytes` and `parse_header`.
    """
    # Long enough for a JPEG with a camera's thumbnail before its size; the tags of other kinds may lie at their ends.
    beginning = read_bytes(path, beginning=65536)
    if beginning.startswith((b"\xff\xd8", _PNG_START)):
        try:
            return parse_header(beginning, path)
        except DataError:
            if len(beginning) < 65536:
                raise
    return parse_header(read_bytes(path), path)


def most_bytes(max_pixels: int) -> int:
    """How large the file of a picture of `max_pixels` may be: 16-bit RGBA stored as it is, and a camera's extras."""
    return 8 * max_pixels + 64 * 2**20


def check_limits(header: Header, path: Path, max_pixels: int, num_bytes: int) -> None:
    """Refuse a picture that is too large, or larger than its bytes can hold.

    Raises:
        DataError: The header claims too many pixels.
    """
    pixels = header.height * header.width
    if pixels > max_pixels or max(header.size) > MAX_SIDE:
        limit = f"{max_pixels} pixels" if pixels > max_pixels else f"{MAX_SIDE} a side"
        raise DataError(
            f"cannot decode {shown(path)}: {header.height}x{header.width} pixels (HxW) by its header, expected at most "
            f"{limit}. Fix: make the picture smaller" + (", or raise dataset.max_pixels" * (pixels > max_pixels))
        )
    if num_bytes < _least_bytes(header):
        raise DataError(
            f"cannot decode {shown(path)}: {header.height}x{header.width} pixels (HxW) by its header, more than its "
            f"{num_bytes} bytes can hold: a truncated or forged {header.kind} file. Fix: copy the file again or remove "
            f"it"
        )


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and end of the body of each chunk of a PNG, up to its last whole one."""
    place = 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        name, start = data[place + 4 : place + 8], place + 8
        if start + length + 4 > len(data):
            return
        yield name, start, start + length
        if name == b"IEND":
            return
        place = start + length + 4


def png_damage(data: bytes) -> str:
    """Tell what is wrong with a PNG's chunks, "" where nothing is: cut short, or other bytes than were written.

    libpng prints its own words on stderr; a file that is refused here never gets there.
    """
    name = b""
    for name, start, end in png_chunks(data):
        # A capital first letter says that the picture cannot be understood without the chunk.
        if not name.isalpha() or (name[:1].isupper() and name not in _PNG_CRITICAL):
            return f"a damaged PNG file, a chunk {name!r} at byte {start - 8}"
        if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"a damaged PNG file, the checksum of {name.decode()} at byte {start - 8} is wrong"
    return "" if name == b"IEND" else f"a truncated PNG file, {len(data)} bytes without an end marker"


def _least_bytes(header: Header) -> int:
    """Bound a file's bytes from below: deflate shrinks by 1032 at most, Huffman codes spend a bit on 64 pixels."""
    if header.kind == "PNG":
        return header.height * (1 + header.width * header.bits * _PNG_CHANNELS[header.mode] // 8) // 1032
    return header.height * header.width // 512 if header.kind == "JPEG" else 0


def _png(data: bytes) -> Header | None:
    if not data.startswith(_PNG_START) or data[12:16] != b"IHDR":
        if len(data) < 16:
            raise IndexError
        return None
    width, height, bits, color, _, _, _ = struct.unpack_from(">IIBBBBB", data, 16)
    if bits not in _PNG_DEPTHS.get(color, ()):
        return None
    orientation, several = 1, ""
    for name, start, end in png_chunks(data):
        if name == b"eXIf":
            orientation = exif_orientation(data[start:end])
        elif name == b"acTL":
            several = "animation"
    return Header("PNG", height, width, orientation, bits, PNG_MODES[color], several=several)


def _jpeg(data: bytes) -> Header | None:
    place, orientation, size = 2, 1, None
    while True:
        # Between segments libjpeg skips whatever is no marker.
        place = data.index(b"\xff", place) if data.find(b"\xff", place) >= 0 else len(data)
        marker = data[place + 1]
        if marker in (0x00, 0xFF):
            place += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a body
            place += 2
            continue
        if marker in (0xDA, 0xD9):  # the pixels, or the end
            return size and size._replace(orientation=orientation)
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and size is None:
            bits, height, width, _ = struct.unpack_from(">BHHB", data, place + 4)
            size = Header("JPEG", height, width, bits=bits, lossy="JPEG")
        elif marker == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[place + 10 : place + 2 + length])
        place += 2 + max(2, length)


def _bmp(data: bytes) -> Header | None:
    if int.from_bytes(data[14:18], "little") == 12:  # OS/2's
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header("BMP", abs(height), abs(width), bits=bits)


def _webp(data: bytes) -> Header | None:
    if data[8:12] != b"WEBP":
        return None
    kind, flags = data[12:16], data[20]
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        return Header("WebP", height, width, lossy="WebP")
    if kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return Header("WebP", (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1)
    if kind != b"VP8X":
        return None
    width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    orientation, place = 1, 12
    while flags & 8 and place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"EXIF":
            body = data[place + 8 : place + 8 + length]
            orientation = exif_orientation(body.removeprefix(b"Exif\0\0"))
        place += 8 + length + length % 2
    return Header("WebP", height, width, orientation, several="animation" if flags & 2 else "")


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
    )
