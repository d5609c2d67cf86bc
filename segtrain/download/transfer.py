"""Download a file, or the missing rest of a partial file, from one HTTPS address in one attempt.

A partial file is resumed if the server can confirm that its file is unchanged, by ETag or date (If-Range), or if the
checksums of the complete file are known.
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
from segtrain.download.connection import Broken, Opener, Refused, RetryPolicy, next_bytes
from segtrain.download.decompress import HEAD_LENGTH, kind_of
from segtrain.download.sources import Archive
from segtrain.errors import ResourceError
from segtrain.storage import writing

SPARE_DISK = 2**28  # bytes of disk that a download leaves free


class PartRecord(NamedTuple):
    """The origin of a partial file, stored next to it in `<file>.part.json`.

    Attributes:
        url: Address that it was downloaded from.
        validator: The server's identifier of this version: a strong ETag, else the date of the last change.
        pieces: Number of transfers that have added to the file.
    """

    url: str = ""
    validator: str | None = None
    pieces: int = 0


def read_part_record(part: Path) -> PartRecord:
    """Read the record of a partial file; an empty record if it is missing or malformed."""
    try:
        url, validator, pieces = json.loads(_part_record_path(part).read_text())
        return PartRecord(str(url), validator and str(validator), int(pieces))
    except (OSError, ValueError, TypeError):
        return PartRecord()


def _part_record_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def transfer(url: str, part: Path, archive: Archive, policy: RetryPolicy, bar: tqdm) -> None:
    """Download the missing bytes of `part`; return once it is complete.

    Raises:
        Refused: The server serves another file, a page or no file, or redirects to an address without HTTPS.
        Broken: The connection broke or stalled; the bytes received so far are kept.
        ResourceError: The disk is too small.
    """
    start, record = _resume_position(url, part, archive)
    if start and start == archive.size:
        return
    response = Opener(policy).open(url, _range_headers(start, record))
    with response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _full_length(response.headers) == start and archive.size in (None, start):
                return  # the file was complete already
            _delete_part(part)
            raise Broken("the partial file is longer than the server's file")
        start, total = _check_lengths(response, start, archive)
        _require_disk(part, (archive.size or total or start) - start)
        pieces = record.pieces + 1 if start else 1
        _part_record_path(part).write_text(json.dumps(PartRecord(url, _validator(response.headers), pieces)))
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            bar.n = start
            bar.total = archive.size or total
            bar.refresh()
            try:
                length = _receive(response, file, start, archive, policy, bar)
            except Refused:
                _delete_part(part)  # the bytes received are not of the expected file
                raise
        expected = archive.size or total or length
        if length < expected:
            raise Broken(f"the connection broke after {length:,} of {expected:,} bytes")


def _resume_position(url: str, part: Path, archive: Archive) -> tuple[int, PartRecord]:
    length = part.stat().st_size if part.exists() else 0
    record = read_part_record(part)
    if record.url != url:
        record = record._replace(validator=None)
    known = archive.sha256 or archive.md5
    if not (known or record.validator) or length > (archive.size or length):
        length = 0
    return length, record


def _range_headers(start: int, record: PartRecord) -> dict[str, str]:
    if not start:
        return {}
    condition = {"If-Range": record.validator} if record.validator else {}
    return {"Range": f"bytes={start}-", **condition}


def _validator(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("ETag", "")
    # A weak ETag does not promise the same bytes; If-Range must not carry one.
    return etag if etag.startswith('"') else headers.get("Last-Modified")


def _full_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of the complete file: the number after the slash of Content-Range, else Content-Length."""
    length = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else None


def _check_lengths(response: requests.Response, start: int, archive: Archive) -> tuple[int, int | None]:
    """Return the offset at which the response body begins, and the length of the complete file."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if first != str(start):
            raise Refused(f"a range from byte {printable(first)!r}, expected one from {start}")
    else:
        start = 0  # the server ignores ranges, or its file has changed: download from the start
    total = _full_length(response.headers)
    if total is not None and total != (archive.size or total):
        raise Refused(f"{total:,} bytes, expected {archive.size:,}")
    if total is not None and total > archive.max_bytes:
        raise Refused(f"{total:,} bytes, expected at most {archive.max_bytes:,}")
    return start, total


def _require_disk(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed + SPARE_DISK > free:
        raise ResourceError(
            f"no room for {part}: {free / 1e9:.2f} GB free, expected {(needed + SPARE_DISK) / 1e9:.2f} GB. Fix: free "
            f"disk space, or choose another disk with root=DIR"
        )


def _receive(
    response: requests.Response, file: IO[bytes], start: int, archive: Archive, policy: RetryPolicy, bar: tqdm
) -> int:
    """Write the response body to the partial file. Returns the length of that file."""
    length, most = start, archive.size or archive.max_bytes
    window_ends, window_began_at = time.monotonic() + policy.timeout, start
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
            if length - window_began_at < policy.slowest * policy.timeout:
                raise Broken(f"stalled after {length:,} bytes")
            _require_disk(Path(file.name), 0)
            window_ends, window_began_at = now + policy.timeout, length
    if head is not None and length in (archive.size, _full_length(response.headers)):
        _require_archive(head)
    return length


def _delete_part(part: Path) -> None:
    part.unlink(missing_ok=True)
    _part_record_path(part).unlink(missing_ok=True)


def _require_archive(head: bytes) -> None:
    if kind_of(head) is None:
        page = head.lstrip()[:1] == b"<"
        raise Refused("a page instead of an archive" if page else f"no archive: begins {head[:8]!r}")
