"""Write the files of a long job atomically, and record them, so that a killed job can resume."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segtrain.errors import DataError
from segtrain.reading import parse_json, read_regular, read_text
from segtrain.storage import append, disk_error, write_atomically

RECORD = "prepared.jsonl"
_MOST = 1 << 28  # bytes of a file


class Record:
    """The files of one folder: one line a file, its name and the SHA-256 of what was written.

    Several threads may write. Files that are not in the record are written again.

    Args:
        output: Folder of the record.
        part: The folder of the files, below `output`.

    Raises:
        DataError: The folder holds files without a record.
        ResourceError: The folder cannot be written.
    """

    def __init__(self, output: Path, part: str) -> None:
        self._folder = output / part
        self._lock = threading.Lock()
        path = output / RECORD
        if not path.is_file() and self._folder.is_dir() and any(self._folder.iterdir()):
            raise DataError(
                f"output={output}: {self._folder} was not made by segtrain (no {RECORD}), expected a folder "
                f"of segtrain's own. Fix: give another output=..."
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for leftover in self._folder.glob(".*.part"):
                leftover.unlink(missing_ok=True)
            self._digests = _digests(path)
        except OSError as error:
            raise disk_error(path, error) from error
        self._path = path
        append(path, b"\n")  # ends a line that a kill has cut short

    def verified(self, workers: int) -> set[str]:
        """The names of the files that hold what was recorded."""
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(lambda name: _digest_of(self._folder / name), self._digests)
            return {name for name, digest in zip(self._digests, found, strict=True) if digest == self._digests[name]}

    def write(self, name: str, data: bytes) -> None:
        """Write a file and vouch for it.

        Raises:
            ResourceError: It cannot be written.
        """
        write_atomically(self._folder / name, data)
        entry = json.dumps({"name": name, "sha256": hashlib.sha256(data).hexdigest()}) + "\n"
        with self._lock:
            append(self._path, entry.encode())


def _digests(path: Path) -> dict[str, str]:
    digests = {}
    for line in read_text(path, _MOST).splitlines() if path.is_file() else ():
        try:
            entry = parse_json(line)
            digests[str(entry["name"])] = str(entry["sha256"])
        except (ValueError, TypeError, KeyError):
            continue  # cut short by a kill: that file is made again
    return digests


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(read_regular(path, _MOST)).hexdigest()
    except OSError:
        return ""
