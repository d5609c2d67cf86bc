"""Parts built from a config, the same way in every command that needs them."""

from pathlib import Path
from typing import Any

import keras
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segtrain.config import build
from segtrain.data.dataset import Dataset
from segtrain.errors import CheckpointError
from segtrain.models.backbones import Backbone
from segtrain.training.checkpoint import Checkpoint
from segtrain.training.state import restore_model

# The arguments that commands pass to a node of each group; no key may set them.
FACTS = {
    "augment": ("crop_size", "ignore_class", "swap_pairs"),
    "backbone": (),
    "model": ("backbone", "num_classes"),
    "loss": ("ignore_class", "num_classes"),
    "optimizer": (),
    "schedule": ("learning_rate", "total_steps"),
}


def build_backbone(cfg: DictConfig, *, fill: bool = True) -> Backbone:
    """Build the backbone of a config.

    Args:
        cfg: Has the group `backbone`.
        fill: Load what `backbone.weights` names; without, weights are random, for a checkpoint to fill.

    Raises:
        ConfigError: An argument does not fit.
        CheckpointError: The weights cannot be had.
    """
    node = cfg.backbone
    if not fill and node.get("weights") is not None:
        node = node.copy()
        node.weights = None
    return build(node)


def build_model(cfg: DictConfig, num_classes: int, *, fill: bool = True) -> keras.Model:
    """Build the network of a config on the backbone of `build_backbone`, for photographs of any size."""
    return build(cfg.model, backbone=build_backbone(cfg, fill=fill), num_classes=num_classes)


def build_loss(cfg: DictConfig, dataset: Dataset) -> Any:
    """Build the loss of a config for a dataset's classes."""
    return build(cfg.loss, ignore_class=dataset.ignore_class, num_classes=dataset.num_classes)


def stored_config(run: Path) -> DictConfig:
    """Read the config that a run was trained with. It may name segtrain's and Keras' parts only.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = run / "config.yaml"
    try:
        cfg = OmegaConf.load(path)
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise CheckpointError(
            f"cannot read {path}: {' '.join(str(error).split())[:200]}. Fix: name another run"
        ) from error
    if not isinstance(cfg, DictConfig):
        raise CheckpointError(f"cannot read {path}: not a mapping of keys. Fix: name another run")
    # A run folder may come from a stranger: only the reader's own command line may trust modules.
    cfg.trusted_modules = []
    return cfg


def restore_checkpoint(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Fill a model from a checkpoint.

    Raises:
        CheckpointError: The checkpoint is damaged or of another network.
    """
    restore_model(model, checkpoint.arrays())
