"""Create, lock, find and validate run folders, `runs/<command>/<date>_<time>_<name>`."""

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
from segtrain.shell import command, override
from segtrain.storage import disk_error, lock, write_atomically

RUNS = Path("runs")
_held: list[Path] = []  # the run folder that this process locked most recently


@contextmanager
def new_run_folder(command: str, name: str, keep_if: str) -> Iterator[Path]:
    """Create a new run folder; remove it if an error that a user can fix ends the command early.

    Args:
        command: Name of the command, such as "train"; the parent folder.
        name: Last part of the folder's name.
        keep_if: Path relative to the run folder; once it exists, the folder is kept on errors.

    Raises:
        ResourceError: The folder cannot be created.
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
            f"cannot create a run folder in {parent.resolve()}: {error.strerror}. Fix: run segtrain in a writable "
            f"folder, with a short plain name"
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
    """Lock a run folder for this process; the lock is released when the context or the process ends, even by a kill.

    Raises:
        CheckpointError: Another process holds the lock.
        ResourceError: The folder is not writable.
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
                f"{run} is in use by {_named(os.read(file, 200))}, expected one process per run. Fix: wait until it "
                f"ends, or stop it"
            )
        os.ftruncate(file, 0)
        since = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        os.write(file, f"process {os.getpid()} on {platform.node()} since {since}\n".encode())
        _held[:] = [run]
        yield
    finally:
        os.close(file)


def last_held() -> Path | None:
    """Return, once, the run folder that this process locked last, for the table of a sweep; None if it was removed."""
    run = _held.pop() if _held else None
    return run if run is not None and run.is_dir() else None


def discard(folder: Path) -> None:
    """Remove a run folder, and `runs` itself if it is then empty."""
    shutil.rmtree(folder)
    _remove_empty([folder.parent, RUNS])


def holder(run: Path) -> str | None:
    """Describe the process that has locked a run folder, without locking it; None if it is not locked."""
    try:
        file = os.open(run / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # missing, or not a lock file
        return None
    try:
        # The shared lock is released when the file closes below.
        return None if lock(file, shared=True) else _named(os.read(file, 200))
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(file)


def _named(lock: bytes) -> str:
    text = lock.decode(errors="replace").strip()
    return text if text and text.isprintable() else "another process"


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, innermost first, that exist and are empty."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def newest_run() -> Path:
    """Return the newest training run under `runs` that has a checkpoint.

    Raises:
        CheckpointError: No run has a checkpoint.
    """
    parent = RUNS / "train"
    found = [path.parent.parent for path in parent.glob("*/checkpoints/step-*")]
    if not found:
        raise CheckpointError(
            f"no training run with a checkpoint in {parent.resolve()}. Fix: segtrain train, or set run=DIR"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def newest_evaluation(run: Path | None = None) -> Path:
    """Return the newest evaluation under `runs`.

    Args:
        run: Run folder that it must be of; None for any.

    Raises:
        CheckpointError: There is none.
    """
    found = sorted((RUNS / "eval").glob("*/scores.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        if run is None or evaluated_run(path.parent) == run.resolve():
            return path.parent
    fix = "segtrain eval" if run is None else command("segtrain", "eval", override("run", run))
    raise CheckpointError(
        f"no evaluation{'' if run is None else f' of {run}'} in {(RUNS / 'eval').resolve()}. Fix: {fix}"
    )


def evaluated_run(folder: Path) -> Path | None:
    """Return the run folder that an evaluation names; None if its `scores.json` cannot be read."""
    try:
        found = read_json(folder / "scores.json")
    except CheckpointError:
        return None
    run = found.get("run") if isinstance(found, dict) else None
    return Path(run) if isinstance(run, str) else None


def require_run(path: str | Path) -> Path:
    """Return `path` if it is the folder of a training run.

    Raises:
        CheckpointError: The folder or one of its files is missing.
    """
    folder = Path(path).expanduser()
    missing = [name for name in ("config.yaml", "classes.json", "checkpoints") if not (folder / name).exists()]
    if missing:
        seen = f"missing {', '.join(missing)}" if folder.is_dir() else "no such folder"
        raise CheckpointError(
            f"not a training run: {folder}: {seen}. Fix: choose a run folder printed by segtrain train"
        )
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON. Callers replace NaN by None first.

    Raises:
        ResourceError: The file cannot be written.
    """
    write_atomically(path, as_json(content))


def as_json(content: Any) -> bytes:
    """Encode as indented JSON; NaN raises ValueError."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return parse_json(read_file(path))
    except (OSError, ValueError) as error:
        seen = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot read {path}: {seen}. Fix: choose another run") from error


def _make_first_free(parent: Path, stem: str) -> Path:
    """Create folder `stem`, or `stem-2`, `stem-3`, ... if the name is taken."""
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
