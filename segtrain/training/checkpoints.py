"""Keras callback that saves checkpoints during a run, on signals and after errors."""

import math
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import keras

from segtrain.errors import ConfigError, ResourceError, SegtrainError
from segtrain.runs.checkpoint import save_checkpoint
from segtrain.runs.disk_space import RESERVE_BYTES
from segtrain.storage import NO_ROOM, removed
from segtrain.training.signals import SignalFlags
from segtrain.training.state import require_finite, snapshot
from segtrain.training.trainer import Trainer

Logs = Mapping[str, float]
# The value for Keras hooks that are called without logs.
NO_LOGS: Logs = MappingProxyType({})
_SECONDS_TO_AGREE = 4


class Checkpoints(keras.callbacks.Callback):
    """Save a checkpoint after each epoch and every `minutes`; keep the last ones and that of the best epoch.

    Variables are copied immediately and written in the background; a save waits for the previous one to finish.

    Args:
        folder: The run's `checkpoints` folder.
        trainer: Trainer whose state is saved.
        monitor: Name of the score that decides the best epoch; `Trainer.direction` gives whether higher is better.
        signals: Flags set by signals: save, or save and stop.
        keep_last: Number of most recent checkpoints to keep.
        minutes: Minutes between saves within an epoch.
        metadata: What else each manifest records; must fit JSON.

    Raises:
        ConfigError: The logs of a validated epoch lack `monitor`.
        NumericError: A weight is NaN or infinite; such a state is never written.
        ResourceError: The disk is full or not writable.
        Stopped: A signal asked to stop; the state is saved.
    """

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        monitor: str,
        *,
        signals: SignalFlags | None = None,
        keep_last: int = 1,
        minutes: float = math.inf,
        metadata: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self._folder = folder
        self._trainer = trainer
        self._monitor = monitor
        self._signals = signals or SignalFlags()
        self._keep_last = keep_last
        self._seconds = minutes * 60
        self._metadata = metadata
        self._saved: tuple[int, int] | None = None
        self._began_at: tuple[int, int] | None = None
        self._last_save = time.monotonic()
        self._writer = ThreadPoolExecutor(1, "segtrain-checkpoint")
        self._pending: Future[Any] | None = None

    @property
    def step(self) -> int:
        """Number of training steps done."""
        return self._trainer.step

    @property
    def best(self) -> float | None:
        """The best value of `monitor` so far; None before the first one."""
        return self._best_of(self._scores())

    def poll(self) -> None:
        """Save or stop if a signal asked for it; called between steps and between validated images.

        With several processes all of them must call this.
        """
        stop, save = self._signals.agree(self._trainer.replicas)
        if stop:
            self._stop()
        if save:
            self.save()

    def poll_in_wait(self) -> None:
        """Save or stop if a signal asked for it while waiting for a batch.

        With several processes each waits for its own data, so they cannot agree here: a process that still waits
        `_SECONDS_TO_AGREE` after the signal stops alone.
        """
        if self._trainer.replicas.num_processes == 1:
            self.poll()
        elif time.monotonic() - self._signals.stop_time > _SECONDS_TO_AGREE:
            self._stop()

    def _stop(self) -> NoReturn:
        self.save(wait=True)
        raise self._signals.stopped(
            f"at step {self._trainer.step}, which is saved; resume with: segtrain train resume={self._folder.parent}"
        )

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        self._began_at = self._position

    def on_train_batch_end(self, batch: int, logs: Logs = NO_LOGS) -> None:
        if time.monotonic() - self._last_save > self._seconds:
            self.save()
        self.poll()

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        validated = any(name.startswith("val_") for name in logs)
        if (validated or not self._monitor.startswith("val_")) and self._monitor not in logs:
            raise ConfigError(
                f"monitor={self._monitor}: found no such score, expected one of {', '.join(sorted(logs))}"
            )
        self.save(is_best=self._is_best())

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        self.wait()

    def save(
        self, *, is_best: bool = False, wait: bool = False, folder: Path | None = None, reserve: int = RESERVE_BYTES
    ) -> None:
        """Write a checkpoint of the current state unless it is saved already; only the chief process writes.

        Args:
            is_best: Whether this is the best epoch so far.
            wait: Whether to wait until the files are written.
            folder: Folder to write to; the run's `checkpoints` where None.
            reserve: Bytes that must stay free on the disk.
        """
        if not self._trainer.replicas.is_chief:
            return
        self.wait()
        trainer, progress, step, position = self._trainer, self._trainer.progress, self._trainer.step, self._position
        if self._saved == position:
            return
        arrays = {**snapshot(trainer.model, trainer.optimizer, trainer.averages), **progress.arrays()}
        metadata = {**self._metadata, "monitor": self._monitor, "best": self.best, "progress": progress.metadata()}
        if trainer.in_step and metadata.get("exact_until") is None:
            metadata["exact_until"] = step
        # All steps of an epoch are done but not its validation: the state after validation has the same step number.
        steps_per_epoch = self.params["steps"]
        is_between = step > 0 and step == (progress.epochs_done + 1) * steps_per_epoch

        def write() -> None:
            require_finite(arrays)
            if not self._folder.parent.is_dir():  # do not create it again: resume needs its other files
                raise removed(self._folder.parent)
            save_checkpoint(
                folder or self._folder,
                step,
                arrays,
                is_best=is_best,
                metadata=metadata,
                suffix="-unvalidated" if is_between else "",
                keep_last=self._keep_last,
                reserve=reserve,
            )

        self._pending = self._writer.submit(write)
        self._saved, self._last_save = position, time.monotonic()
        if wait:
            self.wait()

    def rescue(self) -> Path | None:
        """Save the last finished step before an error ends the run.

        An error within a step may have changed some variables: the checkpoint is then recorded as not bit-exact from
        that step on. On a full disk the reserved bytes are used, then the system's temporary folder.

        Returns:
            The folder of the checkpoint; None where this process did no step or is not the chief.

        Raises:
            NumericError: A weight is NaN or infinite; earlier checkpoints are kept.
            ResourceError: The disk is full or not writable.
        """
        if self._began_at in (None, self._position) or not self._trainer.replicas.is_chief:
            return None
        with suppress(SegtrainError):  # of a pending save: it is the error being handled, or is replaced by this save
            self.wait()
        is_best = self._trainer.progress.num_steps == 0 and self._is_best()
        try:
            self.save(is_best=is_best, wait=True, reserve=0)
            return self._folder
        except ResourceError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in NO_ROOM:
                raise
            folder = Path(tempfile.mkdtemp(prefix="segtrain-rescue-"))
            try:
                self.save(is_best=is_best, wait=True, folder=folder)
                return folder
            except SegtrainError:
                shutil.rmtree(folder, ignore_errors=True)
                raise error from None

    def wait(self) -> None:
        """Wait for the pending save, and raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            except SegtrainError:
                self._saved = None
                raise

    @property
    def _position(self) -> tuple[int, int]:
        return self._trainer.step, self._trainer.progress.epochs_done

    def _is_best(self) -> bool:
        """Whether the last epoch is the best: NaN never is, and a tie keeps the earlier epoch."""
        history = self._trainer.progress.history
        value = history[-1].get(self._monitor) if history else None
        if value is None:
            return False
        before = self._best_of(self._scores()[:-1])
        return before is None or (value > before if self._is_maximum else value < before)

    @property
    def _is_maximum(self) -> bool:
        return self._trainer.direction(self._monitor) == "max"

    def _best_of(self, scores: list[float]) -> float | None:
        return max(scores, default=None) if self._is_maximum else min(scores, default=None)

    def _scores(self) -> list[float]:
        """The scores of the validated epochs so far."""
        found = [record.get(self._monitor) for record in self._trainer.progress.history]
        return [score for score in found if score is not None]
