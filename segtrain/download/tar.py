"""Read the files and folders of a tar archive as a stream with Python's tarfile.

Only `next` and `extractfile` of tarfile are used. Links escaped the filters of its `extract` more than once
(CVE-2025-4517, CVE-2025-4330), so `segtrain.download.extract` checks every name and type and writes the files itself.
"""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from segtrain.download.decompress import BadArchive, Decompressed, Stream

_READ_AHEAD = 2**14
# Bytes of one member's header with the names and records before it. Before Python 3.11.10, tarfile parses records in
# quadratic time: a second for twice as many bytes.
_MAX_HEADER_BYTES = 2**14
_MAX_GLOBAL_RECORDS = 64
_FILES_AND_FOLDERS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE)
_EndOfArchive = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # missing in the type stubs
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive.

    Attributes:
        name: Name as stored in the archive.
        folder: Whether the member is a folder.
        size: Size of a file in bytes.
        stream: Data of a file, readable until the next member is requested; None for a folder.
    """

    name: str
    folder: bool
    size: int
    stream: Stream | None


class _Header(tarfile.TarInfo):
    """Header that raises on damage; TarFile would treat a damaged header after the first as the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, _EndOfArchive):
                raise
            raise BadArchive(f"is cut short or has a damaged header ({error})") from None


def members(file: IO[bytes], kind: str, max_ratio: float) -> Iterator[Member]:
    """Iterate over the members of a tar archive.

    Args:
        file: Open archive, at position 0.
        kind: Archive format as returned by `kind_of`.
        max_ratio: Maximum ratio of unpacked to packed size; applies above `RATIO_LIMIT_FROM` bytes.

    Yields:
        The members in archive order.

    Raises:
        BadArchive: A member is neither file nor folder, a header is damaged, or the archive is cut short.
    """
    stream: Any = Decompressed(file, kind, max_ratio)
    stream.expect_headers(_MAX_HEADER_BYTES)
    archive = tarfile.open(  # noqa: SIM115  the file belongs to the caller
        fileobj=stream, mode="r|", bufsize=_READ_AHEAD, tarinfo=_Header, encoding="utf-8", errors="surrogateescape"
    )
    while member := archive.next():
        stream.expect_headers(None)
        _check(member, archive.pax_headers)
        yield Member(member.name, member.isdir(), member.size, archive.extractfile(member))
        archive.members.clear()  # type: ignore[attr-defined]  # TarFile would keep every member in memory
        stream.expect_headers(_MAX_HEADER_BYTES)
    stream.expect_headers(None)
    _require_end(archive.fileobj)


def _check(member: tarfile.TarInfo, global_records: Mapping[str, str]) -> None:
    shown = repr(member.name[:200])
    if member.type not in _FILES_AND_FOLDERS:
        raise BadArchive(f"holds {_KINDS.get(member.type, f'a member of type {member.type!r}')}: {shown}")
    if any(key.startswith("GNU.sparse") for key in member.pax_headers):
        raise BadArchive(f"holds a sparse file: {shown}")
    if {"path", "size"} & global_records.keys() or len(global_records) > _MAX_GLOBAL_RECORDS:
        raise BadArchive("sets one name or size for all members, or has too many global records")
    if member.size < 0 or "\0" in member.name:
        raise BadArchive(f"has a damaged header: {shown} of {member.size} bytes")
    if member.size and (member.isdir() or member.name.endswith("/")):
        raise BadArchive(f"holds a folder with data: {shown}")
    extended = member.offset_data - member.offset > tarfile.BLOCKSIZE
    if extended and not member.pax_headers and len(member.name.encode("utf-8", "surrogateescape")) < 100:
        raise BadArchive(f"has a damaged pax header: no record for {shown}")  # tarfile before Python 3.11.10 skips it


def _require_end(stream: Any) -> None:
    """Require only zero padding up to the end of the stream; reading it also verifies gzip's checksum."""
    for _ in range(2**7):
        data = stream.read(_READ_AHEAD)
        if not data:
            return
        if any(data):
            break
    raise BadArchive("has data after its end-of-archive marker")
