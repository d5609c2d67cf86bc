"""Cache of records and verdicts in the user's cache folder, valid until a file changes.

A key is a digest of the dataset's configuration and of every file's path, size and time of change; contents are not
read again for it. If the cache is damaged or missing, the files are read again.
"""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segtrain.data.audit.record import Problem, Record
from segtrain.data.images.sample import Sample
from segtrain.errors import ResourceError
from segtrain.reading import load_json
from segtrain.storage import locked, write_atomically
from segtrain.version import __version__

# Raise it with every change of what a record holds or how it is measured.
RECORD_VERSION = 4
_MOST = 1 << 30  # bytes of a cache file: a million images
_KEPT = 40  # cache files, the newest; a record of an image takes about 700 bytes


class Verdict(NamedTuple):
    """How a check ended.

    Attributes:
        date: When, as "2026-11-21 14:03".
        errors: Findings of this severity.
        warnings: The same.
    """

    date: str
    errors: int
    warnings: int


def folder() -> Path:
    """Where the cache lies: XDG_CACHE_HOME, else ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "segtrain" / "check"


def key(identity: str, samples: Iterable[Sample]) -> str:
    """Digest what a reading of samples depends on, without reading them.

    Args:
        identity: Everything else that it depends on: the dataset's configuration.
        samples: Of one split, in order.
    """
    found = hashlib.sha256(f"{__version__} {RECORD_VERSION} {identity}".encode())
    for sample in samples:
        for path in (sample.image, sample.labels):
            try:
                status = os.stat(path)
                stamp = (status.st_size, status.st_mtime_ns)
            except OSError:
                stamp = (-1, -1)
            found.update(os.fsencode(os.path.abspath(path)) + f"\0{sample.name!r} {stamp}\0".encode())
    return found.hexdigest()


def verdict_key(keys: Iterable[str]) -> str:
    """Digest the keys of several splits into one."""
    return hashlib.sha256(" ".join(sorted(keys)).encode()).hexdigest()


def load_records(name: str) -> list[Record] | None:
    """Return the records stored under a key, or None."""
    content = _load(f"{name}.records.json")
    try:
        return None if content is None else [_record(each) for each in content]
    except (TypeError, ValueError, AttributeError):
        return None


def store_records(name: str, records: Sequence[Record]) -> None:
    """Keep records under a key."""
    _store(f"{name}.records.json", [_plain(record) for record in records])


def load_verdict(name: str) -> Verdict | None:
    """Return the verdict stored under a key, or None."""
    content = _load(f"{name}.verdict.json")
    try:
        return None if content is None else Verdict(**content)
    except TypeError:
        return None


def store_verdict(name: str, verdict: Verdict) -> None:
    """Keep a verdict under a key."""
    _store(f"{name}.verdict.json", verdict._asdict())


def _load(name: str) -> Any:
    try:
        return load_json(folder() / name, most=_MOST)
    except (OSError, ValueError):
        return None


def _store(name: str, content: Any) -> None:
    """Write a file atomically; a cache that cannot be written must not end a check."""
    home = folder()
    with contextlib.suppress(OSError, ResourceError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds thumbnails of the user's images
        with locked(home):
            write_atomically(home / name, json.dumps(content, separators=(",", ":")).encode())
            stale = sorted(home.iterdir(), key=lambda path: path.stat().st_mtime_ns)[:-_KEPT]
            for path in stale:
                path.unlink(missing_ok=True)


def _plain(record: Record) -> dict[str, Any]:
    """Make JSON of a record; what is empty is left out."""
    content = {name: getattr(record, name) for name in Record.__slots__}
    content["thumbnail"] = base64.b64encode(record.thumbnail).decode()
    return {name: value for name, value in content.items() if value}


def _record(content: dict[str, Any]) -> Record:
    for name in ("image_size", "labels_size", "stored_range", "unknown"):
        if name in content:
            content[name] = tuple(content[name])
    for name in ("classes", "stored", "columns", "palette"):
        if name in content:
            content[name] = {int(class_id): value for class_id, value in content[name].items()}
    content["problems"] = tuple(Problem(*problem) for problem in content.get("problems", ()))
    content["thumbnail"] = base64.b64decode(content.get("thumbnail", ""))
    return Record(**content)
