"""Confusion matrix and the scores computed from it. NumPy only.

K classes; rows are true classes, columns predicted ones.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

MEANS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int, ignore_class: int) -> np.ndarray:
    """Count pixels by true and predicted class.

    Args:
        labels: (...) uint8 class ids or `ignore_class`.
        predicted: (...) uint8 class ids, the shape of `labels`.
        num_classes: K.
        ignore_class: Pixels of this label are not counted.

    Returns:
        (K, K) int64.

    Raises:
        ValueError: A label or prediction is outside the classes.
    """
    counted = labels != ignore_class
    truth, found = labels[counted], predicted[counted]
    if truth.size and max(truth.max(), found.max()) >= num_classes:
        raise ValueError(f"class ids up to {max(truth.max(), found.max())}, expected below {num_classes}")
    # uint16 codes hold up to 256 classes and keep the scan short.
    codes = truth.astype(np.uint16) * np.uint16(num_classes) + found
    return np.bincount(codes, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """Standard segmentation scores of a confusion matrix, each in 0-1.

    Attributes:
        pixel_accuracy: Fraction of pixels whose class is right.
        mean_accuracy: Mean over the classes that occur of the fraction of their pixels that is right.
        mean_iou: Mean over the present classes of intersection over union.
        frequency_weighted_iou: IoU weighted by how often a class occurs.
        mean_dice: Mean over the present classes of the Dice coefficient, which is also the F1 score.
        mean_precision: Mean over the predicted classes of precision.
        iou: (K,) IoU per class; NaN for an absent class, which is neither in the labels nor predicted.
        accuracy: (K,) accuracy per class, which is also its recall; NaN for a class that is not in the labels.
        dice: (K,) Dice coefficient per class; NaN for an absent class.
        precision: (K,) fraction of the predicted pixels that are right; NaN for a class that is not predicted.
        pixels: (K,) int64 number of labeled pixels per class.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    mean_dice: float
    mean_precision: float
    iou: np.ndarray
    accuracy: np.ndarray
    dice: np.ndarray
    precision: np.ndarray
    pixels: np.ndarray


def scores(matrix: np.ndarray, exclude: Collection[int] = ()) -> Scores:
    """Compute all scores from a (K, K) confusion matrix; NaN where no pixel is counted.

    A class that is predicted but not in the labels has IoU 0 and counts; an absent one does not (as in Long et al.
    2015, arXiv:1411.4038, section 5, and in Keras' MeanIoU).

    Args:
        matrix: (K, K), rows the true class.
        exclude: Ids of classes that are left out of the means over classes.
    """
    return scores_of_counts(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0), exclude)


def scores_of_counts(
    hits: np.ndarray, occurs: np.ndarray, predicted: np.ndarray, exclude: Collection[int] = ()
) -> Scores:
    """Compute all scores from pixels per class.

    Args:
        hits: (K,) pixels whose class is right.
        occurs: (K,) labeled pixels.
        predicted: (K,) predicted pixels.
        exclude: Ids of classes that are left out of the means over classes.
    """
    union, total = occurs + predicted - hits, int(occurs.sum())
    iou, accuracy, dice, precision = (
        _divided(*pair) for pair in ((hits, union), (hits, occurs), (2 * hits, occurs + predicted), (hits, predicted))
    )
    kept = np.ones(len(hits), bool)
    kept[list(exclude)] = False
    return Scores(
        pixel_accuracy=float(hits.astype(np.float64).sum() / total) if total else np.nan,
        mean_accuracy=_mean(accuracy[kept]),
        mean_iou=_mean(iou[kept]),
        frequency_weighted_iou=float(np.nansum(iou * occurs) / total) if total else np.nan,
        mean_dice=_mean(dice[kept]),
        mean_precision=_mean(precision[kept]),
        iou=iou,
        accuracy=accuracy,
        dice=dice,
        precision=precision,
        pixels=occurs,
    )


def _divided(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Divide; NaN where the total is 0."""
    return np.divide(part.astype(np.float64), total, out=np.full(part.shape, np.nan), where=total > 0)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the numbers that are not NaN; NaN without any."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
