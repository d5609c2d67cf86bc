"""The members of a tar archive, read front to back: headers of 512 bytes, each followed by its data.

An own reader, because the rules must hold before a byte is written: Python's tarfile has let links escape its filters
more than once (CVE-2025-4517, CVE-2025-4330), and takes a name of any length into memory. Formats: ustar, GNU's long
names, pax (POSIX.1-2001).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from segtrain.download.decompress import BadArchive, Decompressed, Stream

BLOCK = 512
LONGEST_HEADER = 2**16  # of a GNU name or a pax header, bytes
_MOST_EXTENSIONS = 8  # of one member
_FILES_AND_FOLDERS = (b"0", b"\0", b"7", b"5")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
}


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive.

    Attributes:
        name: As it is stored.
        folder: Whether it is one.
        size: Of a file, in bytes.
        stream: Where its data comes next, until the next member is asked for.
    """

    name: str
    folder: bool
    size: int
    stream: Stream


def members(file: IO[bytes], kind: str, most_ratio: float) -> Iterator[Member]:
    """Walk through a tar archive.

    Args:
        file: At its beginning.
        kind: What `kind_of` says of it.
        most_ratio: How many times its own length it may unpack to, once that is more than `UNWATCHED` bytes.

    Yields:
        Its members, in their order.

    Raises:
        BadArchive: A member is neither file nor folder, a header is damaged, or the archive is cut short.
    """
    stream = Decompressed(file, kind, most_ratio)
    extended: dict[str, str] = {}
    seen = in_a_row = 0
    while True:
        block = stream.read(BLOCK)
        if not block and not seen:
            raise BadArchive("is empty")
        if len(block) < BLOCK:
            raise BadArchive("is cut short")
        if not any(block):
            _require_nothing_more(stream)
            return
        kind_of_member, size = _check_header(block)
        seen += 1
        if kind_of_member in b"xgL":
            extended |= _extension(kind_of_member, _padded(stream, size))
            in_a_row += 1
            if in_a_row > _MOST_EXTENSIONS:
                raise BadArchive("has headers without members")
            continue
        yield from _member(block, kind_of_member, size, extended, stream)
        extended, in_a_row = {}, 0


def _member(block: bytes, kind: bytes, size: int, extended: dict[str, str], stream: "Decompressed") -> Iterator[Member]:
    name = extended.get("path") or _name(block)
    if "size" in extended:
        if not extended["size"].isdecimal() or len(extended["size"]) > 18:
            raise BadArchive(f"has a damaged header: size {extended['size'][:20]!r}")
        size = int(extended["size"])
    if kind not in _FILES_AND_FOLDERS:
        raise BadArchive(f"holds {_KINDS.get(kind, f'a member of type {kind!r}')}: {name[:200]!r}")
    folder = kind == b"5" or name.endswith("/")
    if folder and size:
        raise BadArchive(f"holds a folder with data: {name[:200]!r}")
    data = _Bounded(stream, size)
    yield Member(name, folder, size, data)
    while data.read(2**16):  # what the caller has left
        pass
    stream.read(-size % BLOCK)


def _check_header(block: bytes) -> tuple[bytes, int]:
    """The type and the size that a header states."""
    stated = _number(block[148:156])
    if stated != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise BadArchive("has a damaged header: its sum is wrong")
    return block[156:157], _number(block[124:136])


def _number(field: bytes) -> int:
    """An octal number, or GNU's binary one for files of 8 GiB and more."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or value > 2**60:
            raise BadArchive("has a damaged header: a number out of range")
        return value
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not all(digit in b"01234567" for digit in digits):
        raise BadArchive(f"has a damaged header: {digits[:12]!r} is no number")
    return int(digits, 8)


def _name(block: bytes) -> str:
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise BadArchive(f"has a name that is not UTF-8: {name[:200]!r}") from None


def _extension(kind: bytes, data: bytes) -> dict[str, str]:
    """What a header says of the next member: its name, its size."""
    if kind == b"L":
        return {"path": _text(data.split(b"\0")[0])}
    records = {}
    while data:
        digits, _, _ = data.partition(b" ")
        if not digits.isdigit() or len(digits) > 6 or not len(digits) + 3 <= int(digits) <= len(data):
            raise BadArchive("has a damaged pax header")
        key, equals, value = data[len(digits) + 1 : int(digits)].removesuffix(b"\n").partition(b"=")
        if not equals:
            raise BadArchive("has a damaged pax header")
        if key.startswith(b"GNU.sparse"):
            raise BadArchive("holds a sparse file")
        if key in (b"path", b"size"):
            if kind == b"g":
                raise BadArchive("gives all its members one name or size")
            records[key.decode()] = _text(value)
        data = data[int(digits) :]
    return records


def _padded(stream: "Decompressed", size: int) -> bytes:
    if size > LONGEST_HEADER:
        raise BadArchive(f"has a name or header of {size:,} bytes, expected at most {LONGEST_HEADER:,}")
    return stream.read(size + -size % BLOCK)[:size]


def _require_nothing_more(stream: "Decompressed") -> None:
    """Read on to the very end, which also proves the checksum of gzip: zeros only, and few."""
    for _ in range(2**12):
        block = stream.read(BLOCK)
        if not block:
            return
        if any(block):
            break
    raise BadArchive("goes on after its end")


class _Bounded:
    """The data of one member."""

    def __init__(self, stream: Decompressed, size: int) -> None:
        self._stream = stream
        self.left = size

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(min(size, self.left))
        if len(data) < min(size, self.left):
            raise BadArchive("is cut short")
        self.left -= len(data)
        return data
