"""Limits on decoding an image: pixels, memory and passes are bounded from its header, before decoding."""

from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.data.images.headers import MAX_PIXELS, MAX_SIDE, Header
from segtrain.data.images.png import PNG_CHANNELS
from segtrain.errors import DataError, argument

# Of memory while an image of `MAX_PIXELS` at most is decoded, its file among them.
_MEMORY = 500_000_000
# Encoders write 10 to 20; each is a pass over all blocks, at 40 ns a block.
_MOST_SCANS, _MOST_BLOCKS = 100, 32_000_000
# Pillow decodes run lengths of BMP in Python.
_MOST_RUN_LENGTHS = 1 << 20


def most_bytes(max_pixels: int) -> int:
    """Return the largest file of an image of `max_pixels`: four bytes a pixel, and a camera's extras."""
    return 4 * max_pixels + 64 * 2**20


def check_limits(header: Header, path: Path, max_pixels: int, data: bytes, memory: float | None = None) -> None:
    """Refuse an image that is too large, larger than its bytes can hold, or forged to take long.

    Args:
        header: Of the image.
        path: For messages.
        max_pixels: The most pixels; memory scales with it.
        data: The file.
        memory: Bytes per pixel during decoding; None for the header's estimate.

    Raises:
        DataError: The header claims too much.
    """
    pixels = header.height * header.width
    if pixels > max_pixels or max(header.size) > MAX_SIDE:
        limit = f"{max_pixels} pixels" if pixels > max_pixels else f"{MAX_SIDE} a side"
        raise DataError(
            f"cannot decode {shown(path)}: {header.height}x{header.width} pixels (HxW) by its header, expected at most "
            f"{limit}. Fix: make the image smaller" + (f", or raise {argument('max_pixels')}" * (pixels > max_pixels))
        )
    if len(data) < _least_bytes(header):
        raise DataError(
            f"cannot decode {shown(path)}: {header.height}x{header.width} pixels (HxW) by its header, more than its "
            f"{len(data)} bytes can hold: a truncated or forged {header.kind} file. Fix: copy the file again or remove "
            f"it"
        )
    _check_memory(header, path, max_pixels, len(data), header.memory if memory is None else memory)
    if forgery := header.forged or _too_slow(header, data):
        raise DataError(f"cannot decode {shown(path)}: {forgery}. Fix: save the image again, as PNG, or remove it")


def _check_memory(header: Header, path: Path, max_pixels: int, num_bytes: int, memory: float) -> None:
    needed = header.height * header.width * memory + num_bytes
    if needed > _MEMORY * max(1, max_pixels / MAX_PIXELS):
        enough = int(needed / _MEMORY * MAX_PIXELS) + 1
        raise DataError(
            f"cannot decode {shown(path)}: a {header.kind} of {header.height}x{header.width} pixels (HxW) takes "
            f"{needed / 1e6:.0f} MB of memory, expected at most {_MEMORY * max(1, max_pixels / MAX_PIXELS) / 1e6:.0f}. "
            f"Fix: {argument('max_pixels')}={enough}, or make the image smaller"
        )


def _too_slow(header: Header, data: bytes) -> str:
    """Return what makes a file take far longer than its pixels do, "" where nothing does."""
    if header.first_scan:  # a scan may cover a part of the components, so there may be any number of them
        scans, blocks = data.count(b"\xff\xda", header.first_scan), header.height * header.width // 64 * 3
        if scans > _MOST_SCANS or (scans > 20 and scans * blocks > _MOST_BLOCKS):
            most = max(20, min(_MOST_SCANS, _MOST_BLOCKS // max(1, blocks)))
            return f"a JPEG of {scans} scans, expected at most {most} at its size"
    if header.kind == "BMP" and header.run_lengths and len(data) > _MOST_RUN_LENGTHS:
        return f"a BMP of {len(data)} bytes of run lengths, expected at most {_MOST_RUN_LENGTHS}"
    return ""


def _least_bytes(header: Header) -> int:
    """Bound a file's bytes from below: deflate shrinks by 1032 at most, Huffman codes spend a bit on 64 pixels."""
    if header.kind == "PNG":
        return header.height * (1 + header.width * header.bits * PNG_CHANNELS[header.mode] // 8) // 1032
    pixels = header.height * header.width
    if header.kind == "WebP":  # one of one color may be of any size in 40 bytes, and takes as long as others
        return pixels // 4096 if pixels > 2**24 else 0
    return pixels // 512 if header.kind == "JPEG" else 0
