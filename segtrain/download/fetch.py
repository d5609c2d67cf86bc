"""Download a file from its mirrors in order and verify its size and checksums."""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from segtrain.download.connection import Broken, Refused, RetryPolicy
from segtrain.download.sources import Archive
from segtrain.download.transfer import read_part_record, transfer
from segtrain.errors import DataError, ResourceError

# Bytes that an attempt must add to the partial file to count as progress.
MIN_PROGRESS_BYTES = 2**16
_MAX_PAUSE = 60


@dataclass(frozen=True)
class Checksums:
    """Size and checksums of a file.

    Attributes:
        size: Size in bytes.
        sha256: SHA-256 in hexadecimal.
        md5: MD5 in hexadecimal; empty if not computed.
    """

    size: int
    sha256: str
    md5: str = ""


def fetch(archive: Archive, part: Path, policy: RetryPolicy) -> tuple[str, Checksums]:
    """Download one file to `part`, resuming a partial download of an earlier command.

    A file with wrong checksums is renamed to `<file>.rejected`; it is never resumed and never unpacked.

    Args:
        archive: The file to download, with its mirrors, size and checksums.
        part: Path of the partial file.
        policy: Timeouts and retries.

    Returns:
        The address that served the file, and its checksums.

    Raises:
        DataError: The mirrors serve other files than `archive` describes.
        ResourceError: No mirror can be reached, or the disk is too small.
    """
    failures: list[str] = []
    other_files = True
    with tqdm(desc=archive.file, total=archive.size, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        # Without published checksums, a partial file can only be resumed from the mirror that it came from.
        first_url = read_part_record(part).url if part.exists() else ""
        for url in sorted(archive.urls, key=lambda url: url != first_url):
            try:
                return url, _from_mirror(url, archive, part, policy, bar)
            except Refused as reason:
                other_files = other_files and reason.found
                failures.append(f"{urlsplit(url).hostname}: {reason}")
            except Broken as reason:
                other_files = False
                failures.append(f"{urlsplit(url).hostname}: {reason}, {policy.attempts} times")
                if part.exists() and not (archive.sha256 or archive.md5):
                    break  # another mirror would start over and discard the partial file
    kept = part.stat().st_size if part.exists() else 0
    retry = f"run the command again to resume after {kept:,} bytes" if kept else "try again later"
    raise (DataError if other_files else ResourceError)(
        f"cannot download {archive.file}: {'; '.join(failures)}. Fix: {retry}, or download it in a browser and pass "
        f"archive=FILE"
    )


def _from_mirror(url: str, archive: Archive, part: Path, policy: RetryPolicy, bar: tqdm) -> Checksums:
    while True:
        _transfer_with_retries(url, archive, part, policy, bar)
        checksums = compute_checksums(part, bool(archive.md5))
        mismatch = checksum_mismatch(archive, checksums)
        if mismatch is None:
            return checksums
        is_pieced = read_part_record(part).pieces > 1
        os.replace(part, part.with_name(f"{archive.file}.rejected"))
        if not is_pieced:
            raise Refused(mismatch)
        # The pieces may be of two versions of the file: download it again in one piece.


def _transfer_with_retries(url: str, archive: Archive, part: Path, policy: RetryPolicy, bar: tqdm) -> None:
    """Retry until the file is complete; only attempts without progress count toward `policy.attempts`."""
    failed_attempts, longest = 0, part.stat().st_size if part.exists() else 0
    while True:
        try:
            transfer(url, part, archive, policy, bar)
            return
        except Broken as reason:
            length = part.stat().st_size if part.exists() else 0
            failed_attempts = 0 if length >= longest + MIN_PROGRESS_BYTES else failed_attempts + 1
            longest = max(longest, length)
            if failed_attempts >= policy.attempts:
                raise
            time.sleep(max(reason.pause, min(policy.pause * 2 ** max(0, failed_attempts - 1), _MAX_PAUSE)))


def compute_checksums(path: Path, with_md5: bool = False) -> Checksums:
    """Compute the size and checksums of a file in one pass."""
    sha256 = hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(2**20):
            sha256.update(data)
            if with_md5:
                md5.update(data)
        return Checksums(file.tell(), sha256.hexdigest(), md5.hexdigest() if with_md5 else "")


def checksum_mismatch(archive: Archive, found: Checksums) -> str | None:
    """Describe the first difference from the published size and checksums; None if all match."""
    if archive.size not in (None, found.size):
        return f"{found.size:,} bytes, expected {archive.size:,}"
    if archive.sha256 not in (None, found.sha256):
        return f"SHA-256 {found.sha256[:16]}..., expected {str(archive.sha256)[:16]}..."
    if archive.md5 not in (None, found.md5):
        return f"MD5 {found.md5}, expected {archive.md5}"
    return None
