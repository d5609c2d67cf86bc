"""Callback that records a TensorFlow profile of a few training steps."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import keras
import tensorflow as tf

from segtrain.errors import ConfigError, argument
from segtrain.limits import PositiveCount, limited

logger = logging.getLogger(__name__)

Logs = Mapping[str, float]
NO_LOGS: Logs = MappingProxyType({})


class Profile(keras.callbacks.Callback):
    """Profile some training steps for TensorBoard's profile page, and stop the run after that epoch.

    Args:
        run_folder: The run's folder; the profile is written below its `tensorboard`.
        first_step: First step to record, at least 1; skip those that compile and warm up.
        last_step: Last step to record.

    Raises:
        ConfigError: `last_step` is below `first_step`.
    """

    chief_only = True

    @limited
    def __init__(self, run_folder: Path, first_step: PositiveCount = 10, last_step: PositiveCount = 20) -> None:
        super().__init__()
        if not first_step <= last_step:
            raise ConfigError(
                f"{argument('first_step')}={first_step}, {argument('last_step')}={last_step}: expected first_step <= "
                "last_step"
            )
        self._folder = run_folder / "tensorboard"
        self._first_step, self._last_step = first_step, last_step
        self._is_recording = False
        self._is_done = False

    def on_train_batch_begin(self, batch: int, logs: Logs = NO_LOGS) -> None:
        if self.params["trainer"].step + 1 == self._first_step:
            tf.profiler.experimental.start(str(self._folder))
            self._is_recording = True

    def on_train_batch_end(self, batch: int, logs: Logs = NO_LOGS) -> None:
        if self._is_recording and self.params["trainer"].step == self._last_step:
            self._end()
            self._is_done = True

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        if self._is_done:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        if self._is_recording:
            self._end()
        if not self._is_done:
            logger.warning(
                "profile: the run ended at step %d, before the last of the steps %d to %d. Fix: more epochs",
                *(self.params["trainer"].step, self._first_step, self._last_step),
            )

    def _end(self) -> None:
        tf.profiler.experimental.stop()
        self._is_recording = False
        logger.info(
            "profile: tensorboard --logdir %s (its Profile page needs: pip install tensorboard-plugin-profile)",
            self._folder,
        )
