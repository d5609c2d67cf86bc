"""Calibration error: the difference between the confidence of predictions and their accuracy."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from segtrain.evaluation.metric import Direction, Metric, divide
from segtrain.limits import Limits, limited


class Calibration(Metric):
    """Expected calibration error of the pixels (Guo et al. 2017, arXiv:1706.04599, equation 3).

    The confidence of a pixel is its highest softmax probability. With n_b of n pixels in bin b, of mean confidence c_b
    and accuracy a_b: `ece` = sum_b n_b / n |a_b - c_b|. `confidence` is the mean confidence of all pixels.

    Args:
        class_names: Names of the K classes of the dataset.
        ignore_class: Label of ignored pixels.
        bins: Number of bins of equal width between confidence 0 and 1.

    Example:
        >>> metric = Calibration(["road", "car"], ignore_class=255, bins=10)
        >>> # Confidence 1 / (1 + exp(-2)) = 0.881 at two pixels, of which one is right: |0.5 - 0.881|.
        >>> metric.update(np.uint8([[0, 1]]), np.uint8([[0, 0]]), np.float32([[[2, 0], [2, 0]]]))
        >>> round(metric.result()["ece"], 3)
        0.381
    """

    @limited
    def __init__(
        self, class_names: Sequence[str], ignore_class: int, bins: Annotated[int, Limits(2, 1000)] = 15
    ) -> None:
        super().__init__(tuple(class_names), ignore_class)
        self._bins = bins
        self.add(pixels=np.zeros(bins, np.int64), correct=np.zeros(bins, np.int64), confidence=np.zeros(bins))

    def update(self, labels: np.ndarray, predicted: np.ndarray, logits: np.ndarray) -> None:
        counted = labels != self.ignore_class
        kept = logits[counted].astype(np.float64)
        confidence = 1 / np.exp(kept - kept.max(axis=-1, keepdims=True)).sum(axis=-1)
        # A confidence on the border of two bins belongs to the lower one, as in the paper.
        index = np.clip(np.ceil(confidence * self._bins).astype(int) - 1, 0, self._bins - 1)
        is_correct = labels[counted] == predicted[counted]
        self.add(
            pixels=np.bincount(index, minlength=self._bins),
            correct=np.bincount(index[is_correct], minlength=self._bins),
            confidence=np.bincount(index, confidence, self._bins),
        )

    def result(self) -> Mapping[str, float]:
        gaps = np.abs(self.sums["correct"] - self.sums["confidence"]).sum()
        total = self.sums["pixels"].sum()
        return {"ece": divide(gaps, total), "confidence": divide(self.sums["confidence"].sum(), total)}

    def details(self) -> Mapping[str, Any]:
        """Return the reliability curve: pixels, mean confidence and accuracy of each bin."""
        pixels, correct, confidence = (self.sums[name] for name in ("pixels", "correct", "confidence"))
        return {
            "pixels": [int(each) for each in pixels],
            "confidence": [divide(*pair) for pair in zip(confidence, pixels, strict=True)],
            "accuracy": [divide(*pair) for pair in zip(correct, pixels, strict=True)],
        }

    def direction(self, name: str) -> Direction:
        return "min" if name == "ece" else "max"
