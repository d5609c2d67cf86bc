"""How far a training is: everything that it goes on from beside its variables. No TensorFlow here."""

import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np

_MATRIX = "progress/matrix"


@final
class Progress:
    """Steps and epochs done, what the unfinished epoch adds up to so far, and the logs of those before.

    Attributes:
        step: Training steps done.
        epochs_done: Epochs whose logs stand in `history`. After the last step of an epoch, and before its validation,
            that epoch is not among them.
        history: One mapping an epoch: `epoch`, `step` and its logs; what is not finite is None, as JSON wants it.
        num_steps: Steps that the unfinished epoch adds up so far.
        matrix: (K, K) int64 confusion matrix of these.

    Args:
        num_classes: K.
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
        """By name, the mean over the unfinished epoch's steps."""
        return {name: total / self.num_steps for name, total in self._sums.items()}

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """Close an epoch with its logs, and begin the next."""
        self.epochs_done += 1
        numbers = {name: float(value) if math.isfinite(value) else None for name, value in logs.items()}
        self.history.append({"epoch": self.epochs_done, "step": self.step, **numbers})
        self._sums, self.num_steps = {}, 0
        self.matrix = np.zeros_like(self.matrix)

    def arrays(self) -> dict[str, np.ndarray]:
        """Copy what a checkpoint keeps as arrays."""
        return {_MATRIX: self.matrix.copy()}

    def facts(self) -> dict[str, Any]:
        """Copy what a checkpoint keeps as JSON; numbers come back from it to the bit."""
        return {
            "epochs_done": self.epochs_done,
            "sums": dict(self._sums),
            "num_steps": self.num_steps,
            "history": [dict(record) for record in self.history],
        }

    def restore(self, step: int, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Go back to where `arrays` and `facts` were copied."""
        self.step = step
        self.matrix = arrays[_MATRIX].copy()
        self.epochs_done, self.history = facts["epochs_done"], [dict(record) for record in facts["history"]]
        self._sums, self.num_steps = dict(facts["sums"]), facts["num_steps"]
