"""A training run built from its config: its data, its network and trainer, and its state where it is resumed."""

import logging
from typing import Any, NamedTuple

import keras
from omegaconf import DictConfig, OmegaConf

from segtrain.builders.data import build_augment, build_dataset
from segtrain.builders.network import build_heads, build_loss, build_metrics, build_network, load_weights
from segtrain.builders.optimization import (
    build_optimizer,
    build_step_options,
)
from segtrain.builders.preflight import (
    refuse_leaks,
    require_image_range,
    require_valid_labels,
    warn_of_palettes,
    warn_of_single_class,
)
from segtrain.builders.resume import Resumed, restore_run
from segtrain.builders.run import inference_options
from segtrain.builders.user_parts import require_samples
from segtrain.builders.verdicts import last_verdict, require_fitting_headers
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import num_steps, spread
from segtrain.data.people.dataset import People
from segtrain.errors import ConfigError, DataError
from segtrain.evaluation.scoring import Scorer, directions_of
from segtrain.inference.predictor import Predictor
from segtrain.losses import scored
from segtrain.models.norm import synchronize
from segtrain.suggest import did_you_mean
from segtrain.terminal import printable
from segtrain.training.fingerprint import fingerprint
from segtrain.training.recompute import early_stages, recomputing
from segtrain.training.replicas import Replicas
from segtrain.training.trainer import Trainer

logger = logging.getLogger(__name__)


class RunData(NamedTuple):
    """Samples, loss and step counts of a training run."""

    dataset: Dataset
    loss: Any
    training: list[Sample]
    validation: list[Sample]
    steps_per_epoch: int
    total_steps: int


def prepare_data(cfg: DictConfig, *, is_new: bool) -> RunData:
    """Build the dataset and its loss, list both splits, and refuse what training would stumble over."""
    dataset = build_dataset(cfg)
    loss = build_loss(cfg, dataset)
    if is_new and isinstance(dataset, People) and not dataset.root.exists():
        # Before minutes of drawing: weights that cannot be fetched.
        load_weights(cfg, *build_network(cfg, dataset.num_classes))
        keras.backend.clear_session()
    build_augment(cfg, dataset, dataset.flip_pairs)  # refuses what it would refuse when all files are listed
    every = {split: require_samples(dataset, split, "validation_split") for split in ("train", cfg.validation_split)}
    refuse_leaks(dataset, every, cfg.validation_split, cfg.limit_samples)
    samples, validation = (spread(every[split], cfg.limit_samples) for split in ("train", cfg.validation_split))
    steps_per_epoch = num_steps(samples, cfg.batch_size)
    require_fitting_headers(dataset, [*samples, *validation], cfg.workers)
    require_image_range(dataset, [*samples, *validation])
    warn_of_palettes(dataset, [*samples, *validation])
    require_valid_labels(cfg, dataset, validation)
    warn_of_single_class(dataset, samples)
    logger.info("data: %s", last_verdict(cfg, {"train": samples, "val": validation}))
    return RunData(dataset, loss, samples, validation, steps_per_epoch, steps_per_epoch * cfg.epochs)


def build_trainer(cfg: DictConfig, data: RunData, replicas: Replicas, *, load: bool) -> tuple[Trainer, Scorer]:
    """Build the network, its trainer and its scorer; `load` is whether to load its first weights."""
    dataset = data.dataset
    with replicas.strategy.scope():
        model, backbone = build_network(cfg, dataset.num_classes)
    if replicas.count > 1:
        synchronize(model)
    if load:
        load_weights(cfg, model, backbone)
    heads = build_heads(cfg, dataset, model)
    metrics = build_metrics(cfg, dataset)
    directions = {f"val_{name}": way for name, way in directions_of(dataset, heads, metrics).items()}
    with replicas.strategy.scope():
        trainer = Trainer(
            model,
            build_optimizer(cfg, data.total_steps, model),
            data.loss,
            dataset.num_classes,
            dataset.ignore_class,
            heads=heads,
            forward=recomputing(model, early_stages(model, backbone)) if cfg.activation_checkpointing else None,
            options=build_step_options(cfg, model, backbone, replicas),
            replicas=replicas,
            directions=directions,
        )
    _require_reported(cfg.monitor, [*directions, *trainer.log_names])
    resize = None if cfg.resize is None else tuple(cfg.resize)
    tta, tiles = inference_options(cfg)
    predictor = Predictor(
        trainer.scored_model,
        resize=resize,
        heads=list(scored(heads)),
        tta=tta,
        tiles=tiles,
        flip_pairs=dataset.flip_pairs,
    )
    return trainer, Scorer(predictor, data.loss, dataset, heads=heads, metrics=metrics)


def restore_or_begin(cfg: DictConfig, data: RunData, resumed: Resumed | None, trainer: Trainer) -> dict[str, Any]:
    """Restore a resumed run; return what the checkpoints record of the run."""
    now = fingerprint(data.training, data.validation, trainer.replicas)
    _require_same_data(trainer.replicas, now["data"])
    if resumed is not None:
        return restore_run(resumed, trainer, now, data.steps_per_epoch)
    return {"config": OmegaConf.to_yaml(cfg, resolve=True), "fingerprint": now, "exact_until": None}


def _require_reported(monitor: str, names: list[str]) -> None:
    """Refuse, before the first step, a monitor that no epoch will report.

    Raises:
        ConfigError: It is not among the names.
    """
    if monitor not in names:
        listed = ", ".join(name for name in names if "/" not in name)
        near = did_you_mean(monitor, names) or ". Fix: monitor=val_mean_iou"
        raise ConfigError(
            f"monitor={printable(monitor)}: not a reported score, expected one of {listed}, or val_iou/CLASS{near}"
        )


def _require_same_data(replicas: Replicas, data: str) -> None:
    """Refuse that processes train on different samples, as the order of each epoch would differ.

    Raises:
        DataError: The chief has others.
    """
    chief = replicas.broadcast(data.encode()).decode()
    if chief != data:
        raise DataError(
            f"process {replicas.process} has other training data than process 0: {data} and {chief}, expected the "
            f"same in dataset.root on every machine. Fix: copy the data anew"
        )
