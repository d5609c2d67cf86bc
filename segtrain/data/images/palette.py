"""Palettes of label files: ids are read by index, so files with other index-to-color tables would mix classes."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from segtrain.data.images.contents import read_bytes
from segtrain.data.images.headers import MAX_PIXELS, parse_header
from segtrain.data.images.labels import read_labels
from segtrain.data.images.png import png_chunks
from segtrain.errors import DataError

_BEGINNING = 65536  # a PNG's palette stands before its pixels
_SHOWN = 3


def read_palette(path: Path) -> bytes:
    """Read the colors of a label file's indices, three bytes each; empty where it has none, or gray for each index.

    Raises:
        DataError: The file cannot be read.
    """
    data = read_bytes(path, beginning=_BEGINNING)
    found = b""
    if data.startswith(b"\x89PNG"):
        found = next((data[start:end] for name, start, end in png_chunks(data) if name == b"PLTE"), b"")
        if data[25:26] != b"\3":  # colors of another kind of PNG are a suggestion
            found = b""
    elif data.startswith((b"BM", b"II*\0", b"MM\0*")):
        header = parse_header(read_bytes(path), path)
        try:
            with Image.open(io.BytesIO(read_bytes(path)), formats=(header.kind,)) as image:
                found = bytes(image.getpalette() or ()) if image.mode == "P" else b""
        except (OSError, SyntaxError, ValueError):
            found = b""
    ramp = bytes(value for index in range(len(found) // 3) for value in (index, index, index))
    return b"" if found == ramp else found


def used_colors(path: Path, palette: bytes, max_pixels: int = MAX_PIXELS) -> dict[int, str]:
    """Return the color of each index that occurs in a label file, as "#rrggbb"; those beyond the palette are left out.

    Raises:
        DataError: The file cannot be read.
    """
    occurs = np.flatnonzero(np.bincount(read_labels(path, max_pixels=max_pixels).ravel(), minlength=256))
    return {
        int(index): f"#{palette[3 * index : 3 * index + 3].hex()}" for index in occurs if 3 * index + 3 <= len(palette)
    }


def describe_differences(palettes: Iterable[Mapping[int, str]]) -> str:
    """Describe indices that have several colors: "index 1 is #ff0000 in 3 files, #00ff00 in 3"; "" if all agree.

    Args:
        palettes: By file, the colors of the indices that occur in it.
    """
    colors: dict[int, Counter[str]] = {}
    for palette in palettes:
        for index, color in palette.items():
            colors.setdefault(index, Counter())[color] += 1
    differing = {index: counts.most_common(_SHOWN) for index, counts in sorted(colors.items()) if len(counts) > 1}
    texts = []
    for index, most in list(differing.items())[:_SHOWN]:
        first, *others = most
        files = f"{first[0]} in {first[1]} file{'s' * (first[1] > 1)}"
        texts.append(f"index {index} is {', '.join([files, *(f'{color} in {count}' for color, count in others)])}")
    more = f"; and {len(differing) - _SHOWN} more indices" if len(differing) > _SHOWN else ""
    return "; ".join(texts) + more


def sampled_differences(paths: Iterable[Path], max_pixels: int = MAX_PIXELS) -> str:
    """The same of some files, by their headers; of palettes that differ, a few files are decoded for the used indices.

    Files that cannot be read are left out.
    """
    files: dict[bytes, list[Path]] = {}
    for path in paths:
        try:
            if palette := read_palette(path):
                files.setdefault(palette, []).append(path)
        except DataError:
            continue
    longest = max(files, key=len, default=b"")
    if all(longest.startswith(palette) for palette in files):
        return ""
    found: list[dict[int, str]] = []
    for palette, some in files.items():
        try:
            used = [used_colors(path, palette, max_pixels) for path in some[:3]]
        except DataError:
            continue
        colors = {index: color for each in used for index, color in each.items()}
        found += [colors] * len(some)
    return describe_differences(found)
