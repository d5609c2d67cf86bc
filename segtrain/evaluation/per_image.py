"""Scores of single images, kept while a split is evaluated. NumPy only.

N images, K classes.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from segtrain.evaluation.confusion import Scores, scores_of_counts
from segtrain.evaluation.intervals import Counts


class ImageRecord(NamedTuple):
    """Scores of one image.

    Attributes:
        name: Name of the sample.
        loss: Mean loss over the pixels that are not ignored.
        confidence: Mean softmax probability of the predicted classes, 0-1.
        disagreement: Fraction of the labeled pixels that are predicted as another class with a probability of 0.9 or
            more: label errors are often among them.
        hits: (K,) pixels whose class is right.
        occurs: (K,) labeled pixels.
        predicted: (K,) predicted pixels that are labeled.
    """

    name: str
    loss: float
    confidence: float
    disagreement: float
    hits: np.ndarray
    occurs: np.ndarray
    predicted: np.ndarray

    def scores(self, exclude: Collection[int] = ()) -> Scores:
        """Compute the scores of the image."""
        return scores_of_counts(self.hits, self.occurs, self.predicted, exclude)


CONFIDENT = 0.9


class PerImage:
    """The scores of all images of a split.

    Attributes:
        records: One per image, in the order in which they were added.
    """

    def __init__(self) -> None:
        self.records: list[ImageRecord] = []

    def add(
        self,
        name: str,
        matrix: np.ndarray,
        loss: float,
        labels: np.ndarray,
        predicted: np.ndarray,
        confidence: np.ndarray,
    ) -> ImageRecord:
        """Add an image.

        Args:
            name: Name of the sample.
            matrix: (K, K) confusion matrix.
            loss: Mean loss.
            labels: (H, W) uint8 class ids of the ground truth.
            predicted: (H, W) uint8 predicted class ids.
            confidence: (H, W) float32 probability of the predicted class.
        """
        wrong = (labels < len(matrix)) & (labels != predicted) & (confidence >= CONFIDENT)
        labeled = int(matrix.sum())
        record = ImageRecord(
            name,
            loss,
            float(confidence.mean(dtype=np.float64)),
            np.count_nonzero(wrong) / labeled if labeled else 0.0,
            np.diag(matrix).copy(),
            matrix.sum(axis=1),
            matrix.sum(axis=0),
        )
        self.records.append(record)
        return record

    @property
    def counts(self) -> Counts:
        """Pixels of each image by class."""
        return Counts(
            *(np.stack([getattr(each, name) for each in self.records]) for name in ("hits", "occurs", "predicted"))
        )

    def means(self, exclude: Collection[int] = ()) -> dict[str, float]:
        """Return the means over images of the images' own scores; images without labeled pixels do not count."""
        names = ("mean_iou", "pixel_accuracy", "mean_dice")
        found = [each.scores(exclude) for each in self.records]
        values = {name: [getattr(each, name) for each in found] for name in names}
        return {name: _mean_of(each) for name, each in values.items()}

    def worst_first(self, exclude: Collection[int] = ()) -> Iterator[tuple[ImageRecord, Scores]]:
        """Yield the images and their scores by mean IoU, the lowest first; those without labeled pixels last."""
        found = [(record, record.scores(exclude)) for record in self.records]
        yield from sorted(found, key=lambda each: (np.isnan(each[1].mean_iou), each[1].mean_iou, each[0].name))


def _mean_of(values: list[float]) -> float:
    present = [value for value in values if np.isfinite(value)]
    return float(np.mean(present)) if present else float("nan")
