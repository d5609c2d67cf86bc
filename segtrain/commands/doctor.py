"""`segtrain doctor`: report whether a run can resume, and from where. Changes nothing; does not start TensorFlow."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from segtrain.builders.changes import changes_of
from segtrain.builders.files_of_run import Row, classes_row, config_row, metrics_rows, other_rows
from segtrain.config import build, read_stored, recorded_config
from segtrain.config.stored import require_drawn
from segtrain.data.loading.crops import spread
from segtrain.errors import CheckpointError, ConfigError, SegtrainError, naming
from segtrain.runs.checkpoint import Checkpoint, damages, find_checkpoints, leftovers
from segtrain.runs.disk_space import RESERVE_BYTES
from segtrain.runs.environment import differences, installed
from segtrain.runs.folder import holder, newest_run, require_run
from segtrain.runs.manifest import MANIFEST, require_run_metadata
from segtrain.terminal import printable, printable_lines

_STYLES = {"ok": "green", "note": "yellow", "bad": "bold red"}


def doctor(cfg: DictConfig) -> None:
    """Examine a run; print what was found and what `resume=` would do.

    Raises:
        CheckpointError: It can neither resume nor is it finished.
    """
    run = newest_run() if cfg.run is None else Path(cfg.run).expanduser()
    folder = run / "checkpoints"
    if not folder.is_dir():
        require_run(run)
    checkpoints, newest = _checkpoint_rows(folder)
    stored, read = _read_config(run, cfg.trusted_modules, newest)
    is_finished = (
        newest is not None and stored is not None and newest.metadata["progress"]["epochs_done"] >= stored.epochs
    )
    around = [*read, *_surroundings(run, newest), *other_rows(run)]
    if newest is not None and stored is not None and not is_finished:
        around.append(_likeness(stored, newest))
    _print(run, checkpoints, around)
    # A finished run needs neither room nor its data.
    bad = [] if is_finished else [row for row in around if row.verdict == "bad"]
    if newest is None:
        bad.insert(0, Row("bad", "checkpoints", "none is intact", "start a new run"))
    if bad:
        found = "; ".join(f"{row.name}: {row.found}" for row in bad)
        raise CheckpointError(f"{run} cannot resume: {printable(found)}. Fix: {bad[0].fix}")
    if newest is not None and stored is not None:
        print(printable_lines(_outlook(run, newest, stored.epochs, is_finished)))


def _checkpoint_rows(folder: Path) -> tuple[list[Row], Checkpoint | None]:
    """Read every byte of every checkpoint; also return the newest that is intact."""
    rows, newest = [], None
    found = find_checkpoints(folder)
    best = [checkpoint for checkpoint in found if checkpoint.is_best][-1:]
    for checkpoint in found:
        try:
            require_run_metadata(checkpoint.path, checkpoint.metadata)
        except CheckpointError as error:
            rows.append(Row("note", checkpoint.path.name, _first(error)))
            continue
        about = _about(checkpoint, is_best=checkpoint in best)
        try:
            checkpoint.arrays()
        except CheckpointError as error:
            rows.append(Row("note", checkpoint.path.name, f"{about}; {_first(error)}"))
        else:
            newest = checkpoint
            rows.append(Row("ok", checkpoint.path.name, f"{about}; every byte as written"))
    rows += [Row("note", path.name, damage.partition(". Fix: ")[0]) for path, damage in damages(folder).items()]
    rows += [Row("note", path.name, "left by a killed process, removed at resume") for path in leftovers(folder)]
    # "~" sorts after "-": of one step, what is not validated yet comes first.
    return sorted(rows, key=lambda row: row.name.rpartition("step-")[2] + "~"), newest


def _about(checkpoint: Checkpoint, *, is_best: bool) -> str:
    progress = checkpoint.metadata["progress"]
    size = sum(path.stat().st_size for path in checkpoint.path.iterdir())
    found = [f"step {checkpoint.step}", f"{_epochs(progress['epochs_done'])} done", f"{size / 1e6:.1f} MB"]
    if is_best and checkpoint.metadata["best"] is not None:
        found.append(f"the best: {checkpoint.metadata['monitor']} {checkpoint.metadata['best']:.4f}")
    return ", ".join(found)


def _read_config(
    run: Path, trusted_modules: Sequence[str], newest: Checkpoint | None
) -> tuple[DictConfig | None, list[Row]]:
    """Read the files of a run that resuming needs, other than checkpoints."""
    stored, rows = None, []
    try:
        stored, taken = read_stored(run, trusted_modules)
        if not isinstance(stored.get("epochs"), int) or "dataset" not in stored:
            stored = None
            raise CheckpointError("no epochs or no dataset in it. Fix: start a new run")
        rows.append(config_row(run, stored, newest, f"can be read, {_epochs(stored.epochs)}"))
        rows += [Row("note", key, message.partition(". Fix: ")[0]) for key, message in taken.items()]
    except (CheckpointError, ConfigError) as error:
        rows.append(Row("bad", "config.yaml", _first(error), f"restore {run / 'config.yaml'}, or start a new run"))
    return stored, [*rows, classes_row(run, newest)]


def _surroundings(run: Path, newest: Checkpoint | None) -> Iterator[Row]:
    """Look at the lock, the log and the disk."""
    if (process := holder(run)) is not None:
        yield Row("bad", "lock", f"in use by {process}", "wait for it, or stop it first")
    elif not os.access(run, os.W_OK):
        yield Row("bad", "lock", "the folder may not be written", f"make {run} writable")
    else:
        yield Row("ok", "lock", "no process holds the run")
    if newest is None:
        return
    yield from metrics_rows(run, newest.metadata["progress"]["history"])
    size = sum(path.stat().st_size for path in newest.path.iterdir())
    free = shutil.disk_usage(run).free
    found = f"{free / 1e6:.0f} MB free, a checkpoint takes {size / 1e6:.1f} MB"
    if free < size + RESERVE_BYTES:
        yield Row("bad", "disk", found, f"free {(size + RESERVE_BYTES - free) / 1e6:.0f} MB on the disk of {run}")
    else:
        yield Row("ok", "disk", found)


def _likeness(stored: DictConfig, newest: Checkpoint) -> Row:
    """Report whether the data are those of the run, and whether it would resume bit-exactly."""
    then = newest.metadata["fingerprint"]
    try:
        require_drawn(stored, ())
        with naming("dataset"):
            now = installed(spread(build(stored.dataset).samples("train"), stored.get("limit_samples")))
    except SegtrainError as error:
        return Row("bad", "data", _first(error), "restore the data, or give resume with dataset.root=DIR")
    if then["data"] != now["data"]:
        fix = f"restore the data, or start a new run with weights={newest.path.parent.parent}"
        return Row("bad", "data", f"trained on {then['data']}, now {now['data']}", fix)
    try:
        changes = changes_of(recorded_config(newest.metadata["config"], newest.path / MANIFEST), stored)
    except (CheckpointError, ConfigError) as error:
        return Row("bad", "config.yaml", _first(error), "undo it in the file")
    if reasons := [*changes, *differences({name: then.get(name) for name in now}, now)]:
        return Row("note", "exactness", f"not bit-exact because: {'; '.join(reasons)}")
    since = newest.metadata["exact_until"]
    known = "" if since is None else f" since step {since}, where something changed"
    return Row("ok", "exactness", f"bit-exact{known}, unless threads or devices differ; same data and versions")


def _print(run: Path, checkpoints: Sequence[Row], around: Sequence[Row]) -> None:
    table = Table(title=printable(str(run)), show_header=False, title_justify="left")
    for rows in (checkpoints or [Row("bad", "checkpoints", "missing")], around):
        for row in rows:
            table.add_row(f"[{_STYLES[row.verdict]}]{row.verdict}[/]", _plain(row.name), _plain(row.found))
        table.add_section()
    Console(highlight=False).print(table)


def _outlook(run: Path, newest: Checkpoint, epochs: int, is_finished: bool) -> str:
    done = newest.metadata["progress"]["epochs_done"]
    if is_finished:
        return f"finished: {done} of {_epochs(epochs)} done; score it with: segtrain eval run={run}"
    return (
        f"resumes after step {newest.step}, in epoch {done + 1} of {epochs}, from {newest.path.name}: "
        f"segtrain train resume={run}"
    )


def _plain(text: str) -> str:
    """Keep rich from reading brackets as its markup."""
    return printable(text).replace("[", r"\[")


def _first(error: Exception) -> str:
    return str(error).partition(". Fix: ")[0]


def _epochs(number: int) -> str:
    return f"{number} epoch{'' if number == 1 else 's'}"


def _lines(number: int) -> str:
    return f"{number} line{'' if number == 1 else 's'}"
