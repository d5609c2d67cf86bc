"""Run folders, `runs/<command>/<date>_<time>_<name>`: made when sure to be used, complete in themselves."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from segtrain.errors import CheckpointError, ResourceError, SegtrainError
from segtrain.process.guard import announce
from segtrain.process.memory import out_of_memory
from segtrain.reading import parse_json
from segtrain.runs.files import read_file
from segtrain.storage import disk_error, lock, write_atomically

RUNS = Path("runs")
_held: list[Path] = []  # the run folder that this process has held last


@contextmanager
def new_run_folder(command: str, name: str, keep_if: str) -> Iterator[Path]:
    """Make a run folder of its own, and take it away again if a user's error ends the command early.

    Args:
        command: Its first part, such as "train".
        name: Its last part.
        keep_if: A file or folder; once it exists below the run folder, an error leaves the folder in place.

    Raises:
        ResourceError: The folder cannot be made.
    """
    parent = RUNS / command
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}"
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = _make_first_free(parent, stem)
    except OSError as error:
        _remove_empty(made)
        raise ResourceError(
            f"cannot make a run folder in {parent.resolve()}: {error.strerror}. Fix: run segtrain in a folder that you "
            f"may write to, under a plain name"
        ) from error
    announce(folder, keep_if)
    try:
        yield folder
    except BaseException as error:
        is_users = isinstance(error, SegtrainError | KeyboardInterrupt | OSError) or out_of_memory(error) is not None
        if is_users and not (folder / keep_if).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _remove_empty(made)
        raise


@contextmanager
def only_process(run: Path) -> Iterator[None]:
    """Hold a run folder for this process alone, as long as it lives; its death releases the folder, however it comes.

    Raises:
        CheckpointError: Another process holds it.
        ResourceError: The folder cannot be written.
    """
    path = run / "lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror}. Fix: make the run folder writable") from error
    try:
        try:
            is_free = lock(file)
        except OSError as error:
            raise disk_error(path, error) from error
        if not is_free:
            raise CheckpointError(
                f"{run} is in use by {_named(os.read(file, 200))}, expected one process per run. Fix: wait for it, or "
                f"stop it first"
            )
        os.ftruncate(file, 0)
        since = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        os.write(file, f"process {os.getpid()} on {platform.node()} since {since}\n".encode())
        _held[:] = [run]
        yield
    finally:
        os.close(file)


def last_held() -> Path | None:
    """Name the run folder that this process has held last, once, for the table of a sweep; None where it is gone."""
    run = _held.pop() if _held else None
    return run if run is not None and run.is_dir() else None


def discard(folder: Path) -> None:
    """Take a run folder away again, and `runs` itself where nothing else is in it."""
    shutil.rmtree(folder)
    _remove_empty([folder.parent, RUNS])


def holder(run: Path) -> str | None:
    """Say which process holds a run folder, without holding it itself; None where none does."""
    try:
        file = os.open(run / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # there is none, or what is there is no lock of a run
        return None
    try:
        # Released at once, as the file closes.
        return None if lock(file, shared=True) else _named(os.read(file, 200))
    except OSError:  # a disk without locks
        return None
    finally:
        os.close(file)


def _named(lock: bytes) -> str:
    text = lock.decode(errors="replace").strip()
    return text if text and text.isprintable() else "another process"


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, that are there and hold nothing."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def newest_run() -> Path:
    """Return the newest training run under `runs` that has a checkpoint.

    Raises:
        CheckpointError: There is none.
    """
    parent = RUNS / "train"
    found = [path.parent.parent for path in parent.glob("*/checkpoints/step-*")]
    if not found:
        raise CheckpointError(
            f"no training run with a checkpoint in {parent.resolve()}. Fix: segtrain train, or name one: run=DIR"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def require_run(path: str | Path) -> Path:
    """Return `path` if it is the folder of a training run.

    Raises:
        CheckpointError: It is not.
    """
    folder = Path(path).expanduser()
    missing = [name for name in ("config.yaml", "classes.json", "checkpoints") if not (folder / name).exists()]
    if missing:
        seen = "no such folder" if not folder.is_dir() else f"it lacks {', '.join(missing)}"
        raise CheckpointError(
            f"not a training run: {folder}: {seen}. Fix: name a folder that segtrain train has printed"
        )
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON; NaN becomes null beforehand at the caller's.

    Raises:
        ResourceError: It cannot be written.
    """
    write_atomically(path, as_json(content))


def as_json(content: Any) -> bytes:
    """Encode as readable JSON; NaN is refused."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a run folder's own JSON file.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        return parse_json(read_file(path))
    except (OSError, ValueError) as error:
        seen = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot read {path}: {seen}. Fix: name another run") from error


def _make_first_free(parent: Path, stem: str) -> Path:
    """Make `stem`, or `stem-2`, `stem-3`, ... where another run has just taken it."""
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
