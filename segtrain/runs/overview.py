"""One line about a run, from its newest manifest: fast, and without building anything."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from segtrain.errors import CheckpointError
from segtrain.runs.checkpoint import damages, find_checkpoints
from segtrain.runs.folder import holder
from segtrain.runs.manifest import require_run_metadata

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)_?(.*)")


class Overview(NamedTuple):
    """A run as a row of a table.

    Attributes:
        folder: The run folder.
        started: Date and time in its name; empty for another name.
        name: The last part of its name.
        best: Best value of the monitored score; None before the first validation.
        monitor: Name of that score.
        epochs_done: Completed epochs.
        epochs: Epochs of the config; None if unknown.
        step: Completed steps.
        state: finished, interrupted (resume continues it), running, no checkpoint, or damaged.
        num_bytes: Size of its files.
    """

    folder: Path
    started: str
    name: str
    best: float | None = None
    monitor: str = ""
    epochs_done: int = 0
    epochs: int | None = None
    step: int = 0
    state: str = "no checkpoint"
    num_bytes: int = 0


def overview(folder: Path) -> Overview:
    """Describe a folder; one that is not a run, or is damaged, is described as such."""
    match = _DATE.fullmatch(folder.name)
    started, name = (f"{match[1]} {match[2]}:{match[3]}", match[5]) if match else ("", folder.name)
    row = Overview(folder, started, name, num_bytes=_size(folder))
    is_held = holder(folder) is not None
    try:
        checkpoints = find_checkpoints(folder / "checkpoints")
        if not checkpoints:
            state = "damaged" if damages(folder / "checkpoints") else "running" if is_held else row.state
            return row._replace(state=state)
        newest = checkpoints[-1]
        require_run_metadata(newest.path, newest.metadata)
    except (CheckpointError, OSError):
        return row._replace(state="damaged")
    found = newest.metadata
    epochs = re.search(r"^epochs: (\d{1,9})$", str(found.get("config")), re.MULTILINE)
    total, done = int(epochs[1]) if epochs else None, int(found["progress"]["epochs_done"])
    best = found.get("best")
    return row._replace(
        best=float(best) if isinstance(best, int | float) else None,
        monitor=str(found.get("monitor", "")),
        epochs_done=done,
        epochs=total,
        step=newest.step,
        state="running" if is_held else "finished" if total is not None and done >= total else "interrupted",
    )


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a file that a running command has removed since
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
