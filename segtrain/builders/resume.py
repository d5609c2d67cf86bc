"""Resuming a run: with which config, from which checkpoint, and whether bit-exactly."""

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from segtrain.builders.changes import HARMLESS, changes_of
from segtrain.builders.network import build_arguments
from segtrain.builders.optimization import describe_rate
from segtrain.config import read_stored, recorded_config, stored_config, validate_calls, validate_stored
from segtrain.config.paths import make_absolute
from segtrain.config.stored import require_drawn
from segtrain.errors import CheckpointError, ConfigError
from segtrain.runs.checkpoint import find_checkpoints, newest_intact, remove_stale
from segtrain.runs.environment import differences
from segtrain.runs.folder import RUNS
from segtrain.runs.manifest import MANIFEST, require_run_metadata
from segtrain.training.state import restore
from segtrain.training.trainer import Trainer

logger = logging.getLogger(__name__)


class Resumed(NamedTuple):
    """A run to resume.

    Attributes:
        run: Its folder.
        cfg: Its own config, with the values that the command line changes.
    """

    run: Path
    cfg: DictConfig


def resumed_config(run: Path, cfg: DictConfig) -> Resumed:
    """Take the run's own config, changed only by the single values given on the command line.

    Raises:
        ConfigError: A value cannot change in a resumed run.
        CheckpointError: The run's config cannot be read.
    """
    stored, taken = read_stored(run, cfg.trusted_modules)
    given = set()
    for key in HARMLESS & set(cfg) - set(stored):  # which a run of an earlier version does not have
        stored[key] = cfg[key]
    validate_stored(stored, run)
    before = stored.copy()
    for override in HydraConfig.get().overrides.task if HydraConfig.initialized() else []:
        key = override.split("=", 1)[0].lstrip("+~")
        if key in ("resume", "sweep"):
            continue
        given.add(key)
        if (group := key.partition(".")[0]) in ("callbacks", "metrics"):
            stored[group] = OmegaConf.merge(stored.get(group) or {}, cfg[group] or {})
            continue
        value = OmegaConf.select(cfg, key)
        if key not in ("debug", "experiment") and not isinstance(value, DictConfig):
            OmegaConf.update(stored, key, value, merge=False)  # a list upon a mapping cannot be merged
        else:
            raise ConfigError(
                f"{override}: a resumed run keeps its own parts, only single values may change. Fix: leave it out, or "
                f"start a new run without resume"
            )
    make_absolute(stored)
    stored.resume = str(run)
    require_drawn(stored, given)
    for key, message in taken.items():
        if not given & {key, key.partition(".")[0]}:
            logger.warning(message)
    validate_calls(stored, build_arguments(stored))
    changes_of(before, stored)  # refuses some
    return Resumed(run, stored)


def run_to_resume(cfg: DictConfig) -> Path | None:
    """Find the run that `resume=auto` resumes: the newest run of the same name and config that is not finished.

    Returns:
        Its folder, or None where a new run is to begin.
    """
    # A second run within one second ends in -2; "*_NAME" would take one of the name MY_NAME, too.
    named = re.compile(rf"[-\d]+_[-\d]+_{re.escape(cfg.name)}(-\d+)?")
    runs = [run for run in (RUNS / "train").glob("*") if named.fullmatch(run.name)]
    for run in sorted(runs, reverse=True):
        found = find_checkpoints(run / "checkpoints")
        if not found:
            continue
        try:
            require_run_metadata(found[-1].path, found[-1].metadata)
            if found[-1].metadata["progress"]["epochs_done"] >= cfg.epochs:
                continue
            changes = changes_of(stored_config(run, cfg.get("trusted_modules") or ()), cfg)
        except (CheckpointError, ConfigError) as error:
            logger.info("resume=auto passes over %s: %s", run, error)
            continue
        if not changes:
            return run
        logger.info("resume=auto passes over %s: %s", run, "; ".join(changes))
    return None


def restore_run(resumed: Resumed, trainer: Trainer, now: dict[str, str], steps_per_epoch: int) -> dict[str, Any]:
    """Set a trainer to where its run stopped, and log how exactly it resumes. The caller must hold the run's lock.

    Args:
        resumed: The run.
        trainer: Of the same network and optimizer.
        now: The fingerprint of this process.
        steps_per_epoch: Of the run.

    Returns:
        What further checkpoints record: `config`, `fingerprint` and `exact_until`, the step from which on the run is
        another than an uninterrupted one would have been; None while it is the same.

    Raises:
        CheckpointError: No checkpoint is intact, it is of another network, or the data are others.
    """
    remove_stale(resumed.run / "checkpoints")
    checkpoint, arrays = newest_intact(resumed.run / "checkpoints")
    require_run_metadata(checkpoint.path, checkpoint.metadata)
    then = checkpoint.metadata["fingerprint"]
    if then["data"] != now["data"]:
        raise CheckpointError(
            f"{resumed.run} cannot resume: it was trained on {then['data']}, dataset.root has {now['data']}, expected "
            f"the same. Fix: restore the data, or start a new run with weights={resumed.run}"
        )
    # Not with the run's config.yaml: it is written anew before the first save of a resumed run.
    recorded = recorded_config(checkpoint.metadata["config"], checkpoint.path / MANIFEST)
    changes = changes_of(recorded, resumed.cfg)
    restore(trainer.model, trainer.optimizer, arrays, trainer.averages)
    if "optimizer/learning_rate" in arrays and any(each.startswith("optimizer.learning_rate ") for each in changes):
        trainer.optimizer.learning_rate = resumed.cfg.optimizer.learning_rate  # a variable: restored to the former one
    trainer.progress.restore(checkpoint.step, arrays, checkpoint.metadata["progress"])
    reasons = [*changes, *differences(then, now)]
    exact_until = checkpoint.metadata["exact_until"]
    if reasons and exact_until is None:
        exact_until = checkpoint.step
    logger.info("%s resumes at step %d", resumed.run, checkpoint.step)
    if reasons:
        logger.warning("resuming; not bit-exact because: %s", "; ".join(reasons))
    else:
        logger.info("resume: exact%s", _since(exact_until))
    if recorded.epochs != resumed.cfg.epochs:
        logger.info("%s", describe_rate(recorded, resumed.cfg, checkpoint.step, steps_per_epoch))
    return {"config": OmegaConf.to_yaml(resumed.cfg, resolve=True), "fingerprint": now, "exact_until": exact_until}


def _since(exact_until: int | None) -> str:
    return "" if exact_until is None else f" since step {exact_until}"
