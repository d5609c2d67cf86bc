"""Base class of metrics, which are computed from a split's images one by one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

Direction = Literal["max", "min"]


class Metric(ABC):
    """Base class of a metric that is computed from one image after another.

    A custom metric is one class with `update` and `result`, and one entry of the config group `metrics`. The results
    then appear in the table of `segtrain eval`, in `scores.json`, `metrics.jsonl`, the curves, TensorBoard and the
    trackers, and `monitor` accepts them, as `<entry>_<name>`.

    Keep totals that add up over images in `self.sums`: `merge` then needs no override.

    Args:
        class_names: Names of the K classes of the dataset.
        ignore_class: Label of ignored pixels.

    Attributes:
        sums: Name -> array that adds up over images; initially empty.
        uses_logits: Whether `update` looks at the logits; if not, large images need no array of them.

    Example:
        >>> import numpy as np
        >>> class LabelledFraction(Metric):
        ...     def update(self, labels, predicted, logits):
        ...         self.add(pixels=labels.size, labeled=np.count_nonzero(labels != self.ignore_class))
        ...
        ...     def result(self):
        ...         return {"fraction": divide(self.sums.get("labeled", 0), self.sums.get("pixels", 0))}
        >>> metric = LabelledFraction(["road", "car"], ignore_class=255)
        >>> metric.update(np.uint8([[0, 1, 255, 255]]), np.uint8([[0, 0, 0, 0]]), np.zeros((1, 4, 2)))
        >>> metric.result()
        {'fraction': 0.5}
    """

    uses_logits = True

    def __init__(self, class_names: tuple[str, ...], ignore_class: int) -> None:
        self.class_names = tuple(class_names)
        self.ignore_class = ignore_class
        self.sums: dict[str, np.ndarray] = {}

    @abstractmethod
    def update(self, labels: np.ndarray, predicted: np.ndarray, logits: np.ndarray) -> None:
        """Add one image.

        Args:
            labels: (H, W) uint8 class ids, or `ignore_class`.
            predicted: (H, W) uint8 class ids.
            logits: (H, W, K) float32, not to be changed.
        """

    @abstractmethod
    def result(self) -> Mapping[str, float]:
        """Return the scores by name, NaN where no pixel counts.

        The names must not depend on the images. `name/class` is the score of one class.
        """

    def details(self) -> Mapping[str, Any]:
        """Return results other than scores for `scores.json`, such as a curve; empty by default."""
        return {}

    def direction(self, name: str) -> Direction:
        """Return whether a higher ("max") or a lower ("min") value of a score is better."""
        return "max"

    def add(self, **amounts: np.ndarray | float) -> None:
        """Add arrays or numbers to `sums` by name."""
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0) + np.asarray(amount)

    def merge(self, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace the sums of this process by those of all processes; every process calls this.

        Args:
            total: Sums an array over the processes; all of them must call it in the same order.
        """
        self.sums = {name: total(self.sums[name]) for name in sorted(self.sums)}


def divide(part: np.ndarray | float, total: np.ndarray | float) -> float:
    """Divide two sums; NaN where the total is 0."""
    return float(part) / float(total) if total else float("nan")
