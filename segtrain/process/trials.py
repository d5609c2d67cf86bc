"""The link from the process of a trial to the command whose study it belongs to. No TensorFlow, no Optuna here.

Two pipes: lines of JSON from the trial, and a line of JSON back for each score.
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

VARIABLE = "SEGTRAIN_TRIAL"  # the descriptors to read from and to write to
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Child:
    """A trial's process, seen from the command whose study it belongs to.

    Args:
        words: Its command line.
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
        """Yield what the trial reports, until its process ends."""
        for line in self._reports:
            yield json.loads(line)

    def answer(self, should_prune: bool) -> None:
        """Answer a score."""
        with suppress(BrokenPipeError):
            print(json.dumps(should_prune), file=self._answers, flush=True)

    def terminate(self) -> None:
        """Ask the process to save itself and end."""
        self._process.terminate()

    def end(self) -> int:
        """Wait for the end of the process; return its exit code, below 0 that of a signal."""
        code = self._process.wait()
        self._reports.close()
        with suppress(BrokenPipeError):
            self._answers.close()
        return code


class Link:
    """The trial's end of the pipes.

    Args:
        answers: Descriptor to read from.
        reports: Descriptor to write to.
    """

    def __init__(self, answers: int, reports: int) -> None:
        self._answers, self._reports = os.fdopen(answers), os.fdopen(reports, "w")

    def report(self, **facts: Any) -> None:
        """Send facts on the trial: `run`, `value` or `error`. Where nobody reads any more, nothing happens."""
        with suppress(BrokenPipeError):
            print(json.dumps(facts), file=self._reports, flush=True)

    def should_prune(self, epoch: int, score: float, is_last: bool) -> bool:
        """Report a validation score; return whether the trial is to end with it."""
        self.report(epoch=epoch, score=score, is_last=is_last)
        return self._answers.readline().strip() == "true"


@functools.cache
def link() -> Link | None:
    """Return the link to the study; None where this process runs no trial."""
    text = os.environ.pop(VARIABLE, None)  # processes that this one starts are no trials
    if text is None:
        return None
    descriptors = [int(word) for word in text.split(",")]
    for each in descriptors:
        os.set_inheritable(each, False)
    with suppress(OSError, AttributeError):  # another system than Linux
        # A study that is killed ends its trials: each saves itself, and the next command resumes it.
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    return Link(*descriptors)


def report(**facts: Any) -> None:
    """Send facts to the study, where this process runs a trial; what is no finite number becomes null."""
    if (found := link()) is not None:
        finite = {
            name: None if isinstance(each, float) and not math.isfinite(each) else each for name, each in facts.items()
        }
        found.report(**finite)
