"""One try to bring a file, or what of it is missing, from one address over HTTPS.

A part that was cut short goes on where it ended when the server can show that it still has the same file: by ETag or
date (If-Range), or when the sums of the whole are known anyway.
"""

import json
import shutil
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, NamedTuple

import requests
from tqdm import tqdm

from segtrain.download.confirm import printable
from segtrain.download.connection import Broken, Opener, Patience, Refused, next_bytes
from segtrain.download.decompress import HEAD_LENGTH, kind_of
from segtrain.download.sources import Archive
from segtrain.errors import ResourceError
from segtrain.storage import writing

SPARE_DISK = 2**28  # bytes that a download leaves free


class Memory(NamedTuple):
    """The origin of a part, stored next to it in `<file>.part.json`.

    Attributes:
        url: Where it came from.
        validator: The server's name for this very version: a strong ETag, else the date of change.
        pieces: Number of transfers that have added to it.
    """

    url: str = ""
    validator: str | None = None
    pieces: int = 0


def read_memory(part: Path) -> Memory:
    """Read what is stored of a part; whatever is not as written counts for nothing."""
    try:
        url, validator, pieces = json.loads(_memory_path(part).read_text())
        return Memory(str(url), validator and str(validator), int(pieces))
    except (OSError, ValueError, TypeError):
        return Memory()


def _memory_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def transfer(url: str, part: Path, archive: Archive, patience: Patience, bar: tqdm) -> None:
    """Bring the missing bytes of `part`; returns once all are there.

    Raises:
        Refused: The server has another file, a page, no such file, or leads elsewhere than by HTTPS.
        Broken: The connection broke or stalled; the part keeps what came.
        ResourceError: The disk is too small.
    """
    start, memory = _where_to_start(url, part, archive)
    if start and start == archive.size:
        return
    response = Opener(patience).open(url, _range_headers(start, memory))
    with response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _whole_length(response.headers) == start and archive.size in (None, start):
                return  # it was whole already
            _forget(part)
            raise Broken("the part on the disk does not fit the server's file")
        start, total = _check_lengths(response, start, archive)
        _require_disk(part, (archive.size or total or start) - start)
        pieces = memory.pieces + 1 if start else 1
        _memory_path(part).write_text(json.dumps(Memory(url, _validator(response.headers), pieces)))
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            bar.n = start
            bar.total = archive.size or total
            bar.refresh()
            try:
                length = _receive(response, file, start, archive, patience, bar)
            except Refused:
                _forget(part)  # what came is of no use to anybody
                raise
        expected = archive.size or total or length
        if length < expected:
            raise Broken(f"the connection broke after {length:,} of {expected:,} bytes")


def _where_to_start(url: str, part: Path, archive: Archive) -> tuple[int, Memory]:
    length = part.stat().st_size if part.exists() else 0
    memory = read_memory(part)
    if memory.url != url:
        memory = memory._replace(validator=None)
    known = archive.sha256 or archive.md5
    if not (known or memory.validator) or length > (archive.size or length):
        length = 0
    return length, memory


def _range_headers(start: int, memory: Memory) -> dict[str, str]:
    if not start:
        return {}
    condition = {"If-Range": memory.validator} if memory.validator else {}
    return {"Range": f"bytes={start}-", **condition}


def _validator(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("ETag", "")
    # A weak ETag names what reads alike, not the same bytes; If-Range may not carry one.
    return etag if etag.startswith('"') else headers.get("Last-Modified")


def _whole_length(headers: Mapping[str, str]) -> int | None:
    """The length of the whole file: after the slash of Content-Range, else Content-Length."""
    told = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return int(told) if told.isdecimal() and len(told) < 20 else None


def _check_lengths(response: requests.Response, start: int, archive: Archive) -> tuple[int, int | None]:
    """Where this body begins, and how long the file is altogether."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        told = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if told != str(start):
            raise Refused(f"answers the range from {start} with {printable(told)!r}")
    else:
        start = 0  # it ignores ranges, or has a new file: all of it comes again
    total = _whole_length(response.headers)
    if total is not None and total != (archive.size or total):
        raise Refused(f"{total:,} bytes, expected {archive.size:,}")
    if total is not None and total > archive.at_most:
        raise Refused(f"{total:,} bytes, expected at most {archive.at_most:,}")
    return start, total


def _require_disk(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed + SPARE_DISK > free:
        raise ResourceError(
            f"no room for {part}: {free / 1e9:.2f} GB free, expected {(needed + SPARE_DISK) / 1e9:.2f} GB. Fix: free "
            f"some space, or name another disk: root=DIR"
        )


def _receive(
    response: requests.Response, file: IO[bytes], start: int, archive: Archive, patience: Patience, bar: tqdm
) -> int:
    """Write the body to the part. Returns the length of the part."""
    length, most = start, archive.size or archive.at_most
    window_ends, window_began_at = time.monotonic() + patience.timeout, start
    head = b"" if start == 0 else None
    while data := next_bytes(response, length):
        length += len(data)
        if length > most:
            raise Refused(f"more than {most:,} bytes")
        if head is not None:
            head += data[:HEAD_LENGTH]
            if len(head) >= HEAD_LENGTH:
                _require_archive(head)
                head = None
        with writing(Path(file.name)):
            file.write(data)
            file.flush()
        bar.update(len(data))
        now = time.monotonic()
        if now > window_ends:
            if length - window_began_at < patience.slowest * patience.timeout:
                raise Broken(f"stalled after {length:,} bytes")
            _require_disk(Path(file.name), 0)
            window_ends, window_began_at = now + patience.timeout, length
    if head is not None and length in (archive.size, _whole_length(response.headers)):
        _require_archive(head)
    return length


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _memory_path(part).unlink(missing_ok=True)


def _require_archive(head: bytes) -> None:
    if kind_of(head) is None:
        page = head.lstrip()[:1] == b"<"
        raise Refused("a page instead of an archive" if page else f"no archive: begins {head[:8]!r}")
