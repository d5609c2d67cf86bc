"""What a config feeds a network, the same way in every command; without TensorFlow, for commands that only look."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from segtrain.config import build
from segtrain.data.augment import Augmentation
from segtrain.data.cache import DiskCache, MemoryCache
from segtrain.data.dataset import Dataset, Sample, one_sided_pairs
from segtrain.data.loading import BatchLoader, Read
from segtrain.errors import ConfigError

logger = logging.getLogger(__name__)

# The arguments that commands pass to an augmentation and to each of its steps; no key may set them.
AUGMENT_FACTS = ("crop_size", "ignore_class", "swap_pairs")


def augment_facts(cfg: DictConfig) -> dict[str, tuple[str, ...]]:
    """By key of an augmentation and of each of its steps, the arguments that commands pass to it.

    Raises:
        ConfigError: A step is not a call.
    """
    return {"augment": AUGMENT_FACTS, **{f"augment.steps.{name}": AUGMENT_FACTS for name in _steps(cfg)}}


def build_augment(cfg: DictConfig, dataset: Dataset, samples: list[Sample]) -> Augmentation:
    """Build the augmentation of a config for a dataset.

    Args:
        cfg: Has the group `augment` and the root key `crop_size`.
        dataset: Tells the ignored class, and which ids change places in a mirrored photograph.
        samples: Of the split that is augmented: pairs of which it has only one side do not change places.

    Raises:
        ConfigError: An argument does not fit.
        DataError: A label file cannot be read.
    """
    facts = {
        "crop_size": tuple(cfg.crop_size),
        "ignore_class": dataset.ignore_class,
        "swap_pairs": _pairs_to_swap(dataset, samples),
    }
    node = cfg.augment.copy()
    if steps := _steps(cfg):
        facts["steps"] = {name: build(step, **facts) for name, step in steps.items()}
        with open_dict(node):
            del node.steps
    return build(node, **facts)


def build_loader(
    cfg: DictConfig, dataset: Dataset, samples: list[Sample], places: Sequence[int] | None = None
) -> BatchLoader:
    """Build what loads the training batches of a config.

    Args:
        cfg: As for `build_augment`, with the root keys `cache`, `batch_size`, `seed`, `shuffle` and `workers`.
        dataset: Reads the samples.
        samples: To train on.
        places: Which of a batch to load, see `BatchLoader`.

    Raises:
        ConfigError: An argument does not fit.
        DataError: A label file cannot be read, or there are fewer samples than one batch.
        ResourceError: The cache's folder cannot be written.
    """
    return BatchLoader(
        samples,
        _reader(cfg, dataset),
        build_augment(cfg, dataset, samples),
        crop_size=tuple(cfg.crop_size),
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        shuffle=cfg.shuffle,
        workers=cfg.workers,
        places=places,
    )


def _reader(cfg: DictConfig, dataset: Dataset) -> Read:
    if cfg.cache is None:
        return dataset.read
    if cfg.cache == "memory":
        return MemoryCache(dataset.read)
    rules = json.dumps(OmegaConf.to_container(cfg.dataset, resolve=True), sort_keys=True)
    return DiskCache(dataset.read, Path(cfg.cache).expanduser(), rules)


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


def _pairs_to_swap(dataset: Dataset, samples: list[Sample]) -> list[tuple[int, int]]:
    one_sided = one_sided_pairs(dataset, samples)
    for left, right in one_sided:
        names = dataset.class_names
        logger.warning("only one of %s and %s occurs: mirrored photographs keep it", names[left], names[right])
    return [pair for pair in dataset.swap_pairs if pair not in one_sided]
