"""Sweeps: what became of each job, whichever process or machine it ran in, and the table of them.

Jobs report through files below the folder of the sweep, since a launcher brings back no more than a value or an error.
"""

import csv
import io
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from segtrain.errors import ResourceError
from segtrain.reading import load_json
from segtrain.runs import folder as runs
from segtrain.storage import write_atomically
from segtrain.training.signals import stop_signals

TABLE = "jobs.csv"
_RECORD = "job.json"
_PATIENCE = 25.0  # seconds, less than the 30 that Slurm and Kubernetes give
LOST = "its process exited without reporting: killed, out of memory, or timed out"


class Job(NamedTuple):
    """One job of a sweep.

    Attributes:
        number: Its number in the sweep, from 0.
        overrides: All of its own, including those of the complete sweep.
        score: What the value is called, such as "val_mean_iou"; None where the command has no score.
        value: What the command has returned, if that is a finite number.
        error: Why it failed; None where it did not.
        exit_code: That the command would have ended with alone.
        run: Its run folder, if it had one.
        seconds: From its beginning to its end.
        process: The id of its process, on the machine that it ran on.
        pruned: Whether its study has ended it before its last epoch.
    """

    number: int
    overrides: list[str]
    score: str | None = None
    value: float | None = None
    error: str | None = LOST  # until it reports otherwise
    exit_code: int = ResourceError.exit_code
    run: str | None = None
    seconds: float | None = None
    process: int | None = None
    pruned: bool = False


class Recorder:
    """Report on one job from within it; the first report holds if its process exits without another.

    Args:
        folder: The job's own, below that of the sweep.
        number: Its number in the sweep.
        overrides: Its own.
        score: What its value is called.
    """

    def __init__(self, folder: Path, number: int, overrides: Sequence[str], score: str | None) -> None:
        self._path = folder / _RECORD
        self._job = Job(number, list(overrides), score, process=os.getpid())
        self._start = time.monotonic()
        self._write()

    def succeed(self, value: Any) -> None:
        """Tell what the command has returned."""
        number = float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
        self._end(value=number, error=None, exit_code=0)

    def fail(self, error: str, exit_code: int) -> None:
        """Tell why the command has failed."""
        self._end(error=error, exit_code=exit_code)

    def _end(self, **values: Any) -> None:
        held = runs.last_held()
        seconds = round(time.monotonic() - self._start, 1)
        self._job = self._job._replace(run=None if held is None else str(held), seconds=seconds, **values)
        self._write()

    def _write(self) -> None:
        write_job(self._path.parent, self._job)


@contextmanager
def passing_on_signals(folder: Path) -> Iterator[None]:
    """Let a signal that ends a sweep end its jobs first, where a launcher runs them in processes of this machine.

    Each saves its state, as a single run does. A training run in this process handles the signal itself. A second
    signal waits for nothing.

    Args:
        folder: Of the sweep.

    Raises:
        KeyboardInterrupt: It was Ctrl-C; when the jobs have ended or `_PATIENCE` is over.
        SystemExit: It was another; then, too, with what a shell gives the signal.
    """
    ending = stop_signals()

    def end(number: int, frame: FrameType | None) -> None:
        for each in ending:
            signal.signal(each, signal.SIG_DFL)
        children = _children()
        for child in children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        while any(job.seconds is None and job.process in children for job in jobs(folder)):
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    try:
        earlier = {number: signal.signal(number, end) for number in ending}
    except ValueError:  # not the main thread
        earlier = {}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _children() -> list[int]:
    """Processes that this one has started, whoever of its threads it was."""
    paths = Path("/proc/self/task").glob("*/children")
    return [int(word) for path in paths for word in path.read_text().split()]


@contextmanager
def sweep_folder(command: str, overrides: Sequence[str]) -> Iterator[Path]:
    """Make the folder of a sweep: `runs/sweeps/<date>_<time>_<command>`, or the folder of `hydra.sweep.dir=`.

    It goes again where no job has left a run and no launcher or sweeper of its own has been there: then nothing in it
    reports more than the screen did.

    Args:
        command: Which the jobs run.
        overrides: Of the command line.

    Raises:
        ResourceError: It cannot be made.
    """
    given = [word.partition("=")[2].strip("'\"") for word in overrides if word.startswith("hydra.sweep.dir=")]
    elsewhere = any(word.startswith(("+sweep=", "hydra/launcher=", "hydra/sweeper=")) for word in overrides)
    if given:
        yield Path(given[-1])
    elif command == "train" or elsewhere:
        with runs.new_run_folder("sweeps", command, keep_if=TABLE) as folder:
            try:
                yield folder
            finally:
                found = jobs(folder)
                if not found or not (elsewhere or any(job.run for job in found)):
                    runs.discard(folder)
    else:  # any other command leaves nothing but what its jobs leave, and works where no folder can be made
        with tempfile.TemporaryDirectory(prefix="segtrain-sweep-") as scratch:
            yield Path(scratch)


def jobs(folder: Path) -> list[Job]:
    """Read the reports of a sweep's jobs so far, in their order."""
    return sorted(job for path in folder.glob(f"*/{_RECORD}") if (job := read_job(path.parent)) is not None)


def read_job(folder: Path) -> Job | None:
    """Read the record of one job; None if it is missing or damaged."""
    with suppress(OSError, ValueError, TypeError):
        return Job(**load_json(folder / _RECORD))
    return None


def write_job(folder: Path, job: Job) -> None:
    """Write the record of one job."""
    runs.write_json(folder / _RECORD, job._asdict())


def exit_code(found: Sequence[Job]) -> int:
    """Return that of the first job that failed, else 0."""
    return next((job.exit_code for job in found if job.exit_code), 0)


def write_table(folder: Path, found: Sequence[Job], given: Sequence[str]) -> None:
    """Write the jobs as a table for programs: all that is known of each, but the overrides that are `given` to all."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Job._fields)
    for job in found:
        writer.writerow(job._replace(overrides=" ".join(_own(job, found, given)))._asdict().values())  # type: ignore[arg-type]
    write_atomically(folder / TABLE, text.getvalue().encode())


def table(found: Sequence[Job], given: Sequence[str], lower_is_better: bool = False) -> str:
    """Lay the jobs out for the screen: score, what each had for itself, and its run folder or its error.

    Args:
        found: The jobs.
        given: Overrides of the command line, which need no repeating.
        lower_is_better: Whether the best job is that of the lowest score.
    """
    if not any(job.error is not None or job.value is not None for job in found):
        return ""  # each job has printed its own result
    score = next((job.score for job in found if job.score), "result")
    rows = [("job", score, "overrides", "run folder or error")]
    for job in found:
        value = (
            "failed" if job.error is not None and job.exit_code else "-" if job.value is None else f"{job.value:.4f}"
        )
        last = " ".join((job.error or job.run or "").split()) + (" (pruned)" if job.pruned else "")
        rows.append((str(job.number), value, " ".join(_own(job, found, given)), last))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:>{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}".rstrip() for row in rows]
    if scored := [job for job in found if job.value is not None and not job.pruned]:
        best = (min if lower_is_better else max)(scored, key=lambda job: job.value or 0.0)
        lines.append(f"best: job {best.number}" + (f", {best.run}" if best.run else ""))
    return "".join(f"{line}\n" for line in lines)


def _own(job: Job, found: Sequence[Job], given: Sequence[str]) -> list[str]:
    """Overrides of a job that were not given to all: a sweep over one value, or one that is written in another way."""
    return [
        word
        for word in job.overrides
        if word not in given and (len(found) == 1 or any(word not in other.overrides for other in found))
    ]
