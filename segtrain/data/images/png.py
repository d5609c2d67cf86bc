"""The chunks of a PNG: damage, and forgeries that cost a decoder more than the image is worth."""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32, decompressobj, error

import numpy as np

PNG_MODES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray+alpha", 6: "RGBA"}
PNG_CHANNELS = {"gray": 1, "RGB": 3, "palette": 1, "gray+alpha": 2, "RGBA": 4}
PNG_START = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# libpng inflates these although no pixel depends on them: 300 of them took 14 s.
_DEFLATED = (b"zTXt", b"iTXt", b"iCCP")
_MOST_DEFLATED = 16 << 10
# Encoders write pixels in chunks of 4 KiB at least, or of a row. Two million empty ones took 10 s.
_MOST_CHUNKS = 65_536
# Deflate shrinks by 1032 at most, so a shorter stream inflates to 150 MB: half a second.
_LEAST_TAIL = 150_000
_WINDOW, _BETWEEN, _STEP = 64, 32 << 10, 1 << 20


class PngChunks(NamedTuple):
    """Result of inspecting a PNG's chunks without decoding a pixel.

    Attributes:
        damage: What is wrong, "" where nothing is.
        deflated: Bytes of compressed texts and profiles.
        packed: Bytes of the compressed pixels.
        first: Position of the first byte of the compressed pixels.
    """

    damage: str
    deflated: int = 0
    packed: int = 0
    first: int = 0


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and end of the body of each chunk of a PNG, up to its last complete one."""
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name, start = data[position + 4 : position + 8], position + 8
        if start + length + 4 > len(data):
            return
        yield name, start, start + length
        if name == b"IEND":
            return
        position = start + length + 4


def most_chunks(data: bytes) -> int:
    """Return the number of chunks that an encoder may have needed for that many bytes."""
    return _MOST_CHUNKS + len(data) // 4096


def inspect_png(data: bytes) -> PngChunks:
    """Find what is wrong with a PNG's chunks: cut short, forged, or other bytes than were written.

    libpng prints its own messages on stderr; a file that is refused here never gets there.
    """
    name, previous, number, most = b"", b"", 0, most_chunks(data)
    deflated = packed = first = 0
    for name, start, end in png_chunks(data):
        # A capital first letter marks a chunk that a decoder must understand.
        if not name.isalpha() or (name[:1].isupper() and name not in _CRITICAL):
            return PngChunks(f"a damaged PNG file, a chunk {name!r} at byte {start - 8}")
        if crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return PngChunks(f"a damaged PNG file, the checksum of {name.decode()} at byte {start - 8} is wrong")
        if name == b"IDAT":
            if packed and previous != b"IDAT":
                return PngChunks(f"a forged PNG file, pixels at two offsets, at bytes {first - 8} and {start - 8}")
            first = first or start
            packed += end - start
        elif name == b"IHDR" and number:
            return PngChunks(f"a forged PNG file, a second IHDR chunk at byte {start - 8}")
        elif name in _DEFLATED:
            deflated += end - start
        previous, number = name, number + 1
        if number > most:
            return PngChunks(f"a forged PNG file, more than {most} chunks in {len(data)} bytes")
    if name != b"IEND":
        return PngChunks(f"a truncated PNG file, {len(data)} bytes without an end marker")
    if packed > 2 * (size := raw_bytes(data)) + 65_536:
        return PngChunks(f"a forged PNG file, {packed} bytes of compressed pixels for {size} bytes of pixels")
    return PngChunks("", deflated, packed, first)


def raw_bytes(data: bytes) -> int:
    """Return the number of bytes that the pixels of a PNG inflate to, but for the passes of interlaced ones."""
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    return int(height * (1 + width * bits * PNG_CHANNELS[PNG_MODES[color]] // 8))


def pixels_only(data: bytes, header: bytes | None = None) -> bytes:
    """Return a PNG without texts, profiles and times; under another IHDR, without its palette, where one is given."""
    kept = (b"IDAT", b"IEND") if header else (*_CRITICAL, b"tRNS")
    chunks = [data[start - 8 : end + 4] for name, start, end in png_chunks(data) if name in kept]
    begin = data[:12] + header + crc32(header).to_bytes(4, "big") if header else data[:8]
    return b"".join([begin, *chunks])


def has_long_texts(found: PngChunks) -> bool:
    """Whether texts and profiles may inflate to more than the image is worth."""
    return found.deflated > _MOST_DEFLATED


def tail_of(data: bytes, found: PngChunks) -> str:
    """Return what is wrong where the compressed pixels inflate to far more than the image holds; "" where they do not.

    libpng inflates all of it: two gigabytes of zeros behind the last row took 17 s. A stream that repeats itself is
    inflated here first, as far as the image goes; of 5,172 ordinary files none was.
    """
    if not repeats_itself(data, found):
        return ""
    most = 2 * raw_bytes(data) + 65_536  # interlaced rows are more
    inflater, size = decompressobj(), 0
    for name, start, end in png_chunks(data):
        packed = data[start:end] if name == b"IDAT" else b""
        while packed and not inflater.eof:
            try:
                size += len(inflater.decompress(packed, _STEP))
            except error:
                return ""  # the decoder reports it
            if size > most:
                return f"a forged PNG file, its pixels inflate to more than {most} bytes, expected {raw_bytes(data)}"
            packed = inflater.unconsumed_tail
    return ""


def repeats_itself(data: bytes, found: PngChunks) -> bool:
    """Whether the compressed pixels may have a long tail: what deflate writes of an image does not repeat itself.

    64 bytes of it hold 57 different ones. One window every 32 KiB is looked at.
    """
    if found.packed < _LEAST_TAIL + raw_bytes(data) // 1000:
        return False
    stream = np.frombuffer(data, np.uint8)[found.first : found.first + found.packed]
    rows = len(stream) // _BETWEEN
    windows = np.sort(stream[: rows * _BETWEEN].reshape(rows, _BETWEEN)[:, :_WINDOW], axis=1)
    return bool((np.count_nonzero(np.diff(windows, axis=1), axis=1) < _WINDOW // 2).any())
