"""Every call by which checkpoints touch a disk, one method each, so that tests can fail or kill at any of them."""

import os
import shutil
from pathlib import Path
from typing import final

from segtrain.storage import write_all

# Written at a time: a signal is not kept waiting, and a full disk shows before all is written.
_CHUNK = 4 << 20


@final
class Disk:
    """The disk itself. All methods raise OSError."""

    def create_folder(self, path: Path) -> None:
        path.mkdir(parents=True)

    def create_file(self, path: Path) -> int:
        """Create a file that must not exist, and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def write(self, file: int, data: memoryview) -> int:
        return os.write(file, data[:_CHUNK])

    def sync(self, file: int) -> None:
        os.fsync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder last: files made in it, renamed into it or out of it."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def remove_file(self, path: Path) -> None:
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        path.rmdir()

    def free_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).free


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Write a file that must not exist, and flush it. Raises OSError, a full disk's where nothing more is taken."""
    file = disk.create_file(path)
    try:
        write_all(file, data, disk.write)
        disk.sync(file)
    finally:
        disk.close(file)


def remove_files(disk: Disk, path: Path) -> None:
    """Remove a folder of files, if it is there; of a link to a folder, the link alone."""
    if path.is_symlink():
        disk.remove_file(path)
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            disk.remove_file(entry)
        disk.remove_folder(path)
