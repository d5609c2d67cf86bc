"""One command's work on a study: it asks for trials, runs each in a process, and reports to the study how it ended.

Several commands may work on one study at a time. Each holds the lock of a trial's folder until the trial has ended; a
trial that is running and whose lock is free was killed, so the next command asks for the same values again, and resumes
the run where it has a checkpoint.
"""

import itertools
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from segtrain import shell
from segtrain.cli import sweeps
from segtrain.cli.search_space import grid_values, overrides
from segtrain.cli.study import JOURNAL, NAME, Search, make_part, num_drawn, open_storage
from segtrain.errors import ConfigError, ResourceError
from segtrain.process import trials
from segtrain.runs import folder as runs
from segtrain.runs.checkpoint import find_checkpoints
from segtrain.storage import lock, locked
from segtrain.training.signals import watch_signals

_SECONDS_TO_SAVE = 60
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
    TrialState.WAITING: "waiting",
}
_LOST = ResourceError.exit_code  # of a trial whose process was killed


class Worker:
    """One command's work on a study.

    Args:
        folder: Of the sweep.
        search: What the study varies.

    Raises:
        ConfigError: The folder holds a study of other overrides.
    """

    def __init__(self, folder: Path, search: Search) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder, self._search = folder, search
        self._children: list[trials.Child] = []
        self._lock, self._stopping = threading.Lock(), False
        folder.mkdir(parents=True, exist_ok=True)
        pruner = make_part(optuna.pruners, search.settings["pruner"])
        with locked(folder):
            self._study = optuna.create_study(
                study_name=NAME,
                storage=open_storage(folder / JOURNAL),
                direction=search.settings["direction"],
                pruner=pruner,
                load_if_exists=True,
            )
            kept = {"given": search.given, "space": {key: str(each) for key, each in search.space.items()}}
            if not self._study.user_attrs:
                for name, content in kept.items():
                    self._study.set_user_attr(name, content)
                self._plan_grid()
            elif self._study.user_attrs != kept:
                raise ConfigError(
                    f"hydra.sweep.dir={folder}: its study is of {self._study.user_attrs}, expected {kept}. Fix: repeat "
                    f"its command, or give another hydra.sweep.dir"
                )

    def run(self) -> None:
        """Run trials until the study has as many as wanted.

        Raises:
            Stopped: A signal has asked for it, and each running trial is saved.
        """
        n_jobs = self._search.settings["n_jobs"]
        with watch_signals() as signals, ThreadPoolExecutor(n_jobs) as pool:
            slots = [pool.submit(self._work) for _ in range(n_jobs)]
            try:
                while wait(slots, timeout=0.2).not_done:
                    has_failed = any(slot.done() and slot.exception() for slot in slots)
                    if (signals.stop is not None or has_failed) and not self._stopping:
                        self._stop()
            except BaseException:
                self._stop()
                raise
        for slot in slots:
            slot.result()
        if signals.stop is not None:
            words = (*self._search.flags, *self._words(), f"hydra.sweep.dir={self._folder}")
            raise signals.stopped(f"; resume with: {shell.command('segtrain', 'train', *words)}")

    def summary(self) -> str:
        """Count the trials, and write the command that trains the best of them again."""
        found = self._study.get_trials(deepcopy=False)
        asked_again = {each.user_attrs.get("retry_of") for each in found}
        states = [_STATES[each.state] for each in found if each.number not in asked_again]
        lines = [f"{len(states)} trials: " + ", ".join(f"{states.count(each)} {each}" for each in sorted({*states}))]
        if "complete" in states:
            best = self._study.best_trial
            words = ("segtrain", "train", *self._search.flags, *self._search.given, *overrides(best.params))
            lines.append(f"best again: {shell.command(*words)}")
        return "".join(f"{line}\n" for line in lines)

    def _words(self) -> list[str]:
        return [word for word in self._search.settings["words"] if not word.startswith(("hydra.sweep.dir=", "resume="))]

    def _plan_grid(self) -> None:
        if self._is_grid:
            values = [grid_values(key, each) for key, each in self._search.space.items()]
            for each in itertools.islice(itertools.product(*values), self._search.settings["n_trials"]):
                self._study.enqueue_trial(dict(zip(self._search.space, each, strict=True)))

    def _work(self) -> None:
        while (found := self._ask()) is not None:
            trial, held = found
            try:
                self._run(trial)
            finally:
                os.close(held)

    def _ask(self) -> tuple[Trial, int] | None:
        """Ask for a trial, and hold its folder; None where the study has enough."""
        with locked(self._folder):
            if self._stopping:
                return None
            self._ask_again_for_the_killed()
            known = self._study.get_trials(deepcopy=False)
            is_waiting = any(each.state == TrialState.WAITING for each in known)
            is_full = self._is_grid or num_drawn(known) >= self._search.settings["n_trials"]
            if is_full and not is_waiting:
                return None
            self._study.sampler = self._sampler(len(known))
            trial = self._study.ask(self._search.space)
            held = self._open_lock(trial.number)
            lock(held)
            return trial, held

    @property
    def _is_grid(self) -> bool:
        return self._search.settings["sampler"]["name"] == "grid"

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Make the sampler of one trial: its values depend on seed, number and study, not on the process."""
        options = dict(self._search.settings["sampler"])
        if options["name"] == "grid":
            return optuna.samplers.RandomSampler(0)
        if options["seed"] is not None:
            options["seed"] += number
        return make_part(optuna.samplers, options)

    def _open_lock(self, number: int) -> int:
        path = self._folder / str(number) / "lock"
        path.parent.mkdir(exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)

    def _ask_again_for_the_killed(self) -> None:
        known = self._study.get_trials(deepcopy=False)
        count = len(known)
        for each in known:
            if each.state != TrialState.RUNNING:
                continue
            held = self._open_lock(each.number)
            try:
                if not lock(held):
                    continue
                self._study.tell(each.number, state=TrialState.FAIL)
                self._study.enqueue_trial(each.params, user_attrs={"retry_of": each.number})
                job = sweeps.read_job(self._folder / str(each.number)) or sweeps.Job(
                    each.number, overrides(each.params)
                )
                sweeps.write_job(
                    self._folder / str(each.number),
                    job._replace(error=f"killed or stopped; asked again as job {count}", exit_code=0),
                )
                count += 1
            finally:
                os.close(held)

    def _run(self, trial: Trial) -> None:
        """Run one trial in a process, and report to the study how it ended."""
        job_folder = self._folder / str(trial.number)
        score = f"best {self._search.monitor}"
        words = [*self._search.given, *overrides(trial.params)]
        job = sweeps.Job(trial.number, words, score, error="running", exit_code=0)
        sweeps.write_job(job_folder, job)
        start, pruned = time.monotonic(), False
        end: dict[str, Any] = {}
        child = self._start(self._command(trial))
        for message in child.messages():
            if "run" in message:
                self._require_direction(child, message["direction"])
                job = job._replace(run=message["run"], process=child.pid)
                sweeps.write_job(job_folder, job)
            elif "epoch" in message:
                trial.report(message["score"], message["epoch"])
                pruned = not message["is_last"] and bool(trial.should_prune())
                child.answer(pruned)
            else:
                end |= message
        code = child.end()
        with self._lock:
            self._children.remove(child)
        job = job._replace(seconds=round(time.monotonic() - start, 1), pruned=pruned)
        if code == 0:
            value = end.get("value")
            job = job._replace(value=value, error=None if value is not None else f"no {score}", exit_code=0)
        else:
            job = job._replace(error=end.get("error", sweeps.LOST), exit_code=code if code > 0 else _LOST)
        sweeps.write_job(job_folder, job)
        if self._stopping and code != 0:
            return  # it stays running in the study: the next command asks for it again
        state = TrialState.FAIL if job.value is None else TrialState.PRUNED if pruned else TrialState.COMPLETE
        self._study.tell(trial, job.value if state == TrialState.COMPLETE else None, state)

    def _require_direction(self, child: trials.Child, direction: str) -> None:
        given, expected = self._search.settings["direction"], f"{direction}imize"
        if given != expected:
            child.terminate()
            child.end()
            raise ConfigError(
                f"hydra.sweeper.direction={given}: monitor={self._search.monitor} is to be {expected}d. Fix: "
                f"hydra.sweeper.direction={expected}"
            )

    def _command(self, trial: Trial) -> list[str]:
        retry_of = trial.user_attrs.get("retry_of")
        before = None if retry_of is None else sweeps.read_job(self._folder / str(retry_of))
        if before is not None and before.run and find_checkpoints(Path(before.run) / "checkpoints"):
            until = time.monotonic() + _SECONDS_TO_SAVE
            while runs.holder(Path(before.run)) is not None and time.monotonic() < until:
                time.sleep(0.2)  # its process saves itself
            trusted = [word for word in self._search.given if word.startswith("trusted_modules=")]
            return [shell.override("resume", before.run), *trusted]
        name = shell.override("name", f"{self._search.name}_{trial.number}")
        return [*self._search.given, *overrides(trial.params), name]

    def _start(self, words: Sequence[str]) -> trials.Child:
        with self._lock:
            child = trials.Child(["train", *self._search.flags, *words])
            self._children.append(child)
            if self._stopping:
                child.terminate()
            return child

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            for child in self._children:
                child.terminate()
