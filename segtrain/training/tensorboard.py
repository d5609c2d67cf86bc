"""TensorBoard callbacks: scalars of both splits, and validation images with labels and predictions."""

import errno
import math
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from segtrain.data.datasets.dataset import Dataset
from segtrain.evaluation.scoring import Prediction
from segtrain.storage import disk_error
from segtrain.training.trainer import Trainer
from segtrain.visual.overlay import draw_panels

Logs = Mapping[str, float]
NO_LOGS: Logs = MappingProxyType({})
_SPLITS = ("train", "val")
_LONGEST_SIDE = 320  # of an image as it is shown, in pixels
# TensorFlow reports disk errors only by the system's message for these.
_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT)


@contextmanager
def writing_events(folder: Path) -> Iterator[None]:
    """Turn TensorFlow's disk errors into one line that names the folder.

    Raises:
        ResourceError: The events cannot be written.
    """
    try:
        yield
    except tf.errors.OpError as error:
        code = next((each for each in _ERRNOS if os.strerror(each) in str(error)), errno.EIO)
        raise disk_error(folder / "events", OSError(code, os.strerror(code))) from error


class TensorBoardScalars(keras.callbacks.Callback):
    """Write scalars for TensorBoard, with training and validation as two curves of one chart.

    Args:
        folder: The run's `tensorboard` folder.
        trainer: Trainer whose history a resumed run writes again first.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        super().__init__()
        self._folder = folder
        self._trainer = trainer
        self._writers: dict[str, Any] = {}

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        for split in _SPLITS:
            for events in self._folder.glob(f"{split}/events.out.tfevents.*"):
                events.unlink()
        for epoch, record in enumerate(self._trainer.progress.history):
            scalars = {name: value for name, value in record.items() if name not in ("epoch", "step")}
            self._write(epoch, {name: math.nan if value is None else value for name, value in scalars.items()})

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        self._write(epoch, logs)

    def _write(self, epoch: int, logs: Logs) -> None:
        with writing_events(self._folder):
            for name, value in logs.items():
                split, score = ("val", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
                if split not in self._writers:
                    self._writers[split] = tf.summary.create_file_writer(str(self._folder / split))
                with self._writers[split].as_default():
                    tf.summary.scalar(score, value, step=epoch + 1)
            for writer in self._writers.values():
                writer.flush()


class TensorBoardImages(keras.callbacks.Callback):
    """Write validation images with labels and predictions, one step per validation.

    Args:
        folder: The run's `tensorboard` folder.
        trainer: Trainer whose epoch a resumed run continues from; images of later epochs are removed.
        dataset: Dataset with the class names and colors.
        names: Names of the samples to show.
    """

    def __init__(self, folder: Path, trainer: Trainer, dataset: Dataset, names: Collection[str]) -> None:
        super().__init__()
        self._folder = folder / "images"
        self._trainer = trainer
        self._dataset = dataset
        self._names = names
        self._seen: dict[str, np.ndarray] = {}

    def draw(self, prediction: Prediction) -> None:
        """Draw a validated image, if it is among those to show."""
        name = prediction.sample.name
        if name in self._names:
            image, labels, predicted = (
                _shrunk(array) for array in (prediction.image, prediction.labels, prediction.predicted)
            )
            drawn = draw_panels(
                image, labels, predicted, self._dataset.class_names, self._dataset.colors, alpha=0.65, caption=name
            )
            self._seen[name] = np.asarray(drawn)

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        for events in self._folder.glob("events.out.tfevents.*.epoch-*"):
            if int(events.name.rpartition("-")[2]) > self._trainer.progress.epochs_done:
                events.unlink()

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        if not self._seen:
            return
        with writing_events(self._folder):
            # One file per epoch, so that a resumed run can remove those after its checkpoint.
            writer = tf.summary.create_file_writer(str(self._folder), filename_suffix=f".epoch-{epoch + 1:06d}")
            with writer.as_default():
                for name, image in self._seen.items():
                    tf.summary.image(name, image[None], step=epoch + 1)
            writer.close()
        self._seen = {}


def _shrunk(array: np.ndarray) -> np.ndarray:
    """Shrink an image or labels to the size shown; labels are not interpolated."""
    height, width = array.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return array
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(array, size, interpolation=cv2.INTER_AREA if array.ndim == 3 else cv2.INTER_NEAREST)
