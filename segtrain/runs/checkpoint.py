"""Write and read checkpoints of named arrays atomically. No TensorFlow here.

A checkpoint is a folder `step-00000123` with `state.safetensors` and `manifest.json`. It is written under a temporary
name, flushed to disk and renamed last, so a folder of that name was complete when written; the manifest holds the
SHA-256 of the state and of itself, which are verified on reading. Old checkpoints are renamed before they are removed.
The last and the best checkpoint are determined from the manifests, never from a pointer file or modification times.
"""

import errno
import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from segtrain.errors import CheckpointError, ResourceError
from segtrain.runs.disk import Disk, remove_files, write_file
from segtrain.runs.disk_space import RESERVE_BYTES, cannot_write
from segtrain.runs.files import read_file
from segtrain.runs.manifest import MANIFEST, METADATA_FIELD, read_manifest, sealed

logger = logging.getLogger(__name__)

_STATE = "state.safetensors"
# Prefixes of folders left by an interrupted save or removal.
_UNFINISHED, _TRASH = ".tmp-", ".trash-"


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint.

    Attributes:
        path: Folder of the checkpoint.
        step: Number of completed training steps.
        is_best: Whether it had the best score so far when it was written.
        metadata: Values recorded in addition to the arrays, such as progress, config and fingerprint.
    """

    path: Path
    step: int
    is_best: bool
    metadata: dict[str, Any]

    def arrays(self) -> dict[str, np.ndarray]:
        """Read the arrays.

        Raises:
            CheckpointError: A file is missing or does not match its SHA-256.
        """
        path, manifest = self.path / _STATE, read_manifest(self.path)
        try:
            data = read_file(path, manifest.get("bytes", sys.maxsize))
        except OSError as error:
            raise CheckpointError(
                f"cannot read {path}: {error.strerror}. Fix: remove {self.path} to fall back to the previous checkpoint"
            ) from error
        wanted, seen = manifest["sha256"], hashlib.sha256(data).hexdigest()
        if seen != wanted:
            raise CheckpointError(
                f"checkpoint {path}: damaged, SHA-256 {seen[:12]}..., expected {wanted[:12]}.... Fix: remove "
                f"{self.path} to fall back to the previous checkpoint"
            )
        try:
            return safetensors.numpy.load(data)
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise CheckpointError(
                f"cannot read {path}: invalid safetensors file ({' '.join(str(error).split())[:150]}). Fix: remove "
                f"{self.path} to fall back to the previous checkpoint"
            ) from error


def save_checkpoint(
    folder: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    *,
    is_best: bool,
    metadata: dict[str, Any],
    suffix: str = "",
    keep_last: int = 1,
    reserve: int = RESERVE_BYTES,
    disk: Disk | None = None,
) -> Checkpoint:
    """Write one checkpoint, then remove old ones except the best and the last `keep_last`.

    Args:
        folder: Folder `checkpoints` of the run.
        step: Number of completed training steps.
        arrays: Arrays to save, by name.
        is_best: Whether no earlier checkpoint has a better score.
        metadata: Further values to record in the manifest; must be JSON serializable.
        suffix: Suffix of the folder's name, to distinguish the states of one step before and after validation.
        keep_last: Number of most recent checkpoints to keep, including the new one.
        reserve: Disk space that must stay free, in bytes.
        disk: File operations to use; replaced in tests.

    Raises:
        ResourceError: The disk is full or not writable. Existing checkpoints are unchanged.
    """
    disk = disk or Disk()
    final = folder / f"step-{step:08d}{suffix}"
    # safetensors writes raw memory; order "C" makes transposed arrays contiguous and keeps 0-d arrays 0-d.
    data = safetensors.numpy.save({name: np.array(array, order="C") for name, array in arrays.items()})
    try:
        if not folder.is_dir():
            disk.create_folder(folder)
        if disk.free_bytes(folder) < len(data) + reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _write_checkpoint(disk, final, data, {"step": step, "is_best": is_best, METADATA_FIELD: metadata})
    except OSError as error:
        with suppress(OSError):
            remove_files(disk, final.with_name(_UNFINISHED + final.name))
        raise cannot_write(final, error, len(data), reserve, disk) from error
    _remove_old(folder, step, keep_last, disk)
    return Checkpoint(final, step, is_best, metadata)


def find_checkpoints(folder: Path) -> list[Checkpoint]:
    """List the complete checkpoints of a run's `checkpoints` folder by step, oldest first."""
    found = []
    for path in _checkpoint_folders(folder):
        with suppress(CheckpointError):
            manifest = read_manifest(path)
            found.append(Checkpoint(path, manifest["step"], manifest["is_best"], manifest[METADATA_FIELD]))
    return sorted(found, key=lambda checkpoint: (checkpoint.step, _order(checkpoint.path)))


def pick_checkpoint(folder: Path, which: str) -> Checkpoint:
    """Return the "best" or "last" checkpoint of a run's `checkpoints` folder; the last if none was validated.

    Raises:
        CheckpointError: The folder has no readable checkpoint.
    """
    found = find_checkpoints(folder)
    if not found:
        raise CheckpointError(
            f"no checkpoint in {folder}: expected step-*/manifest.json{_listed(damages(folder))}. Fix: choose "
            f"another run"
        )
    best = [checkpoint for checkpoint in found if checkpoint.is_best]
    return best[-1] if which == "best" and best else found[-1]


def newest_intact(folder: Path) -> tuple[Checkpoint, dict[str, np.ndarray]]:
    """Read the newest checkpoint that matches its checksums; log a warning for each newer one that is skipped.

    Raises:
        CheckpointError: No checkpoint is intact; the message lists the damage of each.
    """
    for path, damage in damages(folder).items():
        logger.warning("skipping checkpoint %s: %s", path, damage)
    for checkpoint in reversed(find_checkpoints(folder)):
        try:
            return checkpoint, checkpoint.arrays()
        except CheckpointError as error:
            logger.warning("skipping checkpoint %s: %s", checkpoint.path, error)
    raise CheckpointError(
        f"no intact checkpoint in {folder}: expected step-*/manifest.json{_listed(damages(folder))}. Fix: start a new "
        f"run"
    )


def damages(folder: Path) -> dict[Path, str]:
    """Return the reason by path for each checkpoint folder whose manifest is unusable."""
    found = {}
    for path in _checkpoint_folders(folder):
        try:
            read_manifest(path)
        except CheckpointError as error:
            found[path] = str(error)
    return found


def leftovers(folder: Path) -> list[Path]:
    """List partly written and partly removed checkpoints left by a killed process."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith((f"{_UNFINISHED}step-", f"{_TRASH}step-")))


def remove_stale(folder: Path, disk: Disk | None = None) -> None:
    """Remove partly written and partly removed checkpoints of a killed process. The caller must hold the run's lock.

    Raises:
        ResourceError: The folder is not writable.
    """
    try:
        for path in leftovers(folder):
            remove_files(disk or Disk(), path)
    except OSError as error:
        raise ResourceError(
            f"cannot remove unfinished checkpoints in {folder}: {error.strerror}. Fix: make the folder writable"
        ) from error


def _write_checkpoint(disk: Disk, final: Path, data: bytes, fields: dict[str, Any]) -> None:
    """Write the files under a temporary name, flush them, then rename the folder."""
    unfinished, folder = final.with_name(_UNFINISHED + final.name), final.parent
    remove_files(disk, unfinished)
    disk.create_folder(unfinished)
    with ThreadPoolExecutor(1) as pool:  # hashing takes about as long as writing, so run both in parallel
        digest = pool.submit(lambda: hashlib.sha256(data).hexdigest())
        write_file(disk, unfinished / _STATE, data)
        manifest = {**fields, "bytes": len(data), "sha256": digest.result()}
    write_file(disk, unfinished / MANIFEST, sealed(manifest))
    disk.sync_folder(unfinished)
    if final.exists():  # damaged, or written before the run was resumed from an earlier step
        _to_trash(disk, final)
    disk.rename(unfinished, final)
    disk.sync_folder(folder)


def _remove_old(folder: Path, step: int, keep_last: int, disk: Disk) -> None:
    # Checkpoints of later steps are damaged, or the run would have resumed from them: do not count them.
    found = [checkpoint for checkpoint in find_checkpoints(folder) if checkpoint.step <= step]
    best = [checkpoint for checkpoint in found if checkpoint.is_best][-1:]
    for checkpoint in found[: max(0, len(found) - keep_last)]:
        if checkpoint not in best:
            try:
                _to_trash(disk, checkpoint.path)
            except OSError as error:
                logger.warning("cannot remove old checkpoint %s: %s", checkpoint.path, error.strerror)


def _to_trash(disk: Disk, path: Path) -> None:
    """Rename a checkpoint, then remove it, so that a partly removed one is never taken for a complete one."""
    trash = path.with_name(_TRASH + path.name)
    remove_files(disk, trash)
    disk.rename(path, trash)
    disk.sync_folder(path.parent)
    remove_files(disk, trash)


def _checkpoint_folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        # Skip symbolic links: removing an old checkpoint through one would remove the files of another folder.
        found = (path for path in folder.iterdir() if path.name.startswith("step-") and path.is_dir())
        yield from (path for path in found if not path.is_symlink())


def _order(path: Path) -> bool:
    """Sort key that puts the state before validation first among the states of one step."""
    return path.name[5:].isdigit()


def _listed(found: Mapping[Path, str]) -> str:
    return "".join(f"; {path.name}: {damage}" for path, damage in found.items())
