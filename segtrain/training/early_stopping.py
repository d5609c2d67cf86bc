"""Stop a run by its scores: no more improvement, or a threshold reached."""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

import keras

from segtrain.errors import ConfigError
from segtrain.limits import Factor, Limits, PositiveCount, limited

logger = logging.getLogger(__name__)


class EarlyStopping(keras.callbacks.Callback):
    """Stop when a score has not improved for `patience` validations.

    The decision depends on the trainer's history only, which checkpoints keep: a resumed run stops at the same epoch as
    an uninterrupted one, and a run that has stopped does not start again.

    Args:
        monitor: Name of a score, such as `val_mean_iou`. A training score, such as `loss`, counts after each epoch.
        patience: Number of validations (not epochs) in a row without improvement, at least 1.
        min_delta: Smallest difference to the best score that counts as an improvement, at least 0.
        mode: Whether a higher (max) or a lower (min) score is better; null uses the direction of the score.

    Raises:
        ConfigError: An argument is out of range, or a validated epoch has no score `monitor`.
    """

    @limited
    def __init__(
        self, monitor: str, patience: PositiveCount, min_delta: Factor = 0.0, mode: Literal["max", "min"] | None = None
    ) -> None:
        super().__init__()
        self._monitor = monitor
        self._patience = patience
        self._min_delta = min_delta
        self._mode = mode

    def on_train_begin(self, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        self._stop_if_due()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        if self._monitor not in logs and (
            not self._monitor.startswith("val_") or any(name.startswith("val_") for name in logs)
        ):
            raise ConfigError(
                f"callbacks: EarlyStopping has monitor={self._monitor}, found no such score, expected one of "
                f"{', '.join(sorted(logs))}"
            )
        self._stop_if_due()

    def _stop_if_due(self) -> None:
        history: Sequence[Mapping[str, Any]] = self.params["trainer"].progress.history
        scores = [record[self._monitor] for record in history if self._monitor in record]
        best, since = self._best(scores)
        if since >= self._patience:
            self.model.stop_training = True
            logger.info(
                "early stopping after epoch %d: %s has not improved on %s for %d validations",
                *(history[-1]["epoch"], self._monitor, "none" if best is None else f"{best:.4f}", since),
            )

    def _best(self, scores: Sequence[float | None]) -> tuple[float | None, int]:
        """Return the best score and the number of scores after it; NaN never counts as better."""
        mode = self._mode or self.params["trainer"].direction(self._monitor)
        sign = 1 if mode == "max" else -1
        best, since = None, 0
        for score in scores:
            if score is not None and (best is None or sign * (score - best) > self._min_delta):
                best, since = score, 0
            else:
                since += 1
        return best, since


class ReachScore(keras.callbacks.Callback):
    """Stop as soon as a score is above a threshold, and log at the end whether it was reached.

    Args:
        monitor: Name of a score, such as `val_mean_iou`.
        threshold: Value that the score must exceed.
    """

    @limited
    def __init__(self, monitor: str, threshold: Annotated[float, Limits(-1e6, 1e6)]) -> None:
        super().__init__()
        self._monitor = monitor
        self._threshold = threshold

    def on_train_begin(self, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        self._stop_if_due()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        self._stop_if_due()

    def on_train_end(self, logs: Mapping[str, float] = MappingProxyType({})) -> None:
        best, epoch = max(self._scores(), default=(float("nan"), 0))
        if best > self._threshold:
            logger.info("%s is %.4f after epoch %d: above %g", self._monitor, best, epoch, self._threshold)
        else:
            logger.warning(
                "%s is %.4f at best, after epoch %d, expected above %g. Fix: check the data with segtrain "
                "browse, then try another learning rate or a larger network",
                *(self._monitor, best, epoch, self._threshold),
            )

    def _stop_if_due(self) -> None:
        if any(score > self._threshold for score, _ in self._scores()):
            self.model.stop_training = True

    def _scores(self) -> list[tuple[float, int]]:
        """Pairs of score and epoch."""
        history = self.params["trainer"].progress.history
        scores = [(record.get(self._monitor), record["epoch"]) for record in history]
        return [(score, epoch) for score, epoch in scores if score is not None]
