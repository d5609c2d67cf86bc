"""Stop a run whose validation scores are worse than those of other trials of its study."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras

logger = logging.getLogger(__name__)


class Pruning(keras.callbacks.Callback):
    """Report each validation score to a study, and stop the run if the study prunes it. The run folder stays valid.

    Args:
        monitor: Name of the validation score.
        should_prune: Called with the epoch, its score and whether it is the last epoch; returns whether to stop.
    """

    def __init__(self, monitor: str, should_prune: Callable[[int, float, bool], bool]) -> None:
        super().__init__()
        self._monitor = monitor
        self._should_prune = should_prune

    def on_train_begin(self, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        # A killed trial resumes under a new trial number, which has no scores yet.
        for record in self.params["trainer"].progress.history:
            self._report(record)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        self._report(self.params["trainer"].progress.history[-1])

    def _report(self, record: Mapping[str, Any]) -> None:
        score, epoch = record.get(self._monitor), record["epoch"]
        if score is None or self.model.stop_training:
            return
        if self._should_prune(epoch, score, epoch >= self.params["epochs"]):
            self.model.stop_training = True
            logger.info("pruned after epoch %d: %s %.4f, other trials were better", epoch, self._monitor, score)
