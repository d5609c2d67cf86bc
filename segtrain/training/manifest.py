"""The manifest in a checkpoint's folder: JSON that holds the SHA-256 of the state beside it, and of itself."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from segtrain.errors import CheckpointError
from segtrain.reading import parse_json
from segtrain.run_files import read_file

MANIFEST = "manifest.json"
_FORMAT = 2
_SEAL = re.compile(rb'"sha256_of_manifest": "([0-9a-f]{64})"')


def sealed(manifest: dict[str, Any]) -> bytes:
    """Write a manifest that holds the SHA-256 of itself, with zeros in the place of that."""
    text = json.dumps({"format": _FORMAT, **manifest, "sha256_of_manifest": "0" * 64}, indent=1).encode()
    return _SEAL.sub(b'"sha256_of_manifest": "%s"' % hashlib.sha256(text).hexdigest().encode(), text)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest in a checkpoint's folder.

    Raises:
        CheckpointError: It is missing, damaged, or of another format.
    """
    try:
        data = read_file(path / MANIFEST)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path / MANIFEST}: {error.strerror}. Fix: remove {path} to fall back on the one before"
        ) from error
    seal = _SEAL.search(data)
    blank = data if seal is None else data[: seal.start(1)] + b"0" * 64 + data[seal.end(1) :]
    if seal is None or hashlib.sha256(blank).hexdigest().encode() != seal.group(1):
        raise CheckpointError(
            f"checkpoint {path / MANIFEST}: damaged, or of an older segtrain, expected one that matches its own "
            f"SHA-256. Fix: remove {path} to fall back on the one before"
        )
    try:
        manifest: dict[str, Any] = parse_json(data)
    except ValueError as error:
        raise CheckpointError(
            f"cannot read {path / MANIFEST}: {error}. Fix: remove {path} to fall back on the one before"
        ) from error
    if manifest["format"] != _FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: format {manifest['format']}, expected {_FORMAT}. Fix: use the segtrain that wrote it"
        )
    return manifest
