"""Loss and metrics of a split, for validation and for `segtrain eval`.

H height, W width, K classes.
"""

import copy
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, final

import numpy as np
import tensorflow as tf

from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.loading.batches import ignore_wait, whole_images
from segtrain.errors import DataError
from segtrain.evaluation.confusion import MEANS, Scores, confusion_matrix, scores
from segtrain.evaluation.metric import Direction, Metric
from segtrain.evaluation.strips import Measured, measure_in_strips
from segtrain.inference.graphs import reduce_logits
from segtrain.inference.predictor import Predictor, not_finite
from segtrain.losses import HeadLoss, additive, scored

_NO_METRICS: Mapping[str, Metric] = MappingProxyType({})


class Prediction(NamedTuple):
    """Labels and prediction of one sample.

    Attributes:
        sample: The sample.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 true class ids, or the ignored class.
        predicted: (H, W) uint8 predicted class ids.
        loss: Mean loss over the pixels that are not ignored.
        matrix: (K, K) int64 confusion matrix of this image, rows the true class.
        confidence: (H, W) float32 softmax probability of the predicted class; None unless asked for.
    """

    sample: Sample
    image: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    loss: float
    matrix: np.ndarray
    confidence: np.ndarray | None = None


class SplitScores:
    """Scores of a split, accumulated image by image.

    Args:
        class_names: Names of the K classes.
        ignore_class: Label of ignored pixels.
        heads: Name of each further head -> its loss and weight.
        metrics: Name of each further metric -> the metric, without any image added.

    Attributes:
        matrix: (K, K) int64 confusion matrix, rows the true class.
        loss: Mean loss of the main head over all pixels that are not ignored.
        exclude: Ids of classes that are left out of the means over classes.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        ignore_class: int,
        heads: Mapping[str, HeadLoss] = MappingProxyType({}),
        metrics: Mapping[str, Metric] = _NO_METRICS,
    ) -> None:
        self.matrix = np.zeros((len(class_names), len(class_names)), np.int64)
        self._class_names = class_names
        self._ignore_class = ignore_class
        self._loss_sum = 0.0
        self.exclude: tuple[int, ...] = ()
        self._scored_heads = scored(heads)
        self._head_counts: dict[str, np.ndarray] = {}
        self._metrics = {name: copy.deepcopy(metric) for name, metric in metrics.items()}

    def add(
        self, labels: np.ndarray, predicted: np.ndarray, logits: np.ndarray, loss: float, counts: Mapping[str, Any]
    ) -> np.ndarray:
        """Add one image; return its own confusion matrix.

        Args:
            labels: (H, W) uint8.
            predicted: (H, W) uint8.
            logits: (H, W, K) float32.
            loss: Mean loss over the pixels that are not ignored.
            counts: Name of each scored head -> its `Scored.count`.
        """
        matrix = confusion_matrix(labels, predicted, len(self._class_names), self._ignore_class)
        if matrix.sum() + np.count_nonzero(labels == self._ignore_class) != labels.size:
            raise RuntimeError(f"{matrix.sum()} of {labels.size} pixels counted, and the others are not ignored")
        self.matrix += matrix
        self._loss_sum += loss * matrix.sum()
        for name, each in counts.items():
            self._head_counts[name] = self._head_counts.get(name, 0) + each
        for metric in self._metrics.values():
            metric.update(labels, predicted, logits)
        return matrix

    def merge(self, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Add the counts of the other processes; all of them must call this.

        Args:
            total: Sums an array over the processes.
        """
        self.matrix = total(self.matrix)
        self._loss_sum = float(total(np.array(self._loss_sum)))
        self._head_counts = {name: total(self._head_counts[name]) for name in sorted(self._head_counts)}
        for name in sorted(self._metrics):
            self._metrics[name].merge(total)

    @property
    def loss(self) -> float:
        return float(self._loss_sum / max(1, self.matrix.sum()))

    @property
    def scores(self) -> Scores:
        """Scores computed from the confusion matrix."""
        return scores(self.matrix, self.exclude)

    @property
    def heads(self) -> dict[str, dict[str, float]]:
        """Name of each scored head -> its scores by name, from the summed counts of all images."""
        return {name: self._scored_heads[name].scores(counts) for name, counts in self._head_counts.items()}

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Name of each further metric -> its scores by name."""
        return {name: dict(metric.result()) for name, metric in self._metrics.items()}

    @property
    def details(self) -> dict[str, Any]:
        """Name of each further metric -> its `Metric.details`, if it has any."""
        return {name: found for name, metric in self._metrics.items() if (found := metric.details())}

    def reported(self) -> dict[str, float]:
        """Return all scores of the split: `loss`, the means, `<head>_<score>`, `<metric>_<score>`, `iou/<class>`."""
        found = self.scores
        return {
            "loss": self.loss,
            **{name: getattr(found, name) for name in MEANS},
            **_joined(self.heads),
            **_joined(self.metrics),
            **{f"iou/{name}": float(value) for name, value in zip(self._class_names, found.iou, strict=True)},
        }


def _joined(scores_by_part: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{part}_{name}": float(value) for part, each in scores_by_part.items() for name, value in each.items()}


@final
class Scorer:
    """Score a network against the labels of samples.

    An image that is divided, augmented or large (`Predictor.needs_strips`) is scored in strips of rows, without its
    heads. A loss or metric that needs all logits of an image at once gets them.

    Args:
        predictor: Computes the logits, including those of the scored heads.
        loss: Called with labels (1, H, W) and logits (1, H, W, K).
        dataset: Dataset with class names and ignored class.
        heads: Name of each further head -> its loss and weight; those whose loss is `Scored` are scored.
        metrics: Name of each further metric -> the metric, without any image added.
        with_confidence: Whether predictions hold the confidence of each pixel.
    """

    def __init__(
        self,
        predictor: Predictor,
        loss: Callable[[Any, Any], Any],
        dataset: Dataset,
        *,
        heads: Mapping[str, HeadLoss] = MappingProxyType({}),
        metrics: Mapping[str, Metric] = _NO_METRICS,
        with_confidence: bool = False,
    ) -> None:
        scored_heads = scored(heads)
        self._predictor = predictor
        self._loss = additive(loss)
        self._uses_logits = any(metric.uses_logits for metric in metrics.values())
        self._dataset = dataset
        self._heads = heads
        self._metrics = metrics

        @tf.function(autograph=False, reduce_retracing=True)
        def measure(labels: tf.Tensor, outputs: Mapping[str, tf.Tensor]) -> tuple[Any, ...]:
            logits = outputs["logits"]
            predicted, confidence, is_finite = reduce_logits(logits[0])
            counts = {name: each.count(labels, outputs[name]) for name, each in scored_heads.items()}
            return predicted, confidence if with_confidence else None, loss(labels, logits), is_finite, counts

        self._measure = measure

    def start(self) -> SplitScores:
        """Return empty scores to add images to."""
        return SplitScores(self._dataset.class_names, self._dataset.ignore_class, self._heads, self._metrics)

    def score(
        self,
        samples: list[Sample],
        totals: SplitScores,
        workers: int = 2,
        poll: Callable[[], None] = ignore_wait,
    ) -> Generator[Prediction, None, None]:
        """Predict each sample and add it to `totals`; `close` of the generator ends its threads.

        Args:
            samples: Samples to score.
            totals: Scores to add to, from `start`.
            workers: Number of threads that read samples.
            poll: Called several times per second while waiting for a sample; may raise.

        Raises:
            DataError: A sample cannot be read.
            NumericError: A logit is NaN or infinite.
        """
        compute = self._predictor.outputs(len(samples))
        with whole_images(self._dataset, samples, workers, poll) as batches:
            for sample, (images, labels) in zip(samples, batches, strict=True):
                image, true = images.numpy()[0], labels.numpy()[0]
                if self._predictor.needs_strips(image):
                    found = measure_in_strips(self._predictor.strips(image), true, self._loss, self._uses_logits)
                else:
                    found = self._measured(compute(images), labels)
                if found is None:
                    raise not_finite(sample.image)
                try:
                    matrix = totals.add(true, found.predicted, found.logits, found.loss, found.counts)
                except ValueError as error:  # labels that a dataset of one's own has not mapped to classes
                    raise DataError(f"labels in {sample.labels}: {error}. Fix: segtrain check lists them") from error
                yield Prediction(sample, image, true, found.predicted, found.loss, matrix, found.confidence)

    def _measured(self, outputs: Mapping[str, tf.Tensor], labels: tf.Tensor) -> Measured | None:
        """Score the outputs for a complete image; None if a logit is NaN or infinite."""
        predicted, confidence, loss, is_finite, counts = self._measure(labels, outputs)
        if not is_finite:
            return None
        return Measured(
            predicted.numpy(),
            None if confidence is None else confidence.numpy(),
            float(loss),
            np.asarray(outputs["logits"])[0] if self._uses_logits else np.zeros(0),
            {name: each.numpy() for name, each in counts.items()},
        )


def directions_of(
    dataset: Dataset, heads: Mapping[str, HeadLoss], metrics: Mapping[str, Metric]
) -> dict[str, Direction]:
    """Return for every score of a split, by name, whether higher or lower is better.

    Args:
        dataset: Dataset with class names and ignored class.
        heads: Name of each further head -> its loss and weight.
        metrics: Name of each further metric -> the metric, without any image added.
    """
    found: dict[str, Direction] = {"loss": "min", **dict.fromkeys(MEANS, "max")}
    nothing = np.full((1, 1, 1), dataset.ignore_class, np.uint8)
    for head, each in scored(heads).items():
        logits = np.zeros((1, 1, 1, getattr(each, "num_logits", dataset.num_classes)), np.float32)
        found |= dict.fromkeys(
            (f"{head}_{score}" for score in each.scores(np.asarray(each.count(nothing, logits)))), "max"
        )
    for name, metric in metrics.items():
        found |= {f"{name}_{score}": metric.direction(score) for score in metric.result()}
    return found | dict.fromkeys((f"iou/{name}" for name in dataset.class_names), "max")


def samples_of_process(samples: list[Sample], process: int, num_processes: int) -> list[Sample]:
    """Return the samples that a process scores: all of them if there are fewer samples than processes."""
    return samples if len(samples) < num_processes else samples[process::num_processes]
