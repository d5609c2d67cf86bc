"""Pairs of left and right classes that label files do not distinguish."""

import numpy as np

from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample


def one_sided_pairs(dataset: Dataset, samples: list[Sample], most: int = 200) -> list[tuple[int, int]]:
    """Find the pairs of which only one id is ever used: labels that do not distinguish left from right.

    Mirroring must not swap these, or half of the crops would have a class that is nowhere in the labels. A pair
    counts when one id is in 50 label files or more, of up to `most` looked at, and the other in none.

    Raises:
        DataError: A label file cannot be read.
    """
    looked_at = samples[:: max(1, len(samples) // most)] if dataset.flip_pairs else []
    files_with = np.zeros(256, np.int64)
    for sample in looked_at:
        files_with += np.bincount(dataset.read_labels(sample).ravel(), minlength=256) > 0
    return [
        (left, right)
        for left, right in dataset.flip_pairs
        if max(files_with[left], files_with[right]) >= 50 and min(files_with[left], files_with[right]) == 0
    ]
