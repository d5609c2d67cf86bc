"""Metrics of predictions: confusion matrix, scores, and further metrics. NumPy only."""

from segtrain.evaluation.boundary import Boundary
from segtrain.evaluation.calibration import Calibration
from segtrain.evaluation.confusion import Scores, confusion_matrix, scores
from segtrain.evaluation.metric import Direction, Metric

__all__ = ["Boundary", "Calibration", "Direction", "Metric", "Scores", "confusion_matrix", "scores"]
