"""Bootstrap confidence intervals of scores, by resampling images.

N images, K classes. Pixels of one image are not independent, so that images are drawn, not pixels (Efron 1979).
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from segtrain.evaluation.confusion import MEANS

REPLICATES = 1000
LEVEL = 0.95
NAMES = (*MEANS, "mean_dice")

Interval = tuple[float, float]


class Counts(NamedTuple):
    """Pixels of each image by class.

    Attributes:
        hits: (N, K) int64 pixels whose class is right.
        occurs: (N, K) int64 labeled pixels.
        predicted: (N, K) int64 predicted pixels.
    """

    hits: np.ndarray
    occurs: np.ndarray
    predicted: np.ndarray


def intervals(
    counts: Counts,
    class_names: Sequence[str],
    *,
    exclude: Collection[int] = (),
    seed: int = 0,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return the percentile interval of each score of a split.

    Args:
        counts: Of all images.
        class_names: K names.
        exclude: Ids of classes that are left out of the means over classes.
        seed: Random seed of the images drawn.
        replicates: Number of splits drawn, each with as many images.
        level: Probability that an interval covers, 0-1.

    Returns:
        Lower and upper bound by `mean_iou`, ..., `iou/CLASS`; a class that most draws lack has none.

    Example:
        >>> counts = Counts(*(np.array([[10, 10], [10, 10]]) for _ in range(3)))  # two perfect images
        >>> intervals(counts, ["road", "car"])["mean_iou"]
        (1.0, 1.0)
    """
    drawn = np.concatenate(list(_resampled(counts, exclude, seed, replicates)))
    return _bounds(drawn, class_names, level)


def paired_intervals(
    first: Counts,
    second: Counts,
    class_names: Sequence[str],
    *,
    exclude: Collection[int] = (),
    seed: int = 0,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return the interval of each score's difference, second minus first, on the same images.

    Args:
        first: Counts of one network.
        second: Counts of another one, for the same images in the same order.
        class_names: K names.
        exclude: See `intervals`.
        seed: See `intervals`.
        replicates: See `intervals`.
        level: See `intervals`.
    """
    draws = (_resampled(counts, exclude, seed, replicates) for counts in (first, second))
    one, other = (np.concatenate(list(each)) for each in draws)
    return _bounds(other - one, class_names, level)


def _resampled(counts: Counts, exclude: Collection[int], seed: int, replicates: int) -> Iterator[np.ndarray]:
    """Yield the scores of some draws at a time, (n, 5 + K): those of `NAMES`, then the IoU of each class."""
    number, num_classes = counts.hits.shape
    rng = np.random.default_rng(seed)
    kept = np.ones(num_classes, bool)
    kept[list(exclude)] = False
    for start in range(0, replicates, 100):
        rows = min(100, replicates - start)
        weights = rng.multinomial(number, np.full(number, 1 / number), size=rows).astype(np.float64)
        hits, occurs, predicted = (weights @ each.astype(np.float64) for each in counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = hits / (occurs + predicted - hits)
            total = occurs.sum(axis=1)
            means = (
                hits.sum(axis=1) / total,
                _mean((hits / occurs)[:, kept]),
                _mean(iou[:, kept]),
                np.nansum(iou * occurs, axis=1) / total,
                _mean((2 * hits / (occurs + predicted))[:, kept]),
            )
        yield np.column_stack([*means, iou])


def _mean(values: np.ndarray) -> np.ndarray:
    present = np.isfinite(values)
    return np.where(present, values, 0).sum(axis=1) / present.sum(axis=1)


def _bounds(drawn: np.ndarray, class_names: Sequence[str], level: float) -> dict[str, Interval]:
    names = [*NAMES, *(f"iou/{name}" for name in class_names)]
    tails = (1 - level) / 2
    found = {}
    for name, values in zip(names, drawn.T, strict=True):
        present = values[np.isfinite(values)]
        if len(present) > len(values) / 2:
            low, high = np.quantile(present, (tails, 1 - tails))
            found[name] = float(low), float(high)
    return found
