"""A composed config as plain dicts and lists."""

from collections.abc import Iterable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segtrain.errors import ConfigError


def plain(cfg: Any) -> Any:
    """Resolve a config into dicts and lists; any other value stays as it is.

    Raises:
        ConfigError: An interpolation leads nowhere, or round in a circle.
    """
    if not OmegaConf.is_config(cfg):
        return cfg
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0].removeprefix("ConfigError raised while resolving interpolation: ")
        raise ConfigError(f"{error.full_key}: {reason}") from error


def resolved(cfg: DictConfig, *keys: str) -> DictConfig:
    """Copy some root keys, and `trusted_modules`, with what they refer to elsewhere put in.

    Raises:
        ConfigError: An interpolation leads nowhere, or round in a circle.
    """
    tree = plain(cfg)
    return OmegaConf.create({key: tree[key] for key in (*keys, "trusted_modules") if key in tree})


def dotted_keys(config: Any, parent: str = "") -> Iterator[str]:
    """Full names of all keys of a config or mapping, without Hydra's own: dataset, dataset.root, ..."""
    tree: Any = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    for key, value in tree.items():
        if key not in ("hydra", "_target_"):
            yield f"{parent}{key}"
            if isinstance(value, dict):
                yield from dotted_keys(value, f"{parent}{key}.")


def refuse(found: Iterable[str]) -> None:
    """Raise all problems that were found as one error, one a line; do nothing if empty.

    Raises:
        ConfigError: There are any.
    """
    problems = list(found)
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError("\n  - ".join([f"{len(problems)} problems in the configuration:", *problems]))
