"""Tags of TIFF files, and of EXIF, which is a TIFF file without a picture: above all which way up a photograph lies."""

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


def tiff_tags(data: bytes) -> tuple[dict[int, int], int]:
    """Read the first value of each integer tag of a TIFF's first directory, and where the next one lies (0: none).

    Tags that point beyond the end are left out, as for every viewer.
    """
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, place)
    tags: dict[int, int] = {}
    for entry in range(place + 2, min(place + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, length, value = struct.unpack_from(order + "HHII", data, entry)
        if kind == 3:  # of two bytes; one or two of them stand in the entry itself
            where = entry + 8 if length <= 2 else value
            if where + 2 > len(data):
                continue
            (value,) = struct.unpack_from(order + "H", data, where)
        if kind in (3, 4) and length:
            tags.setdefault(tag, value)
    following = data[place + 2 + 12 * count :][:4]
    return tags, int.from_bytes(following, "little" if order == "<" else "big")


def exif_orientation(exif: bytes) -> int:
    """Find the orientation in a block of EXIF; what is no such block tells none."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        return known_turn(tiff_tags(exif)[0].get(ORIENTATION, 1))
    except struct.error:
        return 1


def known_turn(orientation: int) -> int:
    """Take numbers that are no orientation for upright, as every viewer does."""
    return orientation if orientation in TURNS else 1
