"""Checkpoints on disk: arrays in, arrays out, whole or not at all. No TensorFlow here.

A checkpoint is a folder `step-00000123` with `state.safetensors` and `manifest.json`. It is written under another name,
flushed to the disk and renamed last, so a folder of that name is always complete; the manifest's SHA-256 tells whether
it still is when it is read. Which checkpoint is the last or the best is read from the manifests, never from a pointer.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from segtrain.errors import CheckpointError, ResourceError

logger = logging.getLogger(__name__)

_FORMAT = 1
_STATE, _MANIFEST = "state.safetensors", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint.

    Attributes:
        path: Its folder.
        step: Training steps done when it was written.
        is_best: Whether it was the best so far when it was written.
        facts: What else was recorded beside the arrays.
    """

    path: Path
    step: int
    is_best: bool
    facts: dict[str, Any]

    def arrays(self) -> dict[str, np.ndarray]:
        """Read the arrays.

        Raises:
            CheckpointError: The file is missing or is not the one that was written.
        """
        path = self.path / _STATE
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
        manifest = json.loads((self.path / _MANIFEST).read_text())
        if manifest["format"] != _FORMAT:
            raise CheckpointError(
                f"checkpoint {self.path}: format {manifest['format']}, expected {_FORMAT}. Fix: use the segtrain that "
                f"wrote it"
            )
        wanted = manifest["sha256"]
        seen = hashlib.sha256(data).hexdigest()
        if seen != wanted:
            raise CheckpointError(
                f"checkpoint {path}: damaged, SHA-256 {seen[:12]}..., expected {wanted[:12]}.... Fix: remove "
                f"{self.path} to fall back on the one before"
            )
        return safetensors.numpy.load(data)


def save_checkpoint(
    folder: Path, step: int, arrays: dict[str, np.ndarray], *, is_best: bool, facts: dict[str, Any]
) -> Checkpoint:
    """Write one checkpoint and then drop those that are neither the last nor the best.

    Args:
        folder: The run's `checkpoints` folder.
        step: Training steps done.
        arrays: What to keep, by name.
        is_best: Whether no earlier one is better.
        facts: What else to record; must fit JSON.

    Raises:
        ResourceError: The disk is full or not writable. The checkpoints before are untouched.
    """
    final, temporary = folder / f"step-{step:08d}", folder / f".tmp-step-{step:08d}"
    # safetensors writes an array's memory as it lies; "C" brings transposed ones in order and leaves 0-d ones alone.
    data = safetensors.numpy.save({name: np.array(array, order="C") for name, array in arrays.items()})
    manifest = {
        "format": _FORMAT,
        "step": step,
        "is_best": is_best,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "facts": facts,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _write(temporary / _STATE, data)
        _write(temporary / _MANIFEST, json.dumps(manifest, indent=1).encode())
        _flush_folder(temporary)
        _put_in_place(temporary, final)
        _flush_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ResourceError(
            f"cannot write checkpoint {final}: {error.strerror}, {len(data) / 1e6:.0f} MB needed. The checkpoints "
            f"before are whole. Fix: free space or permission, then segtrain train resume={folder.parent}"
        ) from error
    written = Checkpoint(final, step, is_best, facts)
    _drop_old(folder)
    return written


def find_checkpoints(folder: Path) -> list[Checkpoint]:
    """List the complete checkpoints of a run's `checkpoints` folder by step, oldest first."""
    found = []
    for path in sorted(folder.glob("step-*")) if folder.is_dir() else []:
        try:
            manifest = json.loads((path / _MANIFEST).read_text())
            found.append(Checkpoint(path, int(manifest["step"]), bool(manifest["is_best"]), manifest["facts"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def pick_checkpoint(folder: Path, which: str) -> Checkpoint:
    """Return the "best" or "last" checkpoint of a run's `checkpoints` folder; the last where none was validated.

    Raises:
        CheckpointError: There is none.
    """
    found = find_checkpoints(folder)
    if not found:
        raise CheckpointError(f"no checkpoint in {folder}: expected step-*/manifest.json. Fix: name another run")
    best = [checkpoint for checkpoint in found if checkpoint.is_best]
    return best[-1] if which == "best" and best else found[-1]


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename; an older checkpoint of the same step gives way, and comes back should this fail."""
    older = final.with_name(f".tmp-old-{final.name}")
    shutil.rmtree(older, ignore_errors=True)
    if final.exists():
        final.rename(older)
    try:
        temporary.rename(final)
    except OSError:
        if older.exists():
            older.rename(final)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _drop_old(folder: Path) -> None:
    found = find_checkpoints(folder)
    best = [checkpoint.step for checkpoint in found if checkpoint.is_best][-1:]
    for checkpoint in found[:-1]:
        if checkpoint.step not in best:
            # Under another name first, so that one half removed is never taken for whole.
            trash = checkpoint.path.with_name(f".tmp-old-{checkpoint.path.name}")
            try:
                shutil.rmtree(trash, ignore_errors=True)
                checkpoint.path.rename(trash)
                shutil.rmtree(trash)
            except OSError as error:
                logger.warning("cannot remove the old checkpoint %s: %s", checkpoint.path, error.strerror)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
