"""Boundary IoU and boundary F: scores of the pixels near class borders, which large objects do not dominate."""

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

    Boundary F (Csurka et al. 2013, BMVC, section 3): the harmonic mean of the fractions of predicted and of true
    contour pixels that lie within `width` of the other contour, from counts summed over all images.

    Args:
        class_names: Names of the K classes of the dataset.
        ignore_class: Label of ignored pixels.
        width: Distance to the contour: below 1 a fraction of the image's diagonal, of at least one pixel; from 1 on
            in pixels.

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
        self, class_names: Sequence[str], ignore_class: int, width: Annotated[float, Limits(1e-4, 1000)] = 0.02
    ) -> None:
        super().__init__(tuple(class_names), ignore_class)
        self._width = width
        zeros = np.zeros(len(self.class_names), np.int64)
        self.add(intersection=zeros, union=zeros, near_true=zeros, predicted=zeros, near_predicted=zeros, true=zeros)

    def update(self, labels: np.ndarray, predicted: np.ndarray, logits: np.ndarray) -> None:
        scale = float(np.hypot(*labels.shape)) if self._width < 1 else 1.0
        width = max(1, round(self._width * scale))
        counted = labels != self.ignore_class
        intersection, union = np.zeros((2, len(self.class_names)), np.int64)
        near_true, predicted_pixels, near_predicted, true_pixels = np.zeros((4, len(self.class_names)), np.int64)
        for index in np.union1d(labels[counted], predicted[counted]):
            truth, found = (_boundary((each == index) & counted, width) for each in (labels, predicted))
            intersection[index] = np.count_nonzero(truth & found)
            union[index] = np.count_nonzero(truth | found)
            true_line, found_line = (_boundary((each == index) & counted, 1) for each in (labels, predicted))
            true_pixels[index], predicted_pixels[index] = np.count_nonzero(true_line), np.count_nonzero(found_line)
            near_true[index] = np.count_nonzero(found_line & _near(true_line, width))
            near_predicted[index] = np.count_nonzero(true_line & _near(found_line, width))
        self.add(intersection=intersection, union=union, near_true=near_true, predicted=predicted_pixels)
        self.add(near_predicted=near_predicted, true=true_pixels)

    def result(self) -> Mapping[str, float]:
        pairs = zip(self.class_names, self.sums["intersection"], self.sums["union"], strict=True)
        iou = {f"iou/{name}": divide(part, total) for name, part, total in pairs}
        # 2 P R / (P + R), with P = near_true / predicted and R = near_predicted / true.
        names = ("near_true", "predicted", "near_predicted", "true")
        f = {}
        for name, *counts in zip(self.class_names, *(self.sums[each] for each in names), strict=True):
            near_true, predicted, near_predicted, true = map(int, counts)
            precision, recall = near_true / max(1, predicted), near_predicted / max(1, true)
            score = divide(2 * precision * recall, precision + recall) if precision + recall else 0.0
            f[f"f/{name}"] = score if predicted or true else float("nan")
        return {"iou": _mean(iou), "f": _mean(f), **iou, **f}


def _mean(by_class: Mapping[str, float]) -> float:
    present = [value for value in by_class.values() if np.isfinite(value)]
    return divide(sum(present), len(present))


def _near(line: np.ndarray, width: int) -> np.ndarray:
    """Return which pixels lie within `width` pixels of a line."""
    distance = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    found: np.ndarray = distance <= width if line.any() else np.zeros(line.shape, bool)
    return found


def _boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Return which pixels of a mask lie within `width` steps (along rows, columns or diagonals) of its contour."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    # One erosion by a square of 2 * width + 1 equals `width` erosions by a square of 3.
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(padded, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)[1:-1, 1:-1]
    found: np.ndarray = mask & (inner == 0)
    return found
