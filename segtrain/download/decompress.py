"""Decompress gzip, bzip2 and xz archives, with limits against decompression bombs."""

import bz2
import gzip
import lzma
from typing import IO, Protocol

HEAD_LENGTH = 264  # bytes needed to identify the archive format; tar's magic number ends there
RATIO_LIMIT_FROM = 2**24  # bytes; below this size the ratio is not limited
_XZ_MEMORY = 2**28
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}


class BadArchive(Exception):
    """A reason to reject an archive; the message completes a sentence that starts with the archive's name."""


class Stream(Protocol):
    """Readable binary stream of a member's data."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes; empty at the end."""


def kind_of(head: bytes) -> str | None:
    """Return "tar", "gz", "bz2", "xz" or "zip" from the first HEAD_LENGTH bytes of a file; None for another format."""
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


class Decompressed:
    """Decompressing reader that rejects decompression bombs; `read` returns less than requested only at the end."""

    def __init__(self, file: IO[bytes], kind: str, max_ratio: float) -> None:
        self._file = file
        self._stream = _decompressed(file, kind)
        self._most_ratio = max_ratio
        self._length = 0
        self._headers: tuple[int, int] | None = None

    def expect_headers(self, most: int | None) -> None:
        """Limit the bytes read until the next call to `most`; None removes the limit."""
        self._headers = None if most is None else (self._length, most)

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (data := self._stream.read(size - len(found))):
            found += data
        self._length += len(found)
        if self._length > max(RATIO_LIMIT_FROM, self._most_ratio * self._file.tell()):
            raise BadArchive(f"unpacks to more than {self._most_ratio:g} times its own length")
        if self._headers is not None and self._length - self._headers[0] > self._headers[1] + size:
            raise BadArchive(
                f"has a member whose names and headers are too long, expected at most {self._headers[1]:,} bytes"
            )
        return found


def _decompressed(file: IO[bytes], kind: str) -> Stream:
    match kind:
        case "gz":
            return gzip.GzipFile(fileobj=file)
        case "bz2":
            return bz2.BZ2File(file)
        case "xz":
            return _Xz(file)
        case _:
            return file


class _Xz:
    """xz reader with a memory limit, which lzma.LZMAFile does not offer."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        while not self._decompressor.eof:
            fed = self._file.read(2**16) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not fed:
                raise EOFError("truncated xz data")
            if data := self._decompressor.decompress(fed, size):
                return data
        return b""
