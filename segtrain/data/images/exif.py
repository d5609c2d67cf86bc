"""Tags of TIFF files, and of EXIF, which is a TIFF file without an image: above all the orientation."""

import struct

# What the eight orientations of EXIF ask for.
TURNS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "upside down",
    5: "mirrored and turned by 90 degrees",
    6: "turned by 90 degrees",
    7: "mirrored and turned by 270 degrees",
    8: "turned by 270 degrees",
}
ORIENTATION = 274
# Cameras write a hundred.
MOST_TAGS = 4096
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_STRIPS = (273, 279, 324, 325)  # offsets and sizes of strips or tiles, of which tiles of 16 pixels need the most
_MOST_STRIPS, _MOST_TILE = 300_000, 1 << 24
_SIZES = {2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8, 18: 8}  # others are of one byte


def tiff_tags(data: bytes) -> tuple[dict[int, int], int]:
    """Read the first value of each integer tag of a TIFF's first directory, and where the next one lies (0: none).

    Tags that point beyond the end are left out, as for every viewer.
    """
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, offset)
    tags: dict[int, int] = {}
    for entry in range(offset + 2, min(offset + 2 + 12 * min(count, MOST_TAGS), len(data) - 11), 12):
        tag, kind, length, value = struct.unpack_from(order + "HHII", data, entry)
        if kind == 3:  # two bytes each; one or two of them are stored in the entry itself
            where = entry + 8 if length <= 2 else value
            if where + 2 > len(data):
                continue
            (value,) = struct.unpack_from(order + "H", data, where)
        if kind in (3, 4) and length:
            tags.setdefault(tag, value)
    following = data[offset + 2 + 12 * count : offset + 6 + 12 * count]
    return tags, int.from_bytes(following, "little" if order == "<" else "big")


def tiff_forgery(data: bytes, tags: dict[int, int]) -> str:
    """Return what the first directory of a TIFF claims that costs a decoder far more than its bytes, "" for nothing.

    Pillow keeps the value of every tag, and libtiff allocates a tile, before a pixel is decoded.
    """
    order = "<" if data[:2] == b"II" else ">"
    (position,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, position)
    if count > MOST_TAGS:
        return f"a forged TIFF file, {count} tags, expected at most {MOST_TAGS}"
    claimed = 0
    for entry in range(position + 2, min(position + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
        if tag in _STRIPS and length > _MOST_STRIPS:
            return f"a forged TIFF file, {length} strips or tiles, expected at most {_MOST_STRIPS}"
        size = length * _SIZES.get(kind, 1)
        claimed += size if size <= len(data) else 0  # what ends beyond the file is not read
    if claimed > len(data) + 65_536:
        return f"a forged TIFF file, its tags claim {claimed} of {len(data)} bytes"
    width, height = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
    if width * height > _MOST_TILE:
        return f"a forged TIFF file, tiles of {height}x{width} pixels, expected at most {_MOST_TILE} pixels"
    return ""


def exif_orientation(exif: bytes) -> int:
    """Find the orientation in a block of EXIF; upright if the bytes are not EXIF."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        return known_turn(tiff_tags(exif)[0].get(ORIENTATION, 1))
    except struct.error:
        return 1


def known_turn(orientation: int) -> int:
    """Treat numbers outside 1-8 as upright, as every viewer does."""
    return orientation if orientation in TURNS else 1
