"""Atomic file writes, file locks, and disk errors as one-line messages with path and free space."""

import errno
import fcntl
import io
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segtrain.errors import ResourceError
from segtrain.terminal import printable

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Convert an OSError raised within the context into a ResourceError.

    Args:
        path: File or folder that is written within the context.
        needed: Number of bytes to write, if known.

    Raises:
        ResourceError: The path cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(path, error, needed) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: write a temporary file, then rename it, so that a crash leaves the old or the new file.

    Raises:
        ResourceError: The file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        # O_EXCL and O_NOFOLLOW: do not write through a link that another user has created under this name.
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            write_all(file, data)
        finally:
            os.close(file)
        os.replace(unfinished, path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise disk_error(path, error, len(data)) from error


def write_all(file: int, data: bytes, write: Callable[[int, memoryview], int] | None = None) -> None:
    """Write all bytes to an open file, with several calls if needed; `write` replaces `os.write` in tests.

    Raises:
        OSError: The file cannot be written; ENOSPC if a call writes no bytes.
    """
    rest = memoryview(data)
    while rest:
        written = (write or os.write)(file, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


def write_png(path: Path, image: Any, **options: Any) -> None:
    """Write a Pillow image as PNG; create its folder if missing.

    Raises:
        ResourceError: The file cannot be written.
    """
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    make_folder(path.parent)
    write_atomically(path, data.getvalue())


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents.

    Raises:
        ResourceError: The folder cannot be created.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def append(path: Path, data: bytes) -> None:
    """Append to a file; on failure, restore its previous length.

    Raises:
        ResourceError: The file cannot be written.
    """
    with writing(path, len(data)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(file).st_size
            try:
                write_all(file, data)
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)


def lock(file: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed or the process ends.

    Args:
        file: File descriptor.
        shared: Whether to take a shared lock, which other processes can hold at the same time.
        wait: Whether to wait until another process releases the lock.

    Returns:
        Whether the lock was acquired; False if another process holds it.

    Raises:
        OSError: The file system does not support locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder within the context; other processes that call this wait.

    Raises:
        OSError: The folder cannot be opened, or its file system does not support locks.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock(file, wait=True)
        yield
    finally:
        os.close(file)


def disk_error(path: Path | str, error: OSError, needed: int | None = None) -> ResourceError:
    """Create the error for a failed write, with reason, free space and fix.

    Args:
        path: File or folder that could not be written.
        error: Error raised by the operating system.
        needed: Number of bytes to write, if known.
    """
    path = Path(path)
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.ENOENT and (missing := _removed(path)) is not None:
        return removed(missing)
    folder = path if path.is_dir() else path.parent
    room = "" if needed is None else f", {amount(needed)} needed"
    fix = f"check the permissions of {named(folder)}"
    if error.errno in NO_ROOM:
        with suppress(OSError):
            room += f", {amount(shutil.disk_usage(folder).free)} free in {named(folder)}"
        fix = f"free space on the disk of {named(folder)}"
    elif error.errno == errno.EFBIG:
        with suppress(OSError):
            room += f", {amount(resource.getrlimit(resource.RLIMIT_FSIZE)[0])} allowed for a file by `ulimit -f`"
        fix = "ulimit -f unlimited"
    elif error.errno == errno.ENAMETOOLONG:
        fix = "choose a shorter path"
    elif error.errno in (errno.EIO, errno.ESTALE, errno.ENOLCK):
        fix = f"check the disk or the server of {named(folder)}"
    return ResourceError(f"cannot write {named(path)}: {reason}{room}. Fix: {fix}")


def removed(folder: Path) -> ResourceError:
    """Create the error for a folder that was removed while a command was writing to it."""
    return ResourceError(
        f"{named(folder)} was removed while the command was writing to it, expected a folder that stays. Fix: start "
        f"the command again"
    )


def amount(count: int) -> str:
    """Format a number of bytes for a message."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


def named(path: Path | str) -> str:
    """Format a path for a message: printable, and shortened if it is longer than 500 characters."""
    text = str(path)
    if len(text) > _MAX_PATH_LENGTH:
        text = f"{text[:60]}...{text[-30:]} ({len(text)} characters)"
    return printable(text)


_MAX_PATH_LENGTH = 500


def _removed(path: Path) -> Path | None:
    """Return the outermost missing folder of a path; None if its parent exists."""
    missing = None
    for folder in path.parents:
        if folder.exists():
            break
        missing = folder
    return missing
