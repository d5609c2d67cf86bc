"""Augmentation, cache and loader of a config, the same way in every command; without TensorFlow."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from segtrain.builders.user_parts import require_augmentation, require_kind
from segtrain.config import build
from segtrain.data.augment import Augmentation
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.datasets.flip_pairs import one_sided_pairs
from segtrain.data.images.sample import Sample
from segtrain.data.loading.batch_loader import BatchLoader, batch_bytes
from segtrain.data.loading.cache import DiskCache, MemoryCache
from segtrain.data.loading.crops import Crops, Read
from segtrain.data.loading.processes import Processes
from segtrain.data.loading.retries import retrying
from segtrain.errors import ConfigError

logger = logging.getLogger(__name__)

# The arguments that commands pass to an augmentation and to each of its steps; no key may set them.
AUGMENT_ARGUMENTS = ("crop_size", "ignore_class", "flip_pairs")
# The keys that crops follow from, in addition to the samples.
CROP_KEYS = ("dataset", "augment", "crop_size", "batch_size", "seed", "shuffle")


def augment_arguments(cfg: DictConfig) -> dict[str, tuple[str, ...]]:
    """By key of an augmentation and of each of its steps, the arguments that commands pass to it.

    Raises:
        ConfigError: A step is not a call.
    """
    return {"augment": AUGMENT_ARGUMENTS, **{f"augment.steps.{name}": AUGMENT_ARGUMENTS for name in _steps(cfg)}}


def build_augment(cfg: DictConfig, dataset: Dataset, flip_pairs: Sequence[Sequence[int]]) -> Augmentation:
    """Build the augmentation of a config for a dataset.

    Args:
        cfg: Has the group `augment` and the root key `crop_size`.
        dataset: Tells the ignored class.
        flip_pairs: Class ids to swap in a mirrored image, see `pairs_to_flip`.

    Raises:
        ConfigError: An argument does not fit.
    """
    known = {"crop_size": tuple(cfg.crop_size), "ignore_class": dataset.ignore_class, "flip_pairs": flip_pairs}
    node = cfg.augment.copy()
    if steps := _steps(cfg):
        known["steps"] = {
            name: require_augmentation(build(step, **known), f"augment.steps.{name}") for name, step in steps.items()
        }
        with open_dict(node):
            del node.steps
    return require_augmentation(build(node, **known), "augment", tuple(cfg.crop_size))


def build_dataset(cfg: DictConfig) -> Dataset:
    """Build the dataset of a config.

    Raises:
        ConfigError: An argument does not fit, or it is not a dataset.
    """
    dataset: Dataset = require_kind(build(cfg.dataset), Dataset, "dataset", "a segtrain.data.Dataset")
    return dataset


def pairs_to_flip(dataset: Dataset, samples: list[Sample]) -> list[tuple[int, int]]:
    """Find the dataset's pairs of ids of which the samples of a split show both; the others are logged.

    Raises:
        DataError: A label file cannot be read.
    """
    one_sided = one_sided_pairs(dataset, samples)
    for left, right in one_sided:
        names = dataset.class_names
        logger.warning("only one of %s and %s occurs: mirrored images keep it", names[left], names[right])
    return [pair for pair in dataset.flip_pairs if pair not in one_sided]


def build_crops(
    cfg: DictConfig, dataset: Dataset, samples: Sequence[Sample], flip_pairs: Sequence[Sequence[int]]
) -> Crops:
    """Build the crops that a config trains on.

    Args:
        cfg: As for `build_augment`, with the root keys `cache`, `batch_size`, `seed` and `shuffle`.
        dataset: Reads the samples.
        samples: To train on.
        flip_pairs: See `build_augment`.

    Raises:
        ConfigError: An argument does not fit.
        DataError: There are fewer samples than one batch.
        ResourceError: The cache's folder cannot be written.
    """
    return Crops(
        samples,
        _reader(cfg, dataset),
        build_augment(cfg, dataset, flip_pairs),
        crop_size=tuple(cfg.crop_size),
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        shuffle=cfg.shuffle,
    )


def build_loader(
    cfg: DictConfig, dataset: Dataset, samples: list[Sample], indices: Sequence[int] | None = None
) -> BatchLoader:
    """Build what loads the training batches of a config; close it in the end.

    Args:
        cfg: As for `build_crops`, with the root keys `workers` and `loader`.
        dataset: Reads the samples.
        samples: To train on.
        indices: Samples of a batch to load, see `BatchLoader`.

    Raises:
        ConfigError: An argument does not fit.
        DataError: A label file cannot be read, or there are fewer samples than one batch.
        ResourceError: The cache's folder cannot be written, or no process started.
    """
    flip_pairs = pairs_to_flip(dataset, samples)
    crops = build_crops(cfg, dataset, samples, flip_pairs)
    processes = None
    if in_processes(cfg, samples):
        resolved: Any = OmegaConf.to_container(cfg, resolve=True)
        needed = {key: resolved[key] for key in (*CROP_KEYS, "cache", "trusted_modules")}
        processes = Processes(
            "segtrain.builders.crop_child",
            {"config": OmegaConf.to_yaml(OmegaConf.create(needed)), "flip_pairs": flip_pairs},
            crops,
            count=cfg.workers,
            batch_bytes=batch_bytes(cfg.batch_size if indices is None else len(indices), crops.crop_size),
        )
    return BatchLoader(crops, workers=cfg.workers, indices=indices, processes=processes)


def in_processes(cfg: DictConfig, samples: Sequence[Sample]) -> bool:
    """Decide whether processes load crops, or threads: with a cache, which is shared by threads only, these do.

    Raises:
        ConfigError: Processes are asked for, and a cache, or samples that are more than their files.
    """
    if cfg.loader == "threads":
        return False
    only_files = all(type(sample) is Sample for sample in samples)
    if cfg.loader == "auto":
        return cfg.cache is None and not cfg.trusted_modules and only_files
    if cfg.cache is not None:
        raise ConfigError(
            f"loader=processes, cache={cfg.cache}: a cache is shared by threads only. Fix: loader=auto, or cache=null"
        )
    if not only_files:
        raise ConfigError(
            "loader=processes: the dataset has samples of a class of its own, expected segtrain.data.Sample, which is "
            "all that processes receive. Fix: loader=threads"
        )
    return True


def _reader(cfg: DictConfig, dataset: Dataset) -> Read:
    read = retrying(dataset.read)
    if cfg.cache is None:
        return read
    if cfg.cache == "memory":
        return MemoryCache(read)
    rules = json.dumps(OmegaConf.to_container(cfg.dataset, resolve=True), sort_keys=True)
    return DiskCache(read, Path(cfg.cache).expanduser(), rules)


def _steps(cfg: DictConfig) -> Mapping[str, Any]:
    """Return the steps of an augmentation, if there is one, by name; refuse what is not a call."""
    steps: Any = (cfg.get("augment") or {}).get("steps") or {}
    if not isinstance(steps, Mapping):
        raise ConfigError(
            f"augment.steps={steps}: expected steps by name. Fix: write them like configs/augment/strong.yaml"
        )
    for name, step in steps.items():
        if not isinstance(step, DictConfig) or "_target_" not in step:
            raise ConfigError(
                f"augment.steps.{name}={step}: expected a call, like those of augment=strong. Fix: "
                f"~augment.steps.{name} takes it out"
            )
    return steps
