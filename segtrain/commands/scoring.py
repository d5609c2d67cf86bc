"""The scores of a split, counted the same way by train's validation and by eval."""

import sys
from collections.abc import Callable, Mapping
from contextlib import closing

import numpy as np
from tqdm import tqdm

from segtrain.data.dataset import Dataset, Sample
from segtrain.inference import Prediction, Predictor
from segtrain.losses import HeadLoss, scored
from segtrain.metrics import confusion_matrix, scores
from segtrain.training.replicas import Replicas


class Tally:
    """What the predictions of a split add up to.

    Args:
        dataset: Tells the classes.
        heads: By name of each further head, its loss.

    Attributes:
        matrix: (K, K) int64 confusion matrix, rows the truth.
    """

    def __init__(self, dataset: Dataset, heads: Mapping[str, HeadLoss]) -> None:
        self.matrix = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
        self._dataset = dataset
        self._cost = 0.0
        self._judges = scored(heads)
        self._counts: dict[str, np.ndarray] = {}

    def add_up(self, replicas: Replicas) -> None:
        """Add what the other processes have counted; all of them must call this."""
        self.matrix = replicas.total(self.matrix)
        self._cost = float(replicas.total(np.array(self._cost)))
        self._counts = {name: replicas.total(self._counts[name]) for name in sorted(self._counts)}

    def add(self, prediction: Prediction) -> np.ndarray:
        """Count one photograph; return its own confusion matrix."""
        num_classes, ignore_class = self._dataset.num_classes, self._dataset.ignore_class
        matrix = confusion_matrix(prediction.labels, prediction.predicted, num_classes, ignore_class)
        self.matrix += matrix
        self._cost += prediction.loss * matrix.sum()
        for name, counts in prediction.counts.items():
            self._counts[name] = self._counts.get(name, 0) + counts
        return matrix

    @property
    def loss(self) -> float:
        """The network's own loss, without its heads', a pixel: the same number whichever heads train along."""
        return float(self._cost / max(1, self.matrix.sum()))

    @property
    def heads(self) -> dict[str, dict[str, float]]:
        """By name of each head that is scored, its scores by name, from the counts of all photographs together."""
        return {name: self._judges[name].scores(counts) for name, counts in self._counts.items()}


def share_of(samples: list[Sample], replicas: Replicas) -> list[Sample]:
    """Those samples that this process scores: all where there are fewer than processes."""
    return samples if len(samples) < replicas.num_processes else samples[replicas.process :: replicas.num_processes]


def validate(
    predictor: Predictor,
    dataset: Dataset,
    samples: list[Sample],
    workers: int,
    heads: Mapping[str, HeadLoss],
    poll: Callable[[], None],
    poll_in_wait: Callable[[], None],
    look: Callable[[Prediction], None],
    replicas: Replicas,
) -> dict[str, float]:
    """Score a split as `segtrain eval` does: whole photographs, every pixel at its own size.

    `look` is called with each image's prediction, then `poll`, which may end the validation with an error, as may
    `poll_in_wait`, which is called while an image is awaited. Of several processes each scores its share, `share_of`,
    and none polls before all are through.

    Returns:
        By name as in a run's logs: `val_loss`, to be compared with a training's `loss` or, where further heads add to
        that, with its `loss_logits`; the means of `metrics.Scores`; and `val_<head>_<score>` of heads that are scored.
    """
    tally = Tally(dataset, heads)
    own = share_of(samples, replicas)
    with closing(predictor.predict(dataset, own, workers, poll_in_wait)) as predictions:
        for prediction in tqdm(predictions, "validation", len(own), leave=False, disable=not sys.stderr.isatty()):
            tally.add(prediction)
            look(prediction)
            if replicas.num_processes == 1:
                poll()
    if len(own) < len(samples):
        tally.add_up(replicas)
    found = scores(tally.matrix)
    return {
        "val_loss": tally.loss,
        "val_pixel_accuracy": found.pixel_accuracy,
        "val_mean_accuracy": found.mean_accuracy,
        "val_mean_iou": found.mean_iou,
        "val_frequency_weighted_iou": found.frequency_weighted_iou,
        **{f"val_{head}_{name}": value for head, each in tally.heads.items() for name, value in each.items()},
    }
