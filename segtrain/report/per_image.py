"""Scores of single images as files: `per_image.csv`, and their pixels by class for later comparison.

N images, K classes.
"""

import csv
import io
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from segtrain.errors import DataError
from segtrain.evaluation.intervals import Counts
from segtrain.evaluation.per_image import PerImage
from segtrain.reading import read_regular
from segtrain.storage import write_atomically
from segtrain.terminal import printable

TABLE, COUNTS = "per_image.csv", "per_image_counts.npz"
MAX_BYTES = 1 << 28
_FIXED = ("mean_iou", "pixel_accuracy", "mean_dice", "loss", "error_pixels", "labeled_pixels", "confidence")


def write_per_image(folder: Path, images: PerImage, class_names: Sequence[str], exclude: Collection[int] = ()) -> None:
    """Write a row per image, the lowest mean IoU first, and the counts that intervals are computed from.

    Args:
        folder: The folder to write to.
        images: Scores of the images.
        class_names: K names.
        exclude: Ids of classes that are left out of the means over classes.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", *_FIXED, "confident_disagreement", *(f"iou/{name}" for name in class_names)))
    for record, found in images.worst_first(exclude):
        labeled = int(record.occurs.sum())
        numbers = (found.mean_iou, found.pixel_accuracy, found.mean_dice, record.loss)
        pixels = (labeled - int(record.hits.sum()), labeled)
        rest = (record.confidence, record.disagreement, *found.iou)
        writer.writerow((record.name, *map(_number, numbers), *pixels, *map(_number, rest)))
    write_atomically(folder / TABLE, text.getvalue().encode(errors="surrogateescape"))
    data = io.BytesIO()
    names = np.array([record.name.encode(errors="surrogateescape") for record in images.records])
    np.savez_compressed(data, names=names, **images.counts._asdict())
    write_atomically(folder / COUNTS, data.getvalue())


def read_counts(folder: Path) -> tuple[list[str], Counts]:
    """Read names and counts of the images of an evaluation; no pickle.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = folder / COUNTS
    try:
        with np.load(io.BytesIO(read_regular(path, MAX_BYTES)), allow_pickle=False) as arrays:
            counts = Counts(*(arrays[name] for name in Counts._fields))
            names = [name.decode(errors="surrogateescape") for name in arrays["names"].tolist()]
    except (OSError, ValueError, KeyError, EOFError) as error:
        seen = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise DataError(
            f"cannot read {printable(path)}: {seen}, expected the counts that eval writes. Fix: segtrain eval"
        ) from error
    shapes = {each.shape for each in counts}
    if len(shapes) != 1 or len(counts.hits) != len(names) or counts.hits.ndim != 2 or counts.hits.dtype.kind != "i":
        raise DataError(f"cannot read {printable(path)}: arrays of different sizes. Fix: segtrain eval")
    return names, counts


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else ""
