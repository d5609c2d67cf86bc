"""Checkpoints on disk: arrays in, arrays out, whole or not at all. No TensorFlow here.

A checkpoint is a folder `step-00000123` with `state.safetensors` and `manifest.json`. It is written under another name,
flushed to the disk and renamed last, so a folder of that name is always complete; the manifest's SHA-256 of the state
and of itself tell whether it still is when it is read. Old ones are renamed before they are removed. Which checkpoint
is the last or the best is read from the manifests, never from a pointer or a clock.
"""

import errno
import hashlib
import logging
import os
import resource
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
from segtrain.runs.files import read_file
from segtrain.runs.manifest import MANIFEST, METADATA_FIELD, read_manifest, sealed
from segtrain.shell import command, override
from segtrain.storage import NO_ROOM, amount, disk_error, removed

logger = logging.getLogger(__name__)

_STATE = "state.safetensors"
# What a save or a removal that was cut short leaves behind.
_UNFINISHED, _TRASH = ".tmp-", ".trash-"
RESERVE_BYTES = 16 << 20  # left free for logs


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint.

    Attributes:
        path: Its folder.
        step: Training steps done when it was written.
        is_best: Whether it was the best so far when it was written.
        metadata: What else was recorded beside the arrays.
    """

    path: Path
    step: int
    is_best: bool
    metadata: dict[str, Any]

    def arrays(self) -> dict[str, np.ndarray]:
        """Read the arrays.

        Raises:
            CheckpointError: A file is missing or is not the one that was written.
        """
        path, manifest = self.path / _STATE, read_manifest(self.path)
        try:
            data = read_file(path, manifest.get("bytes", sys.maxsize))
        except OSError as error:
            raise CheckpointError(
                f"cannot read {path}: {error.strerror}. Fix: remove {self.path} to fall back on the one before"
            ) from error
        wanted, seen = manifest["sha256"], hashlib.sha256(data).hexdigest()
        if seen != wanted:
            raise CheckpointError(
                f"checkpoint {path}: damaged, SHA-256 {seen[:12]}..., expected {wanted[:12]}.... Fix: remove "
                f"{self.path} to fall back on the one before"
            )
        try:
            return safetensors.numpy.load(data)
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
            raise CheckpointError(
                f"cannot read {path}: no arrays ({' '.join(str(error).split())[:150]}). Fix: remove {self.path} to "
                f"fall back on the one before"
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
    """Write one checkpoint and then drop those that are neither the best nor among the last.

    Args:
        folder: The run's `checkpoints` folder.
        step: Training steps done.
        arrays: What to keep, by name.
        is_best: Whether no earlier one is better.
        metadata: What else to record; must fit JSON.
        suffix: Ends the folder's name, where a step has more than one state: before its validation and after.
        keep_last: How many of the last to keep, the new one among them.
        reserve: Bytes that must stay free.
        disk: What writes.

    Raises:
        ResourceError: The disk is full or not writable. The checkpoints before are untouched.
    """
    disk = disk or Disk()
    final = folder / f"step-{step:08d}{suffix}"
    # safetensors writes an array's memory as it lies; "C" brings transposed ones in order and leaves 0-d ones alone.
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
        raise _cannot_write(final, error, len(data), reserve, disk) from error
    _drop_old(folder, step, keep_last, disk)
    return Checkpoint(final, step, is_best, metadata)


def require_room(run: Path, size: int, disk: Disk | None = None) -> None:
    """Refuse to start a training whose checkpoint the disk cannot take.

    Args:
        run: The run folder.
        size: Bytes of a checkpoint.
        disk: What is asked.

    Raises:
        ResourceError: Too little is free, or the system limits the size of files.
    """
    disk = disk or Disk()
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if largest != resource.RLIM_INFINITY and largest < size:
        raise ResourceError(
            f"a checkpoint in {run} takes {amount(size)}, the limit of this process is {amount(largest)} a file. Fix: "
            f"ulimit -f unlimited"
        )
    try:
        free = disk.free_bytes(run)
    except OSError as error:
        raise disk_error(run / "checkpoints", error) from error
    if free < size + RESERVE_BYTES:
        raise ResourceError(
            f"no room for a checkpoint in {run}: {_room(size, RESERVE_BYTES, free, run)}. Fix: free space there"
        )


def find_checkpoints(folder: Path) -> list[Checkpoint]:
    """List the complete checkpoints of a run's `checkpoints` folder by step, oldest first."""
    found = []
    for path in _checkpoint_folders(folder):
        with suppress(CheckpointError):
            manifest = read_manifest(path)
            found.append(Checkpoint(path, manifest["step"], manifest["is_best"], manifest[METADATA_FIELD]))
    return sorted(found, key=lambda checkpoint: (checkpoint.step, _order(checkpoint.path)))


def pick_checkpoint(folder: Path, which: str) -> Checkpoint:
    """Return the "best" or "last" checkpoint of a run's `checkpoints` folder; the last where none was validated.

    Raises:
        CheckpointError: There is none.
    """
    found = find_checkpoints(folder)
    if not found:
        raise CheckpointError(
            f"no checkpoint in {folder}: expected step-*/manifest.json{_listed(damages(folder))}. Fix: name another run"
        )
    best = [checkpoint for checkpoint in found if checkpoint.is_best]
    return best[-1] if which == "best" and best else found[-1]


def newest_intact(folder: Path) -> tuple[Checkpoint, dict[str, np.ndarray]]:
    """Read the newest checkpoint whose every byte is as it was written, with a warning where that is not the last.

    Raises:
        CheckpointError: There is none; the message says what is wrong with each.
    """
    for path, damage in damages(folder).items():
        logger.warning("%s is passed over: %s", path, damage)
    for checkpoint in reversed(find_checkpoints(folder)):
        try:
            return checkpoint, checkpoint.arrays()
        except CheckpointError as error:
            logger.warning("%s is passed over: %s", checkpoint.path, error)
    raise CheckpointError(
        f"no whole checkpoint in {folder}: expected step-*/manifest.json{_listed(damages(folder))}. Fix: start a new "
        f"run"
    )


def damages(folder: Path) -> dict[Path, str]:
    """Say of each checkpoint's folder that cannot be used by its manifest, why not."""
    found = {}
    for path in _checkpoint_folders(folder):
        try:
            read_manifest(path)
        except CheckpointError as error:
            found[path] = str(error)
    return found


def leftovers(folder: Path) -> list[Path]:
    """List what a killed process has left half written or half removed."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith((f"{_UNFINISHED}step-", f"{_TRASH}step-")))


def remove_stale(folder: Path, disk: Disk | None = None) -> None:
    """Remove what a killed process has left half written or half removed. Only for who holds the run's lock.

    Raises:
        ResourceError: The folder may not be written.
    """
    try:
        for path in leftovers(folder):
            remove_files(disk or Disk(), path)
    except OSError as error:
        raise ResourceError(
            f"cannot clear {folder} of what a killed run has left: {error.strerror}. Fix: make the folder writable"
        ) from error


def _write_checkpoint(disk: Disk, final: Path, data: bytes, fields: dict[str, Any]) -> None:
    """Write under another name, flush, and rename last."""
    unfinished, folder = final.with_name(_UNFINISHED + final.name), final.parent
    remove_files(disk, unfinished)
    disk.create_folder(unfinished)
    with ThreadPoolExecutor(1) as pool:  # hashing and writing take about as long: side by side
        digest = pool.submit(lambda: hashlib.sha256(data).hexdigest())
        write_file(disk, unfinished / _STATE, data)
        manifest = {**fields, "bytes": len(data), "sha256": digest.result()}
    write_file(disk, unfinished / MANIFEST, sealed(manifest))
    disk.sync_folder(unfinished)
    if final.exists():  # a damaged one, or of a run that went on from an earlier step: this one takes its place
        _to_trash(disk, final)
    disk.rename(unfinished, final)
    disk.sync_folder(folder)


def _cannot_write(final: Path, error: OSError, size: int, reserve: int, disk: Disk) -> ResourceError:
    run = final.parent.parent
    if error.errno == errno.ENOENT and not run.is_dir():
        return removed(run)
    room, fix = f"{amount(size)} needed", f"make {final.parent} writable"
    if error.errno in NO_ROOM:
        with suppress(OSError):
            room = _room(size, reserve, disk.free_bytes(final.parent if final.parent.is_dir() else run), run)
        fix = f"free space on the disk of {run}"
    elif error.errno == errno.EFBIG:
        fix = "ulimit -f unlimited"
    return ResourceError(
        f"cannot write checkpoint {final}: {error.strerror}, {room}. The checkpoints before are complete. Fix: {fix}, "
        f"then {command('segtrain', 'train', override('resume', run))}"
    )


def _room(size: int, reserve: int, free: int, folder: Path) -> str:
    kept = f" and {amount(reserve)} kept in reserve" if reserve else ""
    return f"{amount(size)} needed{kept}, {amount(free)} free on the disk of {folder}"


def _drop_old(folder: Path, step: int, keep_last: int, disk: Disk) -> None:
    # Later ones are damaged, or this run would have gone on from them: they take no place among the last or the best.
    found = [checkpoint for checkpoint in find_checkpoints(folder) if checkpoint.step <= step]
    best = [checkpoint for checkpoint in found if checkpoint.is_best][-1:]
    for checkpoint in found[: max(0, len(found) - keep_last)]:
        if checkpoint not in best:
            try:
                _to_trash(disk, checkpoint.path)
            except OSError as error:
                logger.warning("cannot remove the old checkpoint %s: %s", checkpoint.path, error.strerror)


def _to_trash(disk: Disk, path: Path) -> None:
    """Remove a checkpoint, under another name first, so that one half removed is never taken for whole."""
    trash = path.with_name(_TRASH + path.name)
    remove_files(disk, trash)
    disk.rename(path, trash)
    disk.sync_folder(path.parent)
    remove_files(disk, trash)


def _checkpoint_folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        # Through a link, removing an old checkpoint would remove the files of another folder.
        found = (path for path in folder.iterdir() if path.name.startswith("step-") and path.is_dir())
        yield from (path for path in found if not path.is_symlink())


def _order(path: Path) -> bool:
    """Of two states of one step, that before the validation comes first."""
    return path.name[5:].isdigit()


def _listed(found: Mapping[Path, str]) -> str:
    return "".join(f"; {path.name}: {damage}" for path, damage in found.items())
