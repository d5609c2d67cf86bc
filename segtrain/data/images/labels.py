"""Label files: the stored numbers, exactly, or an error with a way to fix the file.

H height, W width.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from segtrain.data.images.contents import read_bytes, shown
from segtrain.data.images.decoders import decode_rgb, decode_values
from segtrain.data.images.exif import TURNS
from segtrain.data.images.headers import MAX_PIXELS, Header, parse_header, read_header
from segtrain.data.images.limits import check_limits, most_bytes
from segtrain.data.images.tiff import unread_labels
from segtrain.errors import DataError, argument

AlphaPolicy = Literal["refuse", "drop"]


def read_labels(
    path: Path,
    *,
    colors: Mapping[tuple[int, int, int], int] | None = None,
    alpha: AlphaPolicy = "refuse",
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read class ids exactly as they are stored.

    Palette files yield their indices, regardless of colors and transparency; grays of 1, 2 and 4 bits the numbers
    0 and 1, 0 to 3 and 0 to 15; sixteen-bit files their values where all fit a byte; files of three channels that are
    equal in every pixel the values of one.

    Args:
        path: A PNG, BMP or TIFF file.
        colors: RGB color to stored value, for files in colors; None refuses them.
        alpha: "refuse" files with transparent pixels, or "drop" their transparency; opaque files are read either way.
        max_pixels: Larger files are refused before anything is decoded.

    Returns:
        (H, W) uint8 stored values; `Dataset.read` turns them into class ids.

    Raises:
        DataError: The file is missing, cut short, too large, lossy (JPEG), turned, in colors that `colors` does not
            have, or holds values above 255.
    """
    data = read_bytes(path, most=most_bytes(max_pixels))
    if data.startswith(b"\xff\xd8"):
        raise DataError(_lossy(path, "JPEG"))
    header = parse_header(data, path, "a PNG, BMP or TIFF of class ids")
    _require_exact(header, path)
    check_limits(header, path, max_pixels, data, _memory(header))
    if colors is not None:
        return _values_of_colors(_colors(data, header, path, alpha), colors, path)
    values, mode = decode_values(data, header, path)
    if mode in ("gray+alpha", "RGB", "RGBA"):
        values = _single_channel(values, mode, alpha, path)
    elif values.ndim != 2 or values.dtype.kind not in "bui":
        raise DataError(
            f"labels in {shown(path)}: mode {mode}, expected class ids (H, W) in a gray or palette PNG. Fix: export "
            f"the labels again from their source"
        )
    if values.dtype.itemsize > 1 and (values.min() < 0 or values.max() > 255):
        row, column = _first((values < 0) | (values > 255))
        raise DataError(
            f"labels in {shown(path)}: values {values.min()}..{values.max()}, {values[row, column]} first at row "
            f"{row}, column {column}, expected 0..255. Fix: map the ids to 0..255 first"
        )
    return values.astype(np.uint8, copy=False)


def read_labels_size(path: Path) -> tuple[int, int]:
    """Read height and width from the header of a label file, in pixels.

    Raises:
        DataError: The file is missing, or its header shows that `read_labels` will refuse it.
    """
    header = read_header(path)
    _require_exact(header, path)
    return header.size


def _memory(header: Header) -> float:
    """Return the bytes that a pixel takes while ids are read: channels of a PNG are decoded as they are stored."""
    if header.kind != "PNG" or header.mode in ("gray", "palette"):
        return header.memory
    return 2.5 * (3 if header.mode == "RGB" else 4) * header.bits / 8


def _require_exact(header: Header, path: Path) -> None:
    """Refuse formats that do not keep ids exact, or whose orientation is ambiguous."""
    if header.kind == "WebP" or header.lossy:
        raise DataError(_lossy(path, header.lossy or header.kind))
    if header.orientation != 1:
        raise DataError(
            f"EXIF orientation {header.orientation} ({TURNS[header.orientation]}) in {shown(path)}: a label file, "
            f"expected 1, upright. Fix: save it again as it should lie, without EXIF"
        )
    if header.several:
        raise DataError(
            f"labels in {shown(path)}: several images ({header.several}), expected one. Fix: save the one that holds "
            f"the labels"
        )
    if header.tiff and (unread := unread_labels(header.tiff)):
        raise DataError(
            f"labels in {shown(path)}: {unread}, expected class ids in one band of integers. Fix: export the labels "
            f"again as a gray PNG of 8 bits"
        )
    if header.inverted:
        raise DataError(
            f"labels in {shown(path)}: a TIFF in which 0 is white, so that readers turn ids round, expected 0 as "
            f"black. Fix: export the labels again as PNG"
        )


def _single_channel(values: np.ndarray, mode: str, alpha: AlphaPolicy, path: Path) -> np.ndarray:
    """Take the ids of a file with several channels where they are unambiguous: all equal, and nothing transparent."""
    ids = values[..., 0]
    if mode != "gray+alpha" and not all(np.array_equal(ids, values[..., channel]) for channel in (1, 2)):
        raise DataError(_in_colors(_upper_eight(values), mode, path))
    if mode != "RGB" and not _opaque(values[..., -1]):
        _require_no_alpha(mode, alpha, path)
    return np.ascontiguousarray(ids)


def _opaque(channel: np.ndarray) -> bool:
    return bool((channel == np.iinfo(channel.dtype).max).all())


def _upper_eight(values: np.ndarray) -> np.ndarray:
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values


def _require_no_alpha(mode: str, alpha: AlphaPolicy, path: Path) -> None:
    if alpha == "refuse":
        raise DataError(
            f"labels in {shown(path)}: mode {mode} with transparent pixels, expected class ids without transparency. "
            f"Fix: {argument('alpha')}=drop where it means nothing, or save the file without it"
        )


def _colors(data: bytes, header: Header, path: Path, alpha: AlphaPolicy) -> np.ndarray:
    """Decode a label file in colors, (H, W, 3) uint8 RGB; palettes and grays are colors too."""
    if header.bits == 16:
        raise DataError(_sixteen_bits(path))
    mode = header.mode
    values = None
    if mode in ("", "gray+alpha", "RGBA"):
        values, mode = decode_values(data, header, path)
    if values is not None and mode in ("gray+alpha", "RGBA") and not _opaque(values[..., -1]):
        _require_no_alpha(mode, alpha, path)
    if mode.startswith("I"):
        raise DataError(_sixteen_bits(path))
    return decode_rgb(data, header, path)


def _values_of_colors(image: np.ndarray, colors: Mapping[tuple[int, int, int], int], path: Path) -> np.ndarray:
    """Look up each pixel's stored value, (H, W) uint8; only exact colors match."""
    table = _table(tuple(colors.items()))
    values = np.empty(image.shape[:2], np.int16)
    for rows in _bands(image):
        values[rows] = table[_codes(image[rows])]
    if values.min() < 0:
        row, column = _first(values < 0)
        raise DataError(
            f"labels in {shown(path)}: {np.count_nonzero(values < 0)} pixels of colors without a class, the first at "
            f"row {row}, column {column} is {image[row, column].tolist()}, expected one of the {len(colors)} given. "
            f"Fix: correct the file, give the color to a class in {argument('classes')}, or add it to "
            f"{argument('ignore_colors')}"
        )
    return values.astype(np.uint8)


@lru_cache(maxsize=2)
def _table(colors: tuple[tuple[tuple[int, int, int], int], ...]) -> np.ndarray:
    """Stored value by code of a color, -1 for colors without; 32 MiB, ten times faster than comparing each color."""
    table = np.full(2**24, -1, np.int16)
    for (red, green, blue), value in colors:
        table[red | green << 8 | blue << 16] = value
    return table


def _codes(image: np.ndarray) -> np.ndarray:
    """One number a color, (H, W) uint32: red, green and blue from the lowest byte up."""
    padded = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    return padded.view("<u4")[..., 0] & 0xFFFFFF


def _bands(image: np.ndarray) -> Iterator[slice]:
    """Yield the rows of an image in bands of 4 MiB pixels, so that what is computed of them stays small."""
    rows = max(1, (1 << 22) // image.shape[1])
    for top in range(0, len(image), rows):
        yield slice(top, top + rows)


def _first(found: np.ndarray) -> tuple[int, int]:
    """Return row and column of the first True."""
    row, column = divmod(int(found.argmax()), found.shape[1])
    return row, column


def _first_colors(image: np.ndarray, most: int) -> list[int]:
    """List the codes of the first colors of an image, in the order in which they come."""
    seen: list[int] = []
    for rows in _bands(image):
        codes = _codes(np.ascontiguousarray(image[rows, :, :3]))
        fresh = ~np.isin(codes, seen) if seen else np.ones(codes.shape, bool)
        while fresh.any():
            seen.append(int(codes.flat[fresh.argmax()]))
            if len(seen) == most:
                return seen
            fresh &= codes != seen[-1]
    return seen


def _in_colors(image: np.ndarray, mode: str, path: Path) -> str:
    codes = _first_colors(image, 4)
    seen = [[code >> shift & 255 for shift in (0, 8, 16)] for code in codes[:3]]
    fix = (
        f"{argument('label_values')}=colors and a color for each of {argument('classes')}, or convert the colors to "
        "ids first"
    )
    listed = ", ".join(map(str, seen)) + (", ..." if len(codes) > 3 else "")
    return (
        f"labels in {shown(path)}: mode {mode}, colors {listed}, expected class ids (H, W) in a gray or palette PNG. "
        f"Fix: {fix}"
    )


def _sixteen_bits(path: Path) -> str:
    return (
        f"labels in {shown(path)}: 16 bits a channel, expected colors of 8. Fix: export the labels again from their "
        f"source"
    )


def _lossy(path: Path, kind: str) -> str:
    return (
        f"labels in {shown(path)}: a {kind} file, expected PNG; {kind} blurs class ids into others. Fix: export the "
        f"labels again from their source as PNG"
    )
