"""Paths of a config, absolute before they are stored: a run means the same files from whatever folder it is read."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

logger = logging.getLogger(__name__)

# Keys that hold a path, and values that are not paths. The lists of a dataset are relative to its root.
_KEYS = {"weights": (), "cache": ("memory",), "backbone.weights": ("imagenet",)}


def make_absolute(cfg: DictConfig) -> None:
    """Write the paths of a config (dataset roots, weights, cache) from the root of the file system, in place."""
    _change(cfg, lambda key, path: path.absolute())


def resolve_stored(run: Path, cfg: DictConfig) -> DictConfig:
    """Find the relative paths in the config of a run that an earlier version stored as they were typed, in place.

    Args:
        run: The run's folder, PROJECT/runs/train/NAME: paths were relative to PROJECT.
        cfg: The run's config.

    Returns:
        `cfg`.
    """
    folder = run.absolute()
    project = folder.parents[2] if folder.parts[-3:-1] == ("runs", "train") else None

    def resolved(key: str, path: Path) -> Path:
        if path.is_absolute():
            return path
        if project is not None and (project / path).exists():
            return project / path
        if path.exists():
            logger.warning("%s stores %s=%s, relative: read as %s", run, key, path, path.absolute())
            return path.absolute()
        return path

    _change(cfg, resolved)
    return cfg


def _change(cfg: DictConfig, change: Callable[[str, Path], Path]) -> None:
    for key in [*_roots(cfg), *_KEYS]:
        try:
            value: Any = OmegaConf.select(cfg, key, default=None)
        except OmegaConfBaseException:  # resolving the complete config names the key
            continue
        if not isinstance(value, str) or not value or value in _KEYS.get(key, ()):
            continue
        path = Path(os.path.expanduser(value))
        # The weights of a backbone may be a word of Keras, as "noisy-student".
        if key != "backbone.weights" or path.exists():
            OmegaConf.update(cfg, key, str(change(key, path)), merge=False)


def _roots(cfg: DictConfig) -> Iterator[str]:
    """Keys of the roots of a config's datasets, dataset.root and dataset.datasets.NAME.root."""

    def below(node: Any, where: str) -> Iterator[str]:
        if isinstance(node, DictConfig) and not (node._is_none() or node._is_missing() or node._is_interpolation()):
            for key in node:
                if key == "root" and not OmegaConf.is_missing(node, key):
                    yield f"{where}.root"
                elif isinstance(each := node._get_node(key), DictConfig):
                    yield from below(each, f"{where}.{key!s}")

    yield from below(cfg._get_node("dataset") if "dataset" in cfg else None, "dataset")
