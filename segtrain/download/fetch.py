"""A file from the first of its mirrors that has it, whole and with the right sums."""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from segtrain.download.connection import Broken, Patience, Refused
from segtrain.download.sources import Archive
from segtrain.download.transfer import read_memory, transfer
from segtrain.errors import DataError, ResourceError

# What an attempt must add to the part so that it does not count as fruitless.
FRUIT = 2**16
_LONGEST_PAUSE = 60


@dataclass(frozen=True)
class Sums:
    """What a file is known by.

    Attributes:
        size: In bytes.
        sha256: In hexadecimal.
        md5: In hexadecimal, empty where nobody asked for it.
    """

    size: int
    sha256: str
    md5: str = ""


def fetch(archive: Archive, part: Path, patience: Patience) -> tuple[str, Sums]:
    """Bring one file to `part`, going on with what an earlier command has left there.

    A file with wrong sums is set aside as `<file>.rejected`: it is never gone on with and never unpacked.

    Returns:
        The address it came from, and its sums.

    Raises:
        DataError: The mirrors have other files than the table says.
        ResourceError: No mirror can be reached, or the disk is too small.
    """
    failures: list[str] = []
    other_files = True
    with tqdm(desc=archive.file, total=archive.size, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        # A part that no sum vouches for can only go on where it began.
        begun = read_memory(part).url if part.exists() else ""
        for url in sorted(archive.urls, key=lambda url: url != begun):
            try:
                return url, _from_mirror(url, archive, part, patience, bar)
            except Refused as reason:
                other_files = other_files and reason.found
                failures.append(f"{urlsplit(url).hostname}: {reason}")
            except Broken as reason:
                other_files = False
                failures.append(f"{urlsplit(url).hostname}: {reason}, {patience.attempts} times")
                if part.exists() and not (archive.sha256 or archive.md5):
                    break  # another mirror would begin anew, and what has come would be lost
    kept = part.stat().st_size if part.exists() else 0
    again = f"run the command again to go on after {kept:,} bytes" if kept else "try again later"
    said = (
        f"cannot download {archive.file}: {'; '.join(failures)}. Fix: {again}, or get the file yourself: archive=FILE"
    )
    raise (DataError if other_files else ResourceError)(said)


def _from_mirror(url: str, archive: Archive, part: Path, patience: Patience, bar: tqdm) -> Sums:
    while True:
        _insist(url, archive, part, patience, bar)
        sums = sums_of(part, bool(archive.md5))
        problem = wrong_sums(archive, sums)
        if problem is None:
            return sums
        pieced = read_memory(part).pieces > 1
        os.replace(part, part.with_name(f"{archive.file}.rejected"))
        if not pieced:
            raise Refused(problem)
        # Pieces of two versions of the file, perhaps: once more, in one piece.


def _insist(url: str, archive: Archive, part: Path, patience: Patience, bar: tqdm) -> None:
    """Try until the file is whole; only tries that bring nothing are counted."""
    fruitless, longest = 0, part.stat().st_size if part.exists() else 0
    while True:
        try:
            transfer(url, part, archive, patience, bar)
            return
        except Broken as reason:
            length = part.stat().st_size if part.exists() else 0
            fruitless = 0 if length >= longest + FRUIT else fruitless + 1
            longest = max(longest, length)
            if fruitless >= patience.attempts:
                raise
            time.sleep(max(reason.pause, min(patience.pause * 2 ** max(0, fruitless - 1), _LONGEST_PAUSE)))


def sums_of(path: Path, with_md5: bool = False) -> Sums:
    """Read a file once and sum it up."""
    sha256 = hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(2**20):
            sha256.update(data)
            if with_md5:
                md5.update(data)
        return Sums(file.tell(), sha256.hexdigest(), md5.hexdigest() if with_md5 else "")


def wrong_sums(archive: Archive, sums: Sums) -> str | None:
    """What about a file is not as published; None where all that is known of it holds."""
    if archive.size not in (None, sums.size):
        return f"{sums.size:,} bytes, expected {archive.size:,}"
    if archive.sha256 not in (None, sums.sha256):
        return f"SHA-256 {sums.sha256[:16]}..., expected {str(archive.sha256)[:16]}..."
    if archive.md5 not in (None, sums.md5):
        return f"MD5 {sums.md5}, expected {archive.md5}"
    return None
