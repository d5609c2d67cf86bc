"""The bytes of an archive as they were before gzip, bzip2 or xz, within bounds."""

import bz2
import gzip
import lzma
from typing import IO, Protocol

HEAD_LENGTH = 264  # bytes that identify the kind of an archive: tar's magic ends there
UNWATCHED = 2**24  # bytes that an archive of any length may unpack to
_XZ_MEMORY = 2**28
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}


class BadArchive(Exception):
    """A reason to refuse an archive; the message ends a sentence that begins with the archive's name."""


class Stream(Protocol):
    """A source of a member's data."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes, none at the end."""


def kind_of(head: bytes) -> str | None:
    """tar, gz, bz2, xz or zip, by the first HEAD_LENGTH bytes of a file; None for anything else."""
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


class Decompressed:
    """Reads as many bytes as requested, fewer only at the end, and refuses decompression bombs."""

    def __init__(self, file: IO[bytes], kind: str, most_ratio: float) -> None:
        self._file = file
        self._stream = _decompressed(file, kind)
        self._most_ratio = most_ratio
        self._length = 0
        self._headers: tuple[int, int] | None = None

    def expect_headers(self, most: int | None) -> None:
        """Refuse more than `most` bytes from here on until the next call; None sets no such limit."""
        self._headers = None if most is None else (self._length, most)

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (data := self._stream.read(size - len(found))):
            found += data
        self._length += len(found)
        if self._length > max(UNWATCHED, self._most_ratio * self._file.tell()):
            raise BadArchive(f"unpacks to more than {self._most_ratio:g} times its own length")
        if self._headers is not None and self._length - self._headers[0] > self._headers[1] + size:
            raise BadArchive(
                f"has a member with longer names or headers than expected: at most {self._headers[1]:,} bytes"
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
    """xz with a bound on its dictionary, which lzma.LZMAFile does not offer."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        while not self._decompressor.eof:
            fed = self._file.read(2**16) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not fed:
                raise EOFError("xz data without an end")
            if data := self._decompressor.decompress(fed, size):
                return data
        return b""
