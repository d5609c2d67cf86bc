"""Files written complete or not at all, file locks, and disk errors in one line that names file, folder and room."""

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
    """Turn an error of the disk into one line.

    Args:
        path: What is written within.
        needed: Bytes that are to be written, where known.

    Raises:
        ResourceError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(path, error, needed) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a name of its own first, so that a kill or a full disk leaves the old one or the new one.

    Raises:
        ResourceError: It cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        # Not through a link that someone else has left under this name.
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
    """Write all bytes to an open file, however many calls that takes; `write` stands for `os.write`.

    Raises:
        OSError: It cannot be written; that of a full disk where no more bytes are taken.
    """
    rest = memoryview(data)
    while rest:
        written = (write or os.write)(file, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


def write_png(path: Path, picture: Any, **options: Any) -> None:
    """Write a picture of Pillow's as PNG, and the folder that it goes to.

    Raises:
        ResourceError: It cannot be written.
    """
    data = io.BytesIO()
    picture.save(data, "PNG", **options)
    make_folder(path.parent)
    write_atomically(path, data.getvalue())


def make_folder(path: Path) -> None:
    """Make a folder, and those that it lies in, where they are missing.

    Raises:
        ResourceError: It cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def append(path: Path, data: bytes) -> None:
    """Append to a file; where not all of it can be written, none is.

    Raises:
        ResourceError: It cannot be written.
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
    """Lock an open file or folder until it is closed, or until the process ends in whatever way.

    Args:
        file: Its descriptor.
        shared: Whether other processes may hold it as well, shared.
        wait: Whether to wait for a process that holds it.

    Returns:
        Whether it is locked; False where another process holds it.

    Raises:
        OSError: The disk has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while open; other processes that call this wait.

    Raises:
        OSError: It cannot be opened, or its disk has no locks.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock(file, wait=True)
        yield
    finally:
        os.close(file)


def disk_error(path: Path | str, error: OSError, needed: int | None = None) -> ResourceError:
    """Make the one line for an error of the disk.

    Args:
        path: The file or folder that was written.
        error: What the system reports.
        needed: Bytes that were to be written, where known.
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
    """Make the one line for a folder that was removed while a command wrote to it."""
    return ResourceError(
        f"{named(folder)} was removed while the command was writing to it, expected a folder that stays. Fix: start "
        f"the command again"
    )


def amount(count: int) -> str:
    """Write a number of bytes for a message."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


def named(path: Path | str) -> str:
    """Write a path for a message: on one line, shortened where it is longer than any file's."""
    text = str(path)
    if len(text) > _LONGEST:
        text = f"{text[:60]}...{text[-30:]} ({len(text)} characters)"
    return printable(text)


_LONGEST = 500


def _removed(path: Path) -> Path | None:
    """Find the outermost folder of a path that is missing."""
    missing = None
    for folder in path.parents:
        if folder.exists():
            break
        missing = folder
    return missing
