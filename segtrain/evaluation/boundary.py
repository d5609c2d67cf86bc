"""Boundary IoU: a score of the pixels near class borders, which large objects do not dominate."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import cv2
import numpy as np

from segtrain.evaluation.metric import Metric, divide
from segtrain.limits import Limits, limited


class Boundary(Metric):
    """Boundary IoU (Cheng et al. 2021, arXiv:2103.16562, equation 1), by class and as the mean over present classes.

    The boundary of a class consists of its pixels within `width` of its contour; the image border counts as contour, as
    in the authors' code. Intersection and union are summed over all images. Ignored pixels do not count and belong to
    no class.

    Args:
        class_names: Names of the K classes of the dataset.
        ignore_class: Label of ignored pixels.
        width: Distance to the contour as a fraction of the image's diagonal; at least one pixel.

    Example:
        >>> metric = Boundary(["road", "car"], ignore_class=255)
        >>> labels = np.zeros((8, 8), np.uint8)
        >>> labels[2:6, 2:6] = 1
        >>> metric.update(labels, labels, np.zeros((8, 8, 2)))
        >>> metric.result()["iou/car"]
        1.0
    """

    uses_logits = False

    @limited
    def __init__(
        self, class_names: Sequence[str], ignore_class: int, width: Annotated[float, Limits(1e-4, 0.5)] = 0.02
    ) -> None:
        super().__init__(tuple(class_names), ignore_class)
        self._width = width
        zeros = np.zeros(len(self.class_names), np.int64)
        self.add(intersection=zeros, union=zeros)

    def update(self, labels: np.ndarray, predicted: np.ndarray, logits: np.ndarray) -> None:
        width = max(1, round(self._width * float(np.hypot(*labels.shape))))
        counted = labels != self.ignore_class
        intersection, union = np.zeros((2, len(self.class_names)), np.int64)
        for index in np.union1d(labels[counted], predicted[counted]):
            truth, found = (_boundary((each == index) & counted, width) for each in (labels, predicted))
            intersection[index] = np.count_nonzero(truth & found)
            union[index] = np.count_nonzero(truth | found)
        self.add(intersection=intersection, union=union)

    def result(self) -> Mapping[str, float]:
        pairs = zip(self.class_names, self.sums["intersection"], self.sums["union"], strict=True)
        by_class = {f"iou/{name}": divide(part, total) for name, part, total in pairs}
        present = [value for value in by_class.values() if np.isfinite(value)]
        return {"iou": divide(sum(present), len(present)), **by_class}


def _boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Return which pixels of a mask lie within `width` steps (along rows, columns or diagonals) of its contour."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    # One erosion by a square of 2 * width + 1 equals `width` erosions by a square of 3.
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(padded, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)[1:-1, 1:-1]
    found: np.ndarray = mask & (inner == 0)
    return found
