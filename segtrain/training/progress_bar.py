"""Progress of a run: a bar on a terminal of any width, a log line now and then elsewhere."""

import logging
import shutil
import sys
import threading
import time

import keras
from tqdm import tqdm

from segtrain.training.reports import NO_LOGS, Logs
from segtrain.training.trainer import Trainer

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0
_MIN_BAR = 10  # columns


class ProgressBar(keras.callbacks.Callback):
    """Show one bar over all steps of the run: loss, mean IoU, images per second, time left.

    Until the first step ends, which compiles it, the bar shows how long that has taken. Without a terminal the same
    numbers are logged every half minute.

    Args:
        trainer: Trainer whose step is shown.
        batch_size: Images per step.
        total_steps: Number of steps of the run, all epochs together.
    """

    def __init__(self, trainer: Trainer, batch_size: int, total_steps: int) -> None:
        super().__init__()
        self._trainer = trainer
        self._batch_size = batch_size
        self._total_steps = total_steps
        self._epoch = ""
        self._has_stepped = threading.Event()
        self._bar: tqdm | None = None

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        self._started = self._logged = time.monotonic()
        self._first = self._trainer.step
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self._total_steps,
                initial=self._first,
                ncols=columns(),
                bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}",
            )
            threading.Thread(target=self._show_compiling, name="progress", daemon=True).start()

    def on_epoch_begin(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        self._epoch = f"epoch {epoch + 1}/{self.params['epochs']}"
        if self._bar is not None:
            self._bar.set_description_str(self._epoch)

    def on_train_batch_end(self, batch: int, logs: Logs = NO_LOGS) -> None:
        now = time.monotonic()
        if not self._has_stepped.is_set():
            self._has_stepped.set()
            self._started, self._first = now, self._trainer.step  # compiling is not counted in the rate
        done = self._trainer.step - self._first
        rate = done / (now - self._started) if done and now > self._started else 0.0
        left = (self._total_steps - self._trainer.step) / rate if rate else 0.0
        if self._bar is not None:
            self._bar.ncols = columns()
            count = f"{self._trainer.step}/{self._total_steps}"
            used = len(f"{self._epoch} 100% || {count}, ") + _MIN_BAR
            text = fitting(logs["loss"], logs["mean_iou"], rate * self._batch_size, left, self._bar.ncols - used)
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()
        elif now - self._logged >= SECONDS_BETWEEN_LINES:
            self._logged = now
            text = fitting(logs["loss"], logs["mean_iou"], rate * self._batch_size, left, 200)
            logger.info("%s, step %d/%d: %s", self._epoch, self._trainer.step, self._total_steps, text)

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        self.close()

    def close(self) -> None:
        """End the bar, so that what is printed next begins on a line of its own."""
        self._has_stepped.set()
        if self._bar is not None:
            self._bar.close()

    def _show_compiling(self) -> None:
        while self._bar is not None and not self._has_stepped.wait(1.0):
            seconds = time.monotonic() - self._started
            self._bar.set_postfix_str(f"compiling the step, {seconds:.0f} s")


def columns() -> int:
    """Return the width of the terminal, one column less: a full line would wrap."""
    return max(20, shutil.get_terminal_size().columns - 1)


def fitting(loss: float, mean_iou: float, rate: float, left: float, room: int) -> str:
    """Return the numbers of a step in the longest form that fits.

    Args:
        loss: Training loss.
        mean_iou: Mean IoU of the training crops.
        rate: Images per second.
        left: Seconds left.
        room: Columns.
    """
    clock = tqdm.format_interval(left) if left else "?"
    forms = (
        f"loss {loss:.4f}, mean IoU {mean_iou:.4f}, {rate:.1f} images/s, {clock} left",
        f"loss {loss:.3f}, mIoU {mean_iou:.3f}, {rate:.1f} img/s, {clock} left",
        f"loss {loss:.3f}, {rate:.1f} img/s, {clock}",
        f"loss {loss:.3f}, {clock}",
        f"{loss:.3f}",
    )
    return next((form for form in forms if len(form) <= room), "")
