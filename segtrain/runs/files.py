"""Files of a run folder, which may come from a stranger: read within bounds, and never written through a link."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from segtrain.errors import CheckpointError
from segtrain.reading import read_regular
from segtrain.shell import command, quote

MOST_BYTES = 64 << 20  # of a text that segtrain writes: a manifest with the history of 100,000 epochs
# All that a run writes at the top of its folder; what a kill has left of a file is `.NAME.part`.
CONFIG, CLASSES = "config.yaml", "classes.json"
FILES = (CONFIG, CLASSES, "metrics.jsonl", "metrics.csv", "train.log", "lock", "wandb_id", "mlflow_id")
FOLDERS = ("checkpoints", "plots", "tensorboard", "wandb")
# Written in place, so that another name of the same file would change with it.
_IN_PLACE = ("train.log", "lock")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a regular file; a pipe or a device is refused without waiting on it.

    Args:
        path: The file; links are followed, as some stores of runs consist of them.
        most: Larger files are refused, in bytes.

    Raises:
        OSError: The file cannot be read, is no regular file, or is larger.
    """
    return read_regular(path, most)


def require_regular(run: Path) -> None:
    """Refuse a run folder in which writing would reach beyond it, or wait forever.

    Raises:
        CheckpointError: Something is a link, a pipe, a device or a file of several names; the first is named.
    """
    for path, found, fix in irregular(run):
        raise CheckpointError(
            f"{path}: {found}, expected a file or folder of the run's own, as the run is written to. Fix: {fix}"
        )


def irregular(run: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield each path of a run folder that must not be written to, what it is, and a command that fixes it."""
    for name in FILES:
        for path in (run / name, run / f".{name}.part"):
            yield from _irregular(path, stat.S_IFREG, name in _IN_PLACE)
    for name in FOLDERS:
        found = list(_irregular(run / name, stat.S_IFDIR))
        yield from found
        if not found and name != "wandb":  # which keeps links of its own below
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
        yield path, f"a file of {status.st_nlink} names (hard links)", replace


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a device")
