"""What happens around the steps of a training: progress, logs, checkpoints, curves. Each is a Keras callback."""

import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from segtrain.errors import ConfigError
from segtrain.training.checkpoint import find_checkpoints, save_checkpoint
from segtrain.training.curves import draw_curves, read_metrics
from segtrain.training.state import snapshot
from segtrain.training.trainer import Trainer

logger = logging.getLogger(__name__)

Logs = Mapping[str, float]
# What Keras passes to the hooks that have no logs.
NO_LOGS: Logs = MappingProxyType({})


class ProgressBar(keras.callbacks.Callback):
    """One bar over all steps of the run, with loss, mean IoU, images a second and the time left; on a terminal only.

    Args:
        trainer: Tells the step.
        batch_size: Images in a step.
        total_steps: Steps of the whole run.
    """

    def __init__(self, trainer: Trainer, batch_size: int, total_steps: int) -> None:
        super().__init__()
        self._trainer = trainer
        self._batch_size = batch_size
        self._total_steps = total_steps

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        self._bar = tqdm(
            total=self._total_steps,
            initial=self._trainer.step,
            unit="step",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_epoch_begin(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        self._bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: Logs = NO_LOGS) -> None:
        rate = self._bar.format_dict["rate"] or 0.0
        self._bar.set_postfix_str(
            f"loss {logs['loss']:.4f}, mIoU {logs['mean_iou']:.3f}, {rate * self._batch_size:.1f} images/s",
            refresh=False,
        )
        self._bar.update()

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        self._bar.close()


class MetricsLog(keras.callbacks.Callback):
    """One line of JSON an epoch in `metrics.jsonl`, one readable line in the log.

    Args:
        path: The file; lines are added, so that a resumed run goes on in it.
        trainer: Tells the step.
    """

    def __init__(self, path: Path, trainer: Trainer) -> None:
        super().__init__()
        self._path = path
        self._trainer = trainer
        self._epoch_began = 0.0

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        # Lines of an epoch that is trained again after a resume would stand twice.
        if self._path.exists():
            kept = [record for record in read_metrics(self._path) if record["step"] <= self._trainer.step]
            self._path.write_text("".join(f"{json.dumps(record)}\n" for record in kept))

    def on_epoch_begin(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        self._epoch_began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        seconds = time.monotonic() - self._epoch_began
        # JSON knows no NaN; a score without a pixel to tell from is null.
        numbers = {name: value if math.isfinite(value) else None for name, value in logs.items()}
        record = {"epoch": epoch + 1, "step": self._trainer.step, "seconds": round(seconds, 3), **numbers}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        heads = [name for name in logs if name.startswith("loss_") or name.endswith("_f1")]
        shown = ("loss", "mean_iou", "val_loss", "val_pixel_accuracy", "val_mean_iou", *heads)
        listed = ", ".join(f"{name} {logs[name]:.4f}" for name in shown if name in logs)
        logger.info("epoch %d/%d (%.0f s): %s", epoch + 1, self.params["epochs"], seconds, listed)


class TensorBoardScalars(keras.callbacks.Callback):
    """Scalars for TensorBoard, training and validation as two runs that share their charts.

    Args:
        folder: The run's `tensorboard` folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        for name, value in logs.items():
            split, score = ("val", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
            if split not in self._writers:
                self._writers[split] = tf.summary.create_file_writer(str(self._folder / split))
            with self._writers[split].as_default():
                tf.summary.scalar(score, value, step=epoch + 1)
        for writer in self._writers.values():
            writer.flush()


class Checkpoints(keras.callbacks.Callback):
    """A checkpoint after each epoch; the last is kept, and the one where `monitor` was highest.

    Args:
        folder: The run's `checkpoints` folder.
        trainer: Whose state to keep.
        monitor: Name of a validation score.

    Raises:
        ConfigError: No epoch's logs hold `monitor` although it was validated.
    """

    def __init__(self, folder: Path, trainer: Trainer, monitor: str) -> None:
        super().__init__()
        self._folder = folder
        self._trainer = trainer
        self._monitor = monitor
        self._saved_step: int | None = None
        earlier = [checkpoint.facts["best"] for checkpoint in find_checkpoints(folder)]
        known = [best for best in earlier if best is not None]
        self.best: float | None = max(known) if known else None

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        validated = any(name.startswith("val_") for name in logs)
        if validated and self._monitor not in logs:
            names = ", ".join(sorted(name for name in logs if name.startswith("val_")))
            raise ConfigError(f"monitor={self._monitor}: no such score, expected one of {names}")
        value = logs.get(self._monitor, math.nan)
        # NaN is never the best; of two equal ones the earlier stays.
        is_best = math.isfinite(value) and (self.best is None or value > self.best)
        if is_best:
            self.best = value
        self.save(is_best=is_best)

    def save(self, *, is_best: bool = False) -> None:
        """Write a checkpoint of this very step, unless there is one."""
        if self._saved_step == self._trainer.step:
            return
        arrays = snapshot(self._trainer.model, self._trainer.optimizer)
        facts = {"monitor": self._monitor, "best": self.best}
        save_checkpoint(self._folder, self._trainer.step, arrays, is_best=is_best, facts=facts)
        self._saved_step = self._trainer.step


class Curves(keras.callbacks.Callback):
    """Training and validation curves as PNGs, drawn anew at most once a minute and at the end.

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
