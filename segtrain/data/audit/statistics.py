"""Class frequencies, and class weights for a loss.

K classes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from segtrain.data.audit.record import Record

DECIMALS = 4


class ClassCounts(NamedTuple):
    """Pixel and file counts of one split's label files; files that cannot be read are left out.

    Attributes:
        pixels: (K,) int64, pixels of each class.
        images: (K,) int64, label files that hold each class.
        pixels_around: (K,) int64, pixels of any class in the files that hold each class, without ignored pixels.
        ignored: Ignored pixels.
        files: Label files counted.
    """

    pixels: np.ndarray
    images: np.ndarray
    pixels_around: np.ndarray
    ignored: int
    files: int

    @property
    def total(self) -> int:
        """All pixels, including ignored ones."""
        return int(self.pixels.sum()) + self.ignored


def count_classes(records: Iterable[Record], num_classes: int) -> ClassCounts:
    """Add up the classes of records."""
    pixels, images, around = (np.zeros(num_classes, np.int64) for _ in range(3))
    ignored = files = 0
    for record in records:
        if not record.classes:
            continue
        files += 1
        here = [class_id for class_id in record.classes if class_id < num_classes]
        counts = np.array([record.classes[class_id] for class_id in here], np.int64)
        pixels[here] += counts
        images[here] += 1
        around[here] += counts.sum()
        ignored += sum(count for class_id, count in record.classes.items() if class_id >= num_classes)
    return ClassCounts(pixels, images, around, ignored, files)


def class_weights(counts: ClassCounts) -> dict[str, list[float]]:
    """Factors for a weighted loss by the three usual rules; a class that does not occur gets 0.

    With p_c the fraction of class c among pixels not ignored, and f_c its fraction in the images that show it:
    "median_frequency" is median(f) / f_c (Eigen and Fergus 2015, section 6.3.2), "enet" 1 / ln(1.02 + p_c) (Paszke et
    al. 2016, section 5.2), "inverse" 1 / p_c divided by the number of classes that occur, which weighs all alike.
    """
    occurs = counts.pixels > 0
    if not occurs.any():
        return {}
    fractions = counts.pixels / counts.pixels.sum()
    frequencies = counts.pixels[occurs] / counts.pixels_around[occurs]
    found = {
        "median_frequency": np.median(frequencies) / frequencies,
        "enet": 1 / np.log(1.02 + fractions[occurs]),
        "inverse": 1 / fractions[occurs] / occurs.sum(),
    }
    weights = {}
    for rule, factors in found.items():
        every = np.zeros(len(occurs))
        every[occurs] = factors
        weights[rule] = [_rounded(factor) for factor in every]
    return weights


def _rounded(factor: float) -> float:
    """Four digits after the point, and never 0 for a class that occurs, however common it is."""
    rounded = round(float(factor), DECIMALS)
    return rounded if rounded or not factor else float(f"{factor:.1g}")
