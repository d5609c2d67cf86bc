"""Confusion matrix and the scores computed from it. NumPy only.

K classes; rows are true classes, columns predicted ones.
"""

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
        iou: (K,) IoU per class; NaN for an absent class, which is neither in the labels nor predicted.
        accuracy: (K,) accuracy per class; NaN for a class that is not in the labels.
        pixels: (K,) int64 number of labeled pixels per class.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    iou: np.ndarray
    accuracy: np.ndarray
    pixels: np.ndarray


def scores(matrix: np.ndarray) -> Scores:
    """Compute all scores from a (K, K) confusion matrix; NaN where no pixel is counted.

    A class that is predicted but not in the labels has IoU 0 and counts; an absent one does not (as in Long et al.
    2015, arXiv:1411.4038, section 5, and in Keras' MeanIoU).
    """
    hits = np.diag(matrix).astype(np.float64)
    occurs, union = matrix.sum(axis=1), matrix.sum(axis=1) + matrix.sum(axis=0) - np.diag(matrix)
    iou = np.divide(hits, union, out=np.full(len(matrix), np.nan), where=union > 0)
    accuracy = np.divide(hits, occurs, out=np.full(len(matrix), np.nan), where=occurs > 0)
    total = int(matrix.sum())
    if total == 0:
        return Scores(np.nan, np.nan, np.nan, np.nan, iou, accuracy, occurs)
    return Scores(
        pixel_accuracy=float(hits.sum() / total),
        mean_accuracy=float(np.nanmean(accuracy)),
        mean_iou=float(np.nanmean(iou)),
        frequency_weighted_iou=float(np.nansum(iou * occurs) / total),
        iou=iou,
        accuracy=accuracy,
        pixels=occurs,
    )
