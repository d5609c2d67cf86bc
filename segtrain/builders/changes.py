"""Changes of a resumed run's config: which are allowed, and which change its result. No TensorFlow here."""

import re
from collections.abc import Collection, Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from segtrain.config.stored import shown
from segtrain.errors import ConfigError
from segtrain.shell import leaves

# Keys that no number of a run depends on.
HARMLESS = frozenset(
    {
        *("cache", "callbacks", "dataset.root", "keep_last", "loader", "metrics", "name", "replicas", "resume"),
        *("checkpoint_every_minutes", "strategy", "tensorboard_images", "trusted_modules", "workers"),
    }
)
# Keys that a checkpoint's variables or its count of steps are made for.
FIXED = frozenset(
    {
        *("backbone", "batch_size", "dataset", "heads", "limit_samples", "model", "norm", "reset_classifier"),
        "weights",
    }
)

# Arguments of segtrain's datasets that name splits other than train and val.
FURTHER_SPLITS = frozenset({"splits", "test_images", "test_labels", "test_list"})

_NOT_KEPT = frozenset({"cache", "callbacks", "resume", "trusted_modules"})


def changes_of(then: DictConfig, now: DictConfig) -> list[str]:
    """List the values that change a run's result; refuse those that its variables are made for.

    Raises:
        ConfigError: Such a value differs; all of them are named.
    """
    one, other = _flat(then), _flat(now)
    values = {key: (one.get(key), other.get(key)) for key in {**one, **other}}
    harmless = HARMLESS if now.get("validation_split", "val") != "val" else {*HARMLESS, *_further_splits(other)}
    changed = {key: pair for key, pair in values.items() if pair[0] != pair[1] and not _is_below(key, harmless)}
    if fixed := [_change(key, *pair) for key, pair in changed.items() if _is_below(key, FIXED)]:
        raise ConfigError(
            f"{'; '.join(fixed)}: a resumed run keeps its network, data and batches, only other values may change. "
            f"Fix: leave it out, or start a new run with weights=RUN"
        )
    return [_change(key, *pair) for key, pair in changed.items()]


def edits_of(then: DictConfig, now: DictConfig) -> list[str]:
    """List all values in which two configs of one run differ, except those that no run keeps."""
    one, other = _flat(then), _flat(now)
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key) and not _is_below(key, _NOT_KEPT)]
    return [_change(key, one.get(key), other.get(key)) for key in keys]


def _change(key: str, one: Any, other: Any) -> str:
    return shown(f"{key} {one} -> {other}")


def _further_splits(flat: Mapping[str, Any]) -> list[str]:
    """Keys of segtrain's datasets, and of those that one is made of, that name further splits."""
    return [
        f"{key.removesuffix('_target_')}{each}"
        for key, target in flat.items()
        if re.fullmatch(r"dataset(\.datasets\.[^.]+)*\._target_", key) and str(target).startswith("segtrain.data.")
        for each in FURTHER_SPLITS
    ]


def _is_below(key: str, groups: Collection[str]) -> bool:
    return any(f"{key}.".startswith(f"{group}.") for group in groups)


def _flat(config: DictConfig) -> dict[str, Any]:
    """Leaves of a config by their full key."""
    return dict(leaves(cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))))
