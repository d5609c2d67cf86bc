"""Unpack an archive safely: regular files and folders only, inside the root, no duplicates, within size limits.

Links, owners, modes and times in an archive are ignored or rejected.
"""

import lzma
import os
import struct
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_IFREG
from typing import IO

from tqdm import tqdm

from segtrain.download.decompress import HEAD_LENGTH, RATIO_LIMIT_FROM, BadArchive, kind_of
from segtrain.download.tar import Member, members
from segtrain.errors import DataError
from segtrain.storage import writing
from segtrain.terminal import printable

CHUNK = 2**18
_ENCRYPTED, _METHODS = 1, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_PART_BYTES, _MAX_NAME_BYTES, _MAX_PARTS = 255, 1024, 32
_MAX_DIRECTORY_BYTES = 2**26  # central directory of a zip: about a million members
# Exceptions that archive and compression libraries raise on damaged data.
_DAMAGE_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError),
)
_DIRECTORY_END, _DIRECTORY_END_64 = b"PK\5\6", b"PK\6\6"


@dataclass(frozen=True)
class Bounds:
    """Limits of an unpacked archive.

    Attributes:
        members: Maximum number of files and folders.
        length: Maximum total size of the unpacked files, in bytes.
        ratio: Maximum ratio of unpacked to packed size; applies above 16 MiB.
    """

    members: int = 1_000_000
    length: int = 2**37
    ratio: float = 50


def extract(archive: Path, root: Path, bounds: Bounds | None = None) -> int:
    """Unpack a tar archive (plain, gzip, bzip2, xz) or a zip into an empty folder.

    Args:
        archive: Path of the archive.
        root: An empty folder that no other process writes to.
        bounds: Limits of the number and size of the unpacked files.

    Returns:
        The number of files.

    Raises:
        DataError: The archive is damaged, or has members that are not allowed; members before that are left in `root`.
        ResourceError: The disk is full.
    """
    bounds = bounds or Bounds()
    with archive.open("rb") as file:
        try:
            kind = kind_of(file.read(HEAD_LENGTH))
            file.seek(0)
            if kind is None:
                raise BadArchive("is neither a tar nor a zip archive")
            found = _zipped(file, bounds) if kind == "zip" else members(file, kind, bounds.ratio)
            return _unpack(found, root, bounds, file, archive)
        except BadArchive as reason:
            problem = str(reason)
        except _DAMAGE_ERRORS as error:
            problem = f"is damaged or cut short ({printable(str(error) or type(error).__name__)[:200]})"
    raise DataError(f"{archive.name} {problem}. Fix: download the archive again from its publisher")


def _unpack(found: Iterator[Member], root: Path, bounds: Bounds, file: IO[bytes], archive: Path) -> int:
    names = _Names()
    files = count = length = 0
    packed_size = archive.stat().st_size
    is_hidden = not sys.stderr.isatty()
    with tqdm(desc=f"unpack {archive.name}", total=packed_size, unit="B", unit_scale=True, disable=is_hidden) as bar:
        for member in found:
            count, length = count + 1, length + member.size
            if count > bounds.members:
                raise BadArchive(f"holds more than {bounds.members:,} files and folders")
            if length > bounds.length:
                raise BadArchive(f"unpacks to more than {bounds.length:,} bytes")
            path = names.add(member)
            if path:
                _write_member(root, path, member)
                files += not member.folder
            bar.update(min(file.tell(), packed_size) - bar.n)
    if not files:
        raise BadArchive("holds no files")
    return files


def _write_member(root: Path, path: str, member: Member) -> None:
    target = root / path
    with writing(target):
        (target if member.folder else target.parent).mkdir(parents=True, exist_ok=True)
    if member.stream is None:
        return
    with writing(target):
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with open(handle, "wb", buffering=0) as file:
        while data := member.stream.read(CHUNK):
            with writing(target):
                file.write(data)


class _Names:
    """Validates member names: plain relative paths that stay distinct on every file system."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, bool]] = {}
        self._files: set[str] = set()

    def add(self, member: Member) -> str:
        """Return the relative path to write to; empty for the root itself.

        Raises:
            BadArchive: The name leads outside the root, or occurs twice.
        """
        parts = plain_parts(member.name)
        if not parts and not member.folder:
            raise BadArchive(f"holds a file without a name: {member.name!r}")
        for length in range(1, len(parts) + 1):
            path, folder = "/".join(parts[:length]), length < len(parts) or member.folder
            # Names that differ only in case or Unicode normalization are the same file on macOS and Windows.
            key = unicodedata.normalize("NFC", path).casefold()
            before = self._known.setdefault(key, (path, folder))
            if before != (path, folder) or (length == len(parts) and not folder and key in self._files):
                raise BadArchive(
                    f"holds {before[0][:200]!r} and {path[:200]!r}, which are the same file on some file systems"
                )
        if not member.folder:
            self._files.add(key)
        return "/".join(parts)


def plain_parts(name: str) -> list[str]:
    """Split a member's name into its path components; empty for the root itself.

    Raises:
        BadArchive: The name is absolute, contains `..`, or is not valid on every file system.
    """
    shown = repr(name[:200])
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        raise BadArchive(f"holds a name that is not UTF-8: {shown}")
    if not name.isprintable():
        raise BadArchive(f"holds a name with control characters: {shown}")
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        raise BadArchive(f"holds an absolute name or one with backslashes: {shown}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadArchive(f"holds a name that leads out of its folder: {shown}")
    if len(parts) > _MAX_PARTS or len(name.encode()) > _MAX_NAME_BYTES:
        raise BadArchive(f"holds a name of {len(name)} characters in {len(parts)} folders: {shown}")
    if any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise BadArchive(f"holds a name that is too long for a file system: {shown}")
    return parts


def _zipped(file: IO[bytes], bounds: Bounds) -> Iterator[Member]:
    """Yield the members of a zip archive."""
    packed_size = _require_short_directory(file)
    with zipfile.ZipFile(file) as archive:
        # The central directory states all sizes, and zipfile does not read beyond them.
        if sum(entry.file_size for entry in archive.infolist()) > max(RATIO_LIMIT_FROM, bounds.ratio * packed_size):
            raise BadArchive(f"unpacks to more than {bounds.ratio:g} times its own length")
        for entry in archive.infolist():
            _check_entry(entry)
            folder = entry.orig_filename.endswith("/")
            with archive.open(entry) as stream:
                yield Member(entry.orig_filename, folder, entry.file_size, None if folder else stream)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    shown = repr(entry.orig_filename[:200])
    if entry.flag_bits & _ENCRYPTED:
        raise BadArchive(f"is encrypted: {shown}")
    if entry.compress_type not in _METHODS:
        raise BadArchive(f"uses an unsupported compression method ({entry.compress_type}): {shown}")
    if S_IFMT(entry.external_attr >> 16) not in (0, S_IFREG, S_IFDIR):
        raise BadArchive(f"holds a link or a device: {shown}")
    if entry.orig_filename.endswith("/") and entry.file_size:
        raise BadArchive(f"holds a folder with data: {shown}")


def _require_short_directory(file: IO[bytes]) -> int:
    """Reject a central directory that is too large to load into memory. Returns the size of the archive in bytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 2**8))
    tail = file.read()
    length = 0
    for mark, at, form in ((_DIRECTORY_END, 12, "<L"), (_DIRECTORY_END_64, 40, "<Q")):
        if (found := tail.rfind(mark)) >= 0:
            (stated,) = struct.unpack_from(form, tail, found + at)
            length = max(length, 0 if stated == 2**32 - 1 else stated)
    if length > _MAX_DIRECTORY_BYTES:
        raise BadArchive(f"has a directory of {length:,} bytes, expected at most {_MAX_DIRECTORY_BYTES:,}")
    return size
