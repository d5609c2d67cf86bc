"""Losses built from a config: one, or several of the same logits added up."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, open_dict

from segtrain.config import build
from segtrain.data.datasets.dataset import Dataset
from segtrain.errors import ConfigError
from segtrain.losses import Part
from segtrain.suggest import did_you_mean

# The arguments that commands pass to a loss and to each loss within it; no key may set them.
LOSS_ARGUMENTS: tuple[str, ...] = ("ignore_class", "num_classes")
SUM = "segtrain.losses.Sum"
PART_KEYS = ("loss", "weight")
LIKE = "configs/loss/cross_entropy_dice.yaml"


def loss_arguments(node: Any, where: str) -> dict[str, tuple[str, ...]]:
    """By key of a loss and of each loss within it, the arguments that commands pass to it.

    Args:
        node: Of the loss.
        where: Its key.

    Raises:
        ConfigError: A part of a sum is not a loss and a weight.
    """
    found = {where: LOSS_ARGUMENTS}
    for name, part in _parts(node, where).items():
        found |= loss_arguments(part.loss, f"{where}.parts.{name}.loss")
    return found


def build_loss(node: Any, where: str, dataset: Dataset) -> Any:
    """Build a loss, and those within it, for a dataset's classes.

    Args:
        node: Of the loss.
        where: Its key.
        dataset: Tells the classes and the ignored one.

    Raises:
        ConfigError: It is not a call, or an argument does not fit.
    """
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{where}={node}: expected a call with _target_. Fix: write it like {LIKE}")
    known: dict[str, Any] = {"ignore_class": dataset.ignore_class, "num_classes": dataset.num_classes}
    if node.get("_target_") == SUM:
        known["parts"] = {
            name: Part(build_loss(part.loss, f"{where}.parts.{name}.loss", dataset), part.weight)
            for name, part in _parts(node, where).items()
        }
        node = node.copy()
        with open_dict(node):
            node.pop("parts", None)
    return build(node, **known)


def check_entry(where: str, node: Any, keys: Sequence[str], like: str) -> None:
    """Refuse what is not a mapping of just these keys, all of them given.

    Args:
        where: Key of the node.
        node: To check.
        keys: That it must have.
        like: A file that shows how it is written.

    Raises:
        ConfigError: It is refused.
    """
    if not isinstance(node, DictConfig):
        expected = f"{', '.join(keys[:-1])} and {keys[-1]}"
        raise ConfigError(f"{where}={node}: expected {expected}. Fix: write it like {like}")
    for key in node:
        if key not in keys:
            near = did_you_mean(str(key), keys) or f". Fix: remove it, {', '.join(keys)} are all there is"
            raise ConfigError(f"{where} has no key {str(key)!r}{near}")
    for key in keys:
        if node.get(key) is None:
            raise ConfigError(f"{where}.{key} is not given. Fix: ++{where}.{key}=...")


def _parts(node: Any, where: str) -> Mapping[str, DictConfig]:
    """Return the parts of a sum by name, none of another loss; refuse what is not a loss and a weight."""
    if not isinstance(node, DictConfig) or node.get("_target_") != SUM:
        return {}
    parts: Any = node.get("parts") or {}
    if not isinstance(parts, Mapping):
        raise ConfigError(f"{where}.parts={parts}: expected losses by name. Fix: write them like {LIKE}")
    for name, part in parts.items():
        if not str(name).isidentifier():
            raise ConfigError(f"{where}.parts.{name}: no name for a loss, expected letters. Fix: rename it")
        check_entry(f"{where}.parts.{name}", part, PART_KEYS, LIKE)
    return dict(parts.items())
