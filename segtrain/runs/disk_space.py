"""Disk space of checkpoints: required before training, and named when a write fails."""

import errno
import resource
from contextlib import suppress
from pathlib import Path

from segtrain.errors import ResourceError
from segtrain.runs.disk import Disk
from segtrain.shell import command, override
from segtrain.storage import NO_ROOM, amount, disk_error, removed

RESERVE_BYTES = 16 << 20  # disk space kept free for logs


def require_room(run: Path, size: int, disk: Disk | None = None) -> None:
    """Require enough disk space for one checkpoint before training starts.

    Args:
        run: Run folder.
        size: Size of a checkpoint in bytes.
        disk: File operations to use; replaced in tests.

    Raises:
        ResourceError: Too little disk space is free, or the file size limit of the process is too low.
    """
    disk = disk or Disk()
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if largest != resource.RLIM_INFINITY and largest < size:
        raise ResourceError(
            f"a checkpoint in {run} takes {amount(size)}, more than the file size limit {amount(largest)}. Fix: "
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


def cannot_write(final: Path, error: OSError, size: int, reserve: int, disk: Disk) -> ResourceError:
    """Return the error for a checkpoint of `size` bytes that could not be written to `final`."""
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
        f"cannot write checkpoint {final}: {error.strerror}, {room}. Earlier checkpoints are intact. Fix: {fix}, "
        f"then {command('segtrain', 'train', override('resume', run))}"
    )


def _room(size: int, reserve: int, free: int, folder: Path) -> str:
    kept = f" and {amount(reserve)} kept in reserve" if reserve else ""
    return f"{amount(size)} needed{kept}, {amount(free)} free on the disk of {folder}"
