"""File operations of checkpoints, one method each, so that tests can fail or kill the process at any of them."""

import os
import shutil
from pathlib import Path
from typing import final

from segtrain.storage import write_all

# Bytes per write: signals are handled in between, and a full disk is noticed early.
_CHUNK = 4 << 20


@final
class Disk:
    """Operations on the real file system. All methods raise OSError."""

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
        """Flush a folder's entries to disk, so that created and renamed files survive a crash."""
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
    """Write and flush a new file. Raises OSError if it exists, or if the disk is full."""
    file = disk.create_file(path)
    try:
        write_all(file, data, disk.write)
        disk.sync(file)
    finally:
        disk.close(file)


def remove_files(disk: Disk, path: Path) -> None:
    """Remove a folder of files if it exists; of a symbolic link, only the link."""
    if path.is_symlink():
        disk.remove_file(path)
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            disk.remove_file(entry)
        disk.remove_folder(path)
