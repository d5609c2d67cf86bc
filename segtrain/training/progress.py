"""Progress of a run: the state that resuming needs in addition to variables. Does not import TensorFlow."""

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np

_MATRIX = "progress/matrix"


@final
class Progress:
    """Steps and epochs done, running sums of the current epoch, and the logs of finished epochs.

    Attributes:
        step: Number of training steps done.
        epochs_done: Number of epochs in `history`. Between the last step of an epoch and its validation, that epoch is
            not counted.
        history: One mapping per epoch: `epoch`, `step` and its logs; NaN and infinity are None, as JSON requires.
        num_steps: Number of steps of the current epoch done.
        matrix: (K, K) int64 confusion matrix of these steps.

    Args:
        num_classes: K, number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.step = 0
        self.epochs_done = 0
        self.history: list[dict[str, Any]] = []
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self._sums: dict[str, float] = {}
        self.num_steps = 0

    def add_step(self, losses: Mapping[str, float], counts: np.ndarray) -> None:
        """Add one step's losses by name, and its confusion matrix."""
        self.step += 1
        self.num_steps += 1
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + loss
        self.matrix += counts

    @property
    def mean_losses(self) -> dict[str, float]:
        """Mean of each loss over the steps of the current epoch, by name."""
        return {name: total / self.num_steps for name, total in self._sums.items()}

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """Record an epoch's logs, and begin the next epoch."""
        self.epochs_done += 1
        numbers = {name: float(value) if math.isfinite(value) else None for name, value in logs.items()}
        self.history.append({"epoch": self.epochs_done, "step": self.step, **numbers})
        self._sums, self.num_steps = {}, 0
        self.matrix = np.zeros_like(self.matrix)

    def arrays(self) -> dict[str, np.ndarray]:
        """Copy the part that a checkpoint stores as arrays."""
        return {_MATRIX: self.matrix.copy()}

    def metadata(self) -> dict[str, Any]:
        """Copy the part that a checkpoint stores as JSON; floats survive the round trip bit for bit."""
        return {
            "epochs_done": self.epochs_done,
            "sums": dict(self._sums),
            "num_steps": self.num_steps,
            "history": [dict(record) for record in self.history],
        }

    def restore(self, step: int, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        """Restore the state from results of `arrays` and `metadata`."""
        self.step = step
        self.matrix = arrays[_MATRIX].copy()
        self.epochs_done, self.history = metadata["epochs_done"], [dict(record) for record in metadata["history"]]
        self._sums, self.num_steps = dict(metadata["sums"]), metadata["num_steps"]
