"""Keras callbacks that report a run's progress: metrics files, log lines and curves."""

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import keras

from segtrain.runs.history import as_lines, as_table
from segtrain.storage import append, write_atomically
from segtrain.training.trainer import Trainer
from segtrain.visual.curves import draw_curves

logger = logging.getLogger(__name__)

Logs = Mapping[str, float]
# The value for Keras hooks that are called without logs.
NO_LOGS: Logs = MappingProxyType({})


class MetricsLog(keras.callbacks.Callback):
    """Write each epoch's scores as a JSON line to `metrics.jsonl`, as a row to `metrics.csv`, and to the log.

    Both files hold each epoch once, also in a run that was killed and resumed.

    Args:
        path: Path of metrics.jsonl; metrics.csv is written next to it.
        trainer: Trainer whose history is written.
        monitor: Name of a score that the log line always includes.
    """

    def __init__(self, path: Path, trainer: Trainer, monitor: str = "val_mean_iou") -> None:
        super().__init__()
        self._path = path
        self._monitor = monitor
        self._trainer = trainer
        self._epoch_began = 0.0

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        # Drop epochs logged after the checkpoint that a resumed run starts from, and a line cut short by a kill.
        if self._trainer.progress.history or self._path.exists():
            write_atomically(self._path, as_lines(self._trainer.progress.history))
            self._write_table()

    def on_epoch_begin(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        self._epoch_began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        append(self._path, f"{json.dumps(self._trainer.progress.history[-1])}\n".encode())
        self._write_table()
        seconds = time.monotonic() - self._epoch_began
        left_out = ("learning_rate", "pixel_accuracy", "val_mean_accuracy", "val_frequency_weighted_iou")
        shown = [name for name in logs if "/" not in name and name not in left_out or name == self._monitor]
        listed = ", ".join(f"{name} {logs[name]:.4f}" for name in shown)
        logger.info("epoch %d/%d (%.0f s): %s", epoch + 1, self.params["epochs"], seconds, listed)

    def _write_table(self) -> None:
        write_atomically(self._path.with_suffix(".csv"), as_table(self._trainer.progress.history))


class Curves(keras.callbacks.Callback):
    """Draw training and validation curves as PNGs, at most once a minute and at the end.

    Args:
        metrics: The run's `metrics.jsonl`.
        folder: The run's `plots` folder.
    """

    def __init__(self, metrics: Path, folder: Path) -> None:
        super().__init__()
        self._metrics = metrics
        self._folder = folder
        self._drawn = -math.inf

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        if time.monotonic() - self._drawn > 60:
            draw_curves(self._metrics, self._folder)
            self._drawn = time.monotonic()

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        draw_curves(self._metrics, self._folder)
