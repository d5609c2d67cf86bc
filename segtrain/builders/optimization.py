"""Step options of a run from its config, and combinations that contradict each other."""

import logging
import math
import os
from collections.abc import Iterator

import keras
from omegaconf import DictConfig, ListConfig, open_dict

from segtrain.builders.user_parts import require_kind
from segtrain.config import build
from segtrain.errors import ConfigError
from segtrain.models.backbones import Backbone
from segtrain.shell import brief
from segtrain.training.multipliers import BACKBONE, exclude_norm_and_bias_from_decay, factors, require_factors
from segtrain.training.precision import compiles_with_xla, is_slow_here
from segtrain.training.replicas import Replicas
from segtrain.training.step_options import StepOptions

logger = logging.getLogger(__name__)

# Published networks dilate by up to 36 at output stride 8; crops of a smoke test are smaller than that.
_USUAL_DILATION = 72
# Fewer images than this in a forward pass make poor statistics.
_ENOUGH_FOR_NORM = 4


def check_recipe(cfg: DictConfig) -> None:
    """Refuse what makes no sense together.

    Raises:
        ConfigError: The first of it.
    """
    for problem in _problems(cfg):
        raise ConfigError(problem)
    require_factors(cfg.lr_multipliers)


def check_shares(cfg: DictConfig, replicas: Replicas) -> None:
    """Refuse what several devices cannot do, or not alike.

    Raises:
        ConfigError: They cannot.
    """
    if replicas.count == 1:
        return
    parts = cfg.gradient_accumulation_steps * replicas.count
    if cfg.batch_size % parts:
        fitting = max(parts, cfg.batch_size // parts * parts)
        raise ConfigError(
            f"batch_size={cfg.batch_size}: it is that of all {replicas.count} replicas together, in "
            f"gradient_accumulation_steps="
            f"{cfg.gradient_accumulation_steps} parts, expected a multiple of {parts}. Fix: batch_size={fitting}"
        )
    for key, is_asked, plain in (
        ("jit", cfg.jit == "on", "auto"),
        ("precise_bn_batches", cfg.precise_bn_batches > 0, "0"),
        ("activation_checkpointing", cfg.activation_checkpointing, "false"),
    ):
        if is_asked:
            raise ConfigError(
                f"{key}={str(cfg[key]).lower()} with {replicas.count} replicas: for a single device only. Fix: {key}="
                f"{plain}, or strategy=one"
            )


def build_step_options(cfg: DictConfig, model: keras.Model, backbone: Backbone, replicas: Replicas) -> StepOptions:
    """Build the recipe of a config for its network.

    Raises:
        ConfigError: `lr_multipliers` do not fit the network.
    """
    return StepOptions(
        ema_decay=cfg.ema_decay,
        gradient_accumulation_steps=cfg.gradient_accumulation_steps,
        clip_norm=cfg.clip_norm,
        factors=factors(model, backbone.tensors, dict(cfg.lr_multipliers)),
        freeze_backbone_epochs=cfg.freeze_backbone_epochs,
        backbone=tuple(backbone.tensors),
        jit=replicas.count == 1 and compiles_with_xla(cfg.jit),
    )


def build_optimizer(cfg: DictConfig, total_steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """Build the optimizer with the schedule instead of its learning rate.

    Raises:
        ConfigError: An argument does not fit.
    """
    schedule = build(cfg.schedule, learning_rate=cfg.optimizer.learning_rate, total_steps=total_steps)
    kinds = (int, float, keras.optimizers.schedules.LearningRateSchedule)
    require_kind(schedule, kinds, "schedule", "a number or a keras LearningRateSchedule")
    node = cfg.optimizer.copy()
    with open_dict(node):
        del node.learning_rate
    optimizer = build(node, learning_rate=schedule)
    require_kind(optimizer, keras.optimizers.Optimizer, "optimizer", "a keras Optimizer")
    if not cfg.decay_norm_and_bias:
        exclude_norm_and_bias_from_decay(optimizer, model)
    if is_slow_here(cfg.precision):
        logger.warning("precision=%s is slower than float32 on this processor. Fix: precision=float32", cfg.precision)
    return keras.optimizers.LossScaleOptimizer(optimizer) if cfg.precision == "mixed_float16" else optimizer


def describe_rate(then: DictConfig, now: DictConfig, step: int, steps_per_epoch: int) -> str:
    """Describe in one line what another number of epochs does to the learning rate of a resumed run.

    Args:
        then: The config before.
        now: The config that it is resumed with.
        step: Where it is resumed.
        steps_per_epoch: Of the run.
    """

    def rate(cfg: DictConfig) -> float:
        total_steps = cfg.epochs * steps_per_epoch
        schedule = build(cfg.schedule, learning_rate=cfg.optimizer.learning_rate, total_steps=total_steps)
        return float(schedule(step)) if callable(schedule) else float(schedule)

    before, after = rate(then), rate(now)
    changes = "stays" if math.isclose(before, after, rel_tol=1e-6) else f"goes from {before:.4g} to"
    return (
        f"epochs {then.epochs} -> {now.epochs}: the schedule is computed again over all {now.epochs} epochs; at step "
        f"{step} the learning rate {changes} {after:.4g}"
    )


def warn_of_poor_statistics(cfg: DictConfig, model: keras.Model, total_steps: int) -> None:
    """Say where batch norm will not learn what the network is used with outside of training."""
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization) and one.trainable]
    if not norms:
        return
    momentum = max(layer.momentum for layer in norms)
    if momentum**total_steps > 0.01:
        logger.warning(
            "batch norm: after %d steps its statistics still hold %.0f %% of their first values (momentum %g). Fix: "
            "a lower norm.momentum, or more epochs",
            *(total_steps, 100 * momentum**total_steps, momentum),
        )
    steps = cfg.gradient_accumulation_steps
    together = cfg.batch_size // steps
    if together < _ENOUGH_FOR_NORM:
        logger.warning(
            "batch norm: its statistics come from %d images at a time (batch_size=%d, "
            "gradient_accumulation_steps=%d), which is "
            "few. Fix: %snorm=frozen with pretrained weights, or norm=group",
            *(together, cfg.batch_size, steps, "a lower gradient_accumulation_steps, " if steps > 1 else ""),
        )


def _unfit_sizes(cfg: DictConfig) -> Iterator[str]:
    """Find what no machine or network can make use of: a batch beyond memory, dilations beyond the map."""
    height, width = cfg.crop_size
    in_memory = 12 * cfg.batch_size * height * width  # 3 channels of float32, one layer only
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if in_memory // cfg.gradient_accumulation_steps > memory or in_memory // 4 > memory:
        yield (
            f"batch_size={cfg.batch_size} with crop_size=[{height},{width}]: the images alone take "
            f"{in_memory / 1e9:,.0f} GB, this machine has {memory / 1e9:,.0f} GB. Fix: batch_size="
            f"{max(1, cfg.batch_size * memory // in_memory // 50)}"
        )
    stride = cfg.backbone.get("output_stride", 16)
    dilations = cfg.model.get("aspp_dilations") or []
    if not isinstance(stride, int) or isinstance(stride, bool):  # a user's own backbone may have none
        return
    if stride < 1:
        yield f"backbone.output_stride={stride}: expected 8, 16 or 32. Fix: backbone.output_stride=16"
        return
    most = max(math.ceil(max(height, width) / stride), _USUAL_DILATION)
    if isinstance(dilations, ListConfig) and max(dilations, default=0) > most:
        yield (
            f"model.aspp_dilations={list(dilations)}: beyond the feature map, which has {height // stride}x"
            f"{width // stride} positions for crop_size=[{height},{width}] at output stride {stride}, expected at most "
            f"{most}. Fix: model.aspp_dilations=null"
        )


def _problems(cfg: DictConfig) -> Iterator[str]:
    rate = cfg.optimizer.get("learning_rate")
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        seen = brief(rate.get("_target_", rate)) if isinstance(rate, DictConfig) else brief(rate)
        yield (
            f"optimizer.learning_rate={seen}: expected a number, whose course `schedule` sets. Fix: "
            f"++optimizer.learning_rate=1e-3"
        )
    yield from _unfit_sizes(cfg)
    if cfg.batch_size % cfg.gradient_accumulation_steps:
        divisors = [str(number) for number in range(2, cfg.batch_size + 1) if cfg.batch_size % number == 0]
        yield (
            f"gradient_accumulation_steps={cfg.gradient_accumulation_steps}: batch_size={cfg.batch_size} does not "
            f"fall into as many equal parts, "
            f"expected 1 or {' or '.join(divisors)}. Fix: gradient_accumulation_steps={divisors[0] if divisors else 1}"
        )
    yield from _frozen_layers(cfg)
    if cfg.activation_checkpointing and cfg.precision != "float32":
        yield (
            f"activation_checkpointing=true with precision={cfg.precision}: batch norm of 16 bits cannot be computed "
            f"twice alike, "
            f"expected one of them. Fix: activation_checkpointing=false"
        )
    for name, fix in (
        ("use_ema", "ema_decay=0.999, which keeps the raw weights and averages batch norm too"),
        ("gradient_accumulation_steps", "gradient_accumulation_steps=N, which splits batch_size"),
    ):
        if cfg.optimizer.get(name):
            yield f"optimizer.{name}={cfg.optimizer[name]}: refused, segtrain has its own. Fix: {fix}"
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        if cfg.clip_norm is not None and cfg.optimizer.get(name) is not None:
            yield (
                f"clip_norm={cfg.clip_norm} with optimizer.{name}={cfg.optimizer[name]}: gradients would be clipped "
                f"twice, expected one of them. Fix: leave out optimizer.{name}"
            )


def _frozen_layers(cfg: DictConfig) -> Iterator[str]:
    if cfg.freeze_backbone_epochs >= cfg.epochs:
        yield (
            f"freeze_backbone_epochs={cfg.freeze_backbone_epochs}: the backbone would never train in epochs="
            f"{cfg.epochs}, expected fewer. Fix: lr_multipliers.{BACKBONE}=0 to freeze it for good"
        )
    if cfg.freeze_backbone_epochs and cfg.lr_multipliers.get(BACKBONE) == 0:
        yield (
            f"freeze_backbone_epochs={cfg.freeze_backbone_epochs} with lr_multipliers.{BACKBONE}=0: the backbone never "
            f"trains anyway. Fix: freeze_backbone_epochs=0"
        )
    frozen = [f"lr_multipliers.{name}=0" for name, factor in cfg.lr_multipliers.items() if factor == 0]
    if cfg.freeze_backbone_epochs:
        frozen.append(f"freeze_backbone_epochs={cfg.freeze_backbone_epochs}")
    if cfg.precise_bn_batches and frozen:
        yield (
            f"precise_bn_batches={cfg.precise_bn_batches} with {frozen[0]}: it would change the statistics of layers "
            f"that are to "
            f"stay as they are, expected one of them. Fix: precise_bn_batches=0"
        )
