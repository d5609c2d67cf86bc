"""Untrusted files of a run folder: read with size limits, and never written through a link."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from segtrain.errors import CheckpointError
from segtrain.reading import read_regular
from segtrain.shell import command, quote
from segtrain.terminal import printable

MAX_FILE_BYTES = 64 << 20  # limit of a text file that segtrain writes: a manifest with the history of 100,000 epochs
# All files that a run writes at the top of its folder; a killed process may leave `.NAME.part`.
CONFIG, CLASSES = "config.yaml", "classes.json"
FILES = (CONFIG, CLASSES, "metrics.jsonl", "metrics.csv", "train.log", "lock", "wandb_id", "mlflow_id")
FOLDERS = ("checkpoints", "plots", "tensorboard", "wandb")
# Files written in place: a hard link to one would change with it.
_IN_PLACE = ("train.log", "lock")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def read_file(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file; reject pipes and devices without blocking on them.

    Args:
        path: Path of the file; symbolic links are followed, because some run stores consist of them.
        most: Maximum size in bytes.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is too large.
    """
    return read_regular(path, most)


def require_regular(run: Path) -> None:
    """Reject a run folder in which writing could change files outside of it, or block.

    Raises:
        CheckpointError: A file is a symbolic link, hard link, pipe or device; the message names the first.
    """
    for path, found, fix in irregular(run):
        raise CheckpointError(
            f"{path}: {found}, expected a regular file or folder inside the run, which is written to. Fix: {fix}"
        )


def irregular(run: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield each path of a run folder that must not be written to, its kind, and a command that fixes it."""
    for name in FILES:
        for path in (run / name, run / f".{name}.part"):
            yield from _irregular(path, stat.S_IFREG, name in _IN_PLACE)
    for name in FOLDERS:
        found = list(_irregular(run / name, stat.S_IFDIR))
        yield from found
        if not found and name != "wandb":  # wandb creates symbolic links in its folder
            yield from _irregular_below(run / name)


def _irregular_below(folder: Path) -> Iterator[tuple[Path, str, str]]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = folder / entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            yield from _irregular(path, stat.S_IFDIR if path.is_dir() else stat.S_IFREG)
            if is_folder:
                yield from _irregular_below(path)


def _irregular(path: Path, expected: int, is_in_place: bool = False) -> Iterator[tuple[Path, str, str]]:
    try:
        status = path.lstat()
    except OSError:
        return
    shown, copy = str(path), f"{path}.copy"
    replace = f"{command('cp', '-pRL', shown, copy)} && {command('mv', '-fT', copy, shown)}"
    if stat.S_ISLNK(status.st_mode):
        fix = f"{command('cp', '-pRL', shown, copy)} && {command('rm', shown)} && {command('mv', copy, shown)}"
        is_of_use = path.is_dir() if expected == stat.S_IFDIR else path.is_file()
        yield path, f"a symbolic link to {quote(os.readlink(path))}", fix if is_of_use else command("rm", shown)
    elif stat.S_IFMT(status.st_mode) != expected:
        is_kept = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
        fix = command("mv", shown, f"{path}.old") if is_kept else command("rm", shown)
        yield path, _kind(status.st_mode), fix
    elif is_in_place and status.st_nlink > 1:
        yield path, f"a file with {status.st_nlink} hard links", replace


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def require_inside(folder: Path, name: str) -> Path:
    """Return the path of a name below a folder.

    Raises:
        ValueError: The name, of a file that may come from a stranger, leads out of the folder.
    """
    path = folder / name
    if "\0" in name or not Path(os.path.normpath(path)).is_relative_to(folder):
        raise ValueError(f"the name {printable(name)} leads out of {printable(folder)}")
    return path
