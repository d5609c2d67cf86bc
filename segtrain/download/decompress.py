"""The bytes of an archive as they were before gzip, bzip2 or xz, within bounds."""

import bz2
import gzip
import lzma
import zlib
from typing import IO, Protocol

HEAD_LENGTH = 264  # of bytes that tell the kind of an archive: tar's magic ends there
UNWATCHED = 2**24  # bytes that an archive of any length may unpack to
_XZ_MEMORY = 2**28
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
_DAMAGES = (EOFError, OSError, lzma.LZMAError, zlib.error, ValueError)


class BadArchive(Exception):
    """What an archive has that it must not have; the message ends a sentence that begins with its name."""


class Stream(Protocol):
    """What members are read from."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes, none at the end."""


def kind_of(head: bytes) -> str | None:
    """tar, gz, bz2, xz or zip, by the first HEAD_LENGTH bytes of a file; None for anything else."""
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


class Decompressed:
    """Reads all that is asked for, less only at the end; damage of any codec becomes a BadArchive."""

    def __init__(self, file: IO[bytes], kind: str, most_ratio: float) -> None:
        self._file = file
        self._stream = _decompressed(file, kind)
        self._most_ratio = most_ratio
        self._length = 0

    def read(self, size: int) -> bytes:
        found = b""
        try:
            while len(found) < size and (data := self._stream.read(size - len(found))):
                found += data
        except _DAMAGES as error:
            raise BadArchive(f"is damaged or cut short ({error or type(error).__name__})") from None
        self._length += len(found)
        if self._length > max(UNWATCHED, self._most_ratio * self._file.tell()):
            raise BadArchive(f"unpacks to more than {self._most_ratio:g} times its own length")
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
    """xz with a bound on its dictionary, which lzma.LZMAFile has not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        while not self._decompressor.eof:
            fed = self._file.read(2**16) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not fed:
                raise EOFError
            if data := self._decompressor.decompress(fed, size):
                return data
        return b""
