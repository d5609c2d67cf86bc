"""Checks before the first step, so that a fault in the data does not show after hours."""

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from segtrain.builders.user_parts import require_samples
from segtrain.builders.verdicts import identity
from segtrain.data.audit import store
from segtrain.data.audit.work import in_threads, refuse_unfit
from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.contents import shown
from segtrain.data.images.files import read_stored_range
from segtrain.data.images.image_range import judge
from segtrain.data.images.palette import sampled_differences
from segtrain.data.images.sample import Sample
from segtrain.data.listing.pairing import refuse_shared
from segtrain.data.listing.splits import WITHOUT_LABELS, UnlabeledError, must_differ
from segtrain.data.loading.crops import spread
from segtrain.errors import DataError
from segtrain.shell import setting

logger = logging.getLogger(__name__)

# Of a larger split so many label files are read, spread over it: a few seconds; `segtrain check` reads all.
MOST_LABELS = 2000
_MOST_FILES = 200  # whose palettes are compared, or of the training split whose classes are looked at
_MOST_RANGES = 16  # images whose values are looked at
_MOST_SCORABLE = 16  # label files of a split that is scored, until one holds a class


class _Seen(NamedTuple):
    """Result of reading one label file: its problem, if any, and which class ids occur."""

    problem: str
    occurs: np.ndarray


def require_valid_labels(cfg: DictConfig, dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Read the label files of the validation split once; files that were read before and have not changed are not.

    Args:
        cfg: Has `dataset`, `workers` and `limit_samples`.
        dataset: Reads the labels.
        samples: Of the validation split.

    Raises:
        DataError: A file cannot be read or holds an unknown value, or all files together hold a single class.
    """
    if _reads_labels_otherwise(dataset):
        return
    looked_at = spread(list(samples), MOST_LABELS)
    name = store.key(f"labels {identity(cfg.dataset)}", looked_at)
    if store.load_verdict(name) is not None:
        return

    def look(sample: Sample) -> _Seen:
        try:
            return _Seen("", np.bincount(dataset.read_labels(sample).ravel(), minlength=256) > 0)
        except DataError as error:
            return _Seen(error.message, np.zeros(256, bool))

    found = in_threads(look, looked_at, cfg.workers)
    seen = list(tqdm(found, "validation labels", len(looked_at), leave=False, delay=2, disable=not sys.stderr.isatty()))
    refuse_unfit([each.problem for each in seen], "validation label files cannot be used")
    occurs = np.any([each.occurs for each in seen], axis=0)
    if np.count_nonzero(occurs[: dataset.num_classes]) >= 2:
        store.store_verdict(name, store.Verdict(f"{datetime.now():%Y-%m-%d %H:%M}", 0, 0))
        return
    text = _single_class(dataset, occurs, len(looked_at), "validation")
    if len(looked_at) < len(samples) or cfg.limit_samples is not None:
        logger.warning("%s", text)
    else:
        raise DataError(text)


def warn_of_single_class(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Warn where label files of the training split hold one class only. Reading ends with the second class."""
    if _reads_labels_otherwise(dataset):
        return
    occurs = np.zeros(256, bool)
    looked_at = spread(list(samples), _MOST_FILES)
    for sample in looked_at:
        with contextlib.suppress(DataError):  # whoever reads the sample to train on it names its file
            occurs |= np.bincount(dataset.read_labels(sample).ravel(), minlength=256) > 0
        if np.count_nonzero(occurs[: dataset.num_classes]) >= 2:
            return
    if occurs.any():
        logger.warning("%s", _single_class(dataset, occurs, len(looked_at), "training"))


def refuse_leaks(
    dataset: Dataset, every: Mapping[str, list[Sample]], validation_split: str, limit: int | None = None
) -> None:
    """Compare the training images with those of every other split that can be listed.

    Nothing is compared where a network validates on its training split, to see whether it learns what it is shown.

    Args:
        dataset: Lists the other splits.
        every: All samples of "train" and of the split to validate on.
        validation_split: Its name.
        limit: How many of each are used.

    Raises:
        DataError: An image is in the training split and in another.
    """
    if validation_split == "train":
        return
    train, validation = (spread(every[split], limit) for split in ("train", validation_split))
    refuse_shared(train, validation, validation_split)
    listed, validated = ({sample.image for sample in each} for each in (every["train"], validation))
    for split in dataset.splits:
        if split in ("train", validation_split):
            continue
        try:
            others = require_samples(dataset, split)
        except DataError as error:  # nothing of the run rests on it
            logger.info("split %s is not compared with the training split: %s", split, error)
            continue
        held_out = {sample.image for sample in others}
        if must_differ("train", split, listed, held_out):
            refuse_shared(train, others, split)
        if must_differ(validation_split, split, validated, held_out) and (number := len(validated & held_out)):
            logger.warning(
                "%d of %d validation images are in split %s too: as they choose the best checkpoint, scores of this "
                "split will be too high. Fix: take them off one of the two",
                *(number, len(validated), split),
            )


def require_scorable(dataset: Dataset, samples: Sequence[Sample], split: str) -> None:
    """Refuse a split whose label files hold ignored pixels only, as those of a benchmark's test split.

    Args:
        dataset: Reads the labels.
        samples: Of the split.
        split: Its name.

    Raises:
        DataError: All label files looked at, spread over the split, hold no class.
    """
    looked_at = [] if _reads_labels_otherwise(dataset) else spread(list(samples), _MOST_SCORABLE)
    for sample in looked_at:
        with contextlib.suppress(DataError):  # whoever scores the sample names its file
            if (dataset.read_labels(sample) == dataset.ignore_class).all():
                continue
        return
    if looked_at:
        raise UnlabeledError(
            f"split '{split}' has no labels to score: {len(looked_at)} label files looked at, the first "
            f"{shown(looked_at[0].labels)}, hold ignored pixels only, as where labels are not public; expected "
            f"classes. {WITHOUT_LABELS}"
        )


def require_image_range(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Look at the values of some 16-bit images, spread over the samples; warn where the network would see few levels.

    Raises:
        DataError: All of them are in a sliver of the range, and the dataset gives no `image_range`.
    """
    parts = dataset.datasets if isinstance(dataset, Concat) else {"": dataset}
    members = [dataset.member(each)[0] if isinstance(dataset, Concat) else dataset for each in samples]
    for name, part in parts.items():
        if part.image_range is not None:
            continue
        ranges = []
        for sample in spread([each for each, of in zip(samples, members, strict=True) if of is part], _MOST_RANGES):
            with contextlib.suppress(DataError):  # reading the complete file reports it
                ranges += [found for found in [read_stored_range(sample.image, part.max_pixels)] if found]
        verdict = judge(ranges, f"dataset.datasets.{name}.image_range" if name else "dataset.image_range")
        if verdict and verdict.severity == "error":
            raise DataError(f"{verdict.text}. Fix: {verdict.fix}")
        if verdict:
            logger.warning("%s. Fix: %s", verdict.text, verdict.fix)


def warn_of_palettes(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Warn where palettes of some label files, spread over the samples, have other colors at the same indices."""
    parts = dataset.datasets.values() if isinstance(dataset, Concat) else [dataset]
    members = [dataset.member(each)[0] if isinstance(dataset, Concat) else dataset for each in samples]
    for part in parts:
        if part.label_colors is None:
            own = spread([each for each, of in zip(samples, members, strict=True) if of is part], _MOST_FILES)
            if text := sampled_differences([each.labels for each in own], part.max_pixels):
                logger.warning(
                    "the palettes of the label files differ: %s. Fix: segtrain check with the same keys lists them",
                    text,
                )


def _reads_labels_otherwise(dataset: Dataset) -> bool:
    """Whether a user's dataset makes its labels in a `read` of its own, so that no file has to hold them."""
    own = type(dataset)
    return own.read not in (Dataset.read, Concat.read) and own.read_labels is Dataset.read_labels


def _single_class(dataset: Dataset, occurs: np.ndarray, number: int, what: str) -> str:
    names = [name for name, found in zip(dataset.class_names, occurs, strict=False) if found]
    ignored = bool(occurs[dataset.ignore_class])
    held = " and ".join([*names, *(["ignored pixels"] if ignored else [])])
    fix = "segtrain check with the same keys shows what the files hold"
    if ignored and dataset.num_classes == 2 and names == [dataset.class_names[0]]:
        fix = f"dataset=binary, or {setting('dataset.label_values', {0: 0, dataset.ignore_class: 1})}"
    return (
        f"the {number} {what} label files read hold {held} only: every score would be that of one class, expected at "
        f"least 2 classes. Fix: {fix}"
    )
