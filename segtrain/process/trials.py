"""Communication between a trial's process and the command that runs its study. No TensorFlow, no Optuna here.

Two pipes: JSON lines from the trial, and one JSON line back for each reported score.
"""

import ctypes
import functools
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

VARIABLE = "SEGTRAIN_TRIAL"  # environment variable with the file descriptors to read from and write to
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Child:
    """A trial's process, as seen by the command that runs the study.

    Args:
        words: Command-line arguments of segtrain.
    """

    def __init__(self, words: Sequence[str]) -> None:
        answers, to_trial = os.pipe()
        from_trial, reports = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "segtrain", *words],
            stdin=subprocess.DEVNULL,
            pass_fds=(answers, reports),
            env={**os.environ, VARIABLE: f"{answers},{reports}"},
        )
        os.close(answers)
        os.close(reports)
        self._reports, self._answers = os.fdopen(from_trial), os.fdopen(to_trial, "w")
        self.pid = self._process.pid

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the trial's messages until its process ends."""
        for line in self._reports:
            yield json.loads(line)

    def answer(self, should_prune: bool) -> None:
        """Reply to a reported score whether the trial should be pruned."""
        with suppress(BrokenPipeError):
            print(json.dumps(should_prune), file=self._answers, flush=True)

    def terminate(self) -> None:
        """Send SIGTERM: the trial saves a checkpoint and ends."""
        self._process.terminate()

    def end(self) -> int:
        """Wait for the process to end; return its exit code, negative for a signal."""
        code = self._process.wait()
        self._reports.close()
        with suppress(BrokenPipeError):
            self._answers.close()
        return code


class Link:
    """The trial's end of the pipes.

    Args:
        answers: File descriptor to read replies from.
        reports: File descriptor to write messages to.
    """

    def __init__(self, answers: int, reports: int) -> None:
        self._answers, self._reports = os.fdopen(answers), os.fdopen(reports, "w")

    def report(self, **values: Any) -> None:
        """Send values of the trial, such as `run`, `value` or `error`; ignored if the study has ended."""
        with suppress(BrokenPipeError):
            print(json.dumps(values), file=self._reports, flush=True)

    def should_prune(self, epoch: int, score: float, is_last: bool) -> bool:
        """Report a validation score; return whether the trial should be pruned."""
        self.report(epoch=epoch, score=score, is_last=is_last)
        return self._answers.readline().strip() == "true"


@functools.cache
def link() -> Link | None:
    """Return the link to the study; None if this process does not run a trial."""
    text = os.environ.pop(VARIABLE, None)  # child processes of this one must not report as trials
    if text is None:
        return None
    descriptors = [int(word) for word in text.split(",")]
    for each in descriptors:
        os.set_inheritable(each, False)
    with suppress(OSError, AttributeError):  # not Linux
        # If the study is killed, its trials get SIGTERM: each saves a checkpoint, and the next command resumes it.
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    return Link(*descriptors)


def report(**values: Any) -> None:
    """Send values to the study if this process runs a trial; NaN and infinity become null."""
    if (found := link()) is not None:
        finite = {
            name: None if isinstance(each, float) and not math.isfinite(each) else each for name, each in values.items()
        }
        found.report(**finite)
