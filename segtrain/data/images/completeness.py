"""Truncated files and unsupported encodings refused before decoding."""

from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.data.images.headers import Header
from segtrain.data.images.png import has_long_texts, inspect_png, pixels_only, tail_of
from segtrain.data.images.tiff import unread_image
from segtrain.errors import DataError


def require_read(header: Header, path: Path) -> None:
    """Refuse an image of a kind that no decoder here reads, by its header.

    Raises:
        DataError: It is a TIFF of other bands or numbers, or a JPEG of other than 8 bits.
    """
    if (header.tiff and (unread := unread_image(header.tiff, path))) or (unread := _unread_jpeg(header)):
        raise DataError(f"cannot read {shown(path)}: {unread}")


def _unread_jpeg(header: Header) -> str:
    if header.kind != "JPEG" or header.bits == 8:
        return ""
    return f"a JPEG of {header.bits} bits a channel, expected 8. Fix: export the image again with 8 bits, or as PNG"


def require_end_of_jpeg(data: bytes, path: Path) -> None:
    """Refuse a truncated JPEG."""
    # Entropy-coded JPEG data holds no marker, so the end marker must follow the last scan. OpenCV fills a truncated
    # image with gray and reports no error.
    if not data.endswith(b"\xff\xd9") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise DataError(
            f"cannot decode {shown(path)}: a truncated JPEG file, {len(data)} bytes without an end marker. Fix: copy "
            f"the file again or remove it"
        )


def require_end_of_webp(data: bytes, path: Path) -> None:
    """Refuse a truncated WebP."""
    length = int.from_bytes(data[4:8], "little") + 8
    if length > len(data):
        raise DataError(
            f"cannot decode {shown(path)}: a truncated WebP file, {len(data)} of {length} bytes. Fix: copy the file "
            f"again or remove it"
        )


def require_intact_png(data: bytes, path: Path) -> bytes:
    """Return a PNG without long texts, which OpenCV decodes in a bounded time."""
    found = inspect_png(data)
    damage = found.damage or tail_of(data, found)
    if damage:
        raise DataError(f"cannot decode {shown(path)}: {damage}. Fix: copy the file again or remove it")
    return pixels_only(data) if has_long_texts(found) else data


def undecodable(data: bytes, header: Header, path: Path) -> str:
    """Return the message for data that no decoder accepts."""
    return (
        f"cannot decode {shown(path)}: damaged {header.kind} data of {len(data)} bytes, expected {header.height}x"
        f"{header.width} pixels (HxW) as in its header. Fix: copy the file again or remove it"
    )
