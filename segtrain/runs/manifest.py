"""Manifest of a checkpoint: JSON with the SHA-256 of the state file and of the manifest itself."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from segtrain.errors import CheckpointError
from segtrain.reading import parse_json
from segtrain.runs.files import read_file

MANIFEST = "manifest.json"
METADATA_FIELD = "facts"  # named so since the first format; renaming it would make stored checkpoints unreadable
_FORMAT = 2
_SEAL = re.compile(rb'"sha256_of_manifest": "([0-9a-f]{64})"')
_Fields = Mapping[str, tuple[type, ...]]
_FIELDS: _Fields = {"step": (int,), "is_best": (bool,), "sha256": (str,), METADATA_FIELD: (dict,)}
_RUN_METADATA: _Fields = {
    "progress": (dict,),
    "fingerprint": (dict,),
    "config": (str,),
    "exact_until": (int, NoneType),
    "best": (int, float, NoneType),
    "monitor": (str,),
}
_PROGRESS: _Fields = {
    "epochs_done": (int,),
    "num_steps": (int,),
    "sums": (dict,),
    "history": (list,),
}


def sealed(manifest: dict[str, Any]) -> bytes:
    """Encode a manifest with its own SHA-256, computed with zeros in that field."""
    text = json.dumps({"format": _FORMAT, **manifest, "sha256_of_manifest": "0" * 64}, indent=1).encode()
    return _SEAL.sub(b'"sha256_of_manifest": "%s"' % hashlib.sha256(text).hexdigest().encode(), text)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest in a checkpoint's folder.

    Raises:
        CheckpointError: The manifest is missing, damaged, or of another format.
    """
    try:
        data = read_file(path / MANIFEST)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path / MANIFEST}: {error.strerror}. Fix: remove {path} to fall back to the previous "
            f"checkpoint"
        ) from error
    seal = _SEAL.search(data)
    blank = data if seal is None else data[: seal.start(1)] + b"0" * 64 + data[seal.end(1) :]
    if seal is None or hashlib.sha256(blank).hexdigest().encode() != seal.group(1):
        raise CheckpointError(
            f"checkpoint {path / MANIFEST}: damaged, or written by an older segtrain, expected a file that matches "
            f"its own SHA-256. Fix: remove {path} to fall back to the previous checkpoint"
        )
    try:
        manifest: dict[str, Any] = parse_json(data)
    except ValueError as error:
        raise CheckpointError(
            f"cannot read {path / MANIFEST}: {error}. Fix: remove {path} to fall back to the previous checkpoint"
        ) from error
    if not isinstance(manifest, dict):
        raise _wrong_field(path, f"a {type(manifest).__name__}", "a JSON object")
    if manifest.get("format") != _FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: format {manifest.get('format')}, expected {_FORMAT}. Fix: use the segtrain version "
            f"that wrote it"
        )
    _require_fields(path, manifest, _FIELDS)
    return manifest


def require_run_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Require the metadata fields that a training run records.

    Args:
        path: Folder of the checkpoint.
        metadata: Metadata from its manifest.

    Raises:
        CheckpointError: A field is missing or has the wrong type.
    """
    _require_fields(path, metadata, _RUN_METADATA, "facts.")
    _require_fields(path, metadata["progress"], _PROGRESS, "facts.progress.")
    for number, record in enumerate(metadata["progress"]["history"]):
        where = f"facts.progress.history.{number}"
        if not isinstance(record, dict):
            raise _wrong_field(path, f"{where} of type {type(record).__name__}", "a mapping")
        _require_fields(path, record, {"epoch": (int,), "step": (int,)}, f"{where}.")
    _require_fields(path, metadata["fingerprint"], {"data": (str,)}, "facts.fingerprint.")


def _require_fields(path: Path, found: Mapping[str, Any], wanted: _Fields, where: str = "") -> None:
    for name, kinds in wanted.items():
        names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        if name not in found:
            raise _wrong_field(path, f"missing field {where}{name}", names)
        value: Any = found[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise _wrong_field(path, f"field {where}{name} of type {type(value).__name__}", names)
        if kinds == (int,) and isinstance(value, int) and not 0 <= value < 2**63:
            raise _wrong_field(path, f"field {where}{name}={str(value)[:40]}", "an integer from 0 up")


def _wrong_field(path: Path, seen: str, expected: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path / MANIFEST}: {seen}, expected {expected}. Fix: remove {path} to fall back to the "
        f"previous checkpoint"
    )
