"""`segtrain train`: train one network and leave a run folder that needs nothing else."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from segtrain.commands.check import last_verdict, require_fitting_headers
from segtrain.commands.inputs import build_augment, build_dataset, build_loader
from segtrain.commands.parts import build_heads, build_loss, build_network, facts, load_weights
from segtrain.commands.preflight import (
    refuse_leaks,
    require_image_range,
    require_valid_labels,
    warn_of_palettes,
    warn_of_single_class,
)
from segtrain.commands.recipe import (
    build_optimizer,
    build_recipe,
    check_recipe,
    check_shares,
    warn_of_poor_statistics,
)
from segtrain.commands.resume import Resumed, restore_run, resumed_config, run_to_resume
from segtrain.commands.scoring import share_of, validate
from segtrain.commands.user_parts import require_kind, require_samples
from segtrain.config import build, check
from segtrain.data.batches import training_batches
from segtrain.data.crops import num_steps, spread
from segtrain.data.dataset import Dataset
from segtrain.data.people import People
from segtrain.errors import DataError
from segtrain.inference import Prediction, Predictor
from segtrain.models.norm import synchronize
from segtrain.paths import make_absolute
from segtrain.run_files import CLASSES, CONFIG, require_regular
from segtrain.runs import as_json, new_run_folder, only_process, require_run
from segtrain.storage import write_whole
from segtrain.terminal import printable
from segtrain.training.callbacks import Checkpoints, Curves, MetricsLog, ProgressBar
from segtrain.training.checkpoint import require_room
from segtrain.training.fingerprint import fingerprint
from segtrain.training.log_file import log_file
from segtrain.training.precise_norm import PreciseNorm
from segtrain.training.recompute import early_stages, recomputing
from segtrain.training.replicas import Replicas, find_replicas
from segtrain.training.rescue import saving_on_error
from segtrain.training.signals import listening
from segtrain.training.state import count_bytes, hand_over
from segtrain.training.tensorboard import TensorBoardImages, TensorBoardScalars
from segtrain.training.trainer import Trainer

logger = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float:
    """Train one network. Returns the best validation score (`monitor`), for sweeps to compare."""
    make_absolute(cfg)
    resumed = None
    if cfg.resume not in (None, "auto") and Path(cfg.resume).expanduser().is_dir():
        resumed = resumed_config(require_run(cfg.resume), cfg)
    told = cfg if resumed is None else resumed.cfg
    replicas = find_replicas(told.strategy, told.replicas)
    with replicas.together():
        if not replicas.is_chief:
            # What the chief trains, wherever it goes on: its run folder need not be here.
            logger.info("process %d of %d trains along, process 0 reports", replicas.process, replicas.num_processes)
            run, values = json.loads(replicas.tell())
            # Which modules are imported here is for who has started this process to say.
            said = OmegaConf.create({**values, "trusted_modules": cfg.trusted_modules})
            return _train_in(Path(run), said, None, replicas)
        if cfg.resume == "auto":
            cfg.resume = None
            check(cfg, facts(cfg))
            if (folder := run_to_resume(cfg)) is not None:
                require_regular(folder)
                with only_process(folder):
                    return _train_in(folder, cfg, Resumed(folder, cfg), replicas)
        elif cfg.resume is not None:
            folder = require_run(cfg.resume)
            require_regular(folder)
            resumed = resumed or resumed_config(folder, cfg)
            with only_process(folder):
                return _train_in(folder, resumed.cfg, resumed, replicas)
        check(cfg, facts(cfg))
        with new_run_folder("train", cfg.name, keep_if="checkpoints") as folder, only_process(folder):
            return _train_in(folder, cfg, None, replicas)


def _train_in(run: Path, cfg: DictConfig, resumed: Resumed | None, replicas: Replicas) -> float:
    check_recipe(cfg)
    check_shares(cfg, replicas)
    if replicas.is_chief:
        replicas.tell(json.dumps([str(run), OmegaConf.to_container(cfg, resolve=True)]).encode())
    dataset = build_dataset(cfg)
    loss = build_loss(cfg, dataset)
    if resumed is None and isinstance(dataset, People) and not dataset.root.exists():
        # Before minutes of drawing: weights that cannot be fetched.
        load_weights(cfg, *build_network(cfg, dataset.num_classes))
        keras.backend.clear_session()
    build_augment(cfg, dataset, dataset.swap_pairs)  # refuses what it would refuse when all files are listed
    every = {split: require_samples(dataset, split, "validation_split") for split in ("train", cfg.validation_split)}
    refuse_leaks(dataset, every, cfg.validation_split, cfg.limit_samples)
    samples, validation = (spread(every[split], cfg.limit_samples) for split in ("train", cfg.validation_split))
    steps_per_epoch = num_steps(samples, cfg.batch_size)
    total_steps = steps_per_epoch * cfg.epochs
    require_fitting_headers(dataset, [*samples, *validation], cfg.workers)
    require_image_range(dataset, [*samples, *validation])
    warn_of_palettes(dataset, [*samples, *validation])
    require_valid_labels(cfg, dataset, validation)
    warn_of_single_class(dataset, samples)
    logger.info("data: %s", last_verdict(cfg, {"train": samples, "val": validation}))
    keras.utils.set_random_seed(cfg.seed)
    loader = build_loader(cfg, dataset, samples, replicas.places(cfg.batch_size, cfg.accumulate))
    with replicas.strategy.scope():
        model, backbone = build_network(cfg, dataset.num_classes)
    if replicas.count > 1:
        synchronize(model)
    if resumed is None and replicas.is_chief:
        load_weights(cfg, model, backbone)
    heads = build_heads(cfg, dataset, model)
    with replicas.strategy.scope():
        trainer = Trainer(
            model,
            build_optimizer(cfg, total_steps, model),
            loss,
            dataset.num_classes,
            dataset.ignore_class,
            heads=heads,
            forward=recomputing(model, early_stages(model, backbone)) if cfg.recompute else None,
            recipe=build_recipe(cfg, model, backbone, replicas),
            replicas=replicas,
        )
    now = fingerprint(samples, validation, replicas)
    _require_same_data(replicas, now["data"])
    if resumed is None:
        recorded = {"config": OmegaConf.to_yaml(cfg, resolve=True), "fingerprint": now, "exact_until": None}
    else:
        recorded = restore_run(resumed, trainer, now, steps_per_epoch)
    if replicas.num_processes > 1:
        hand_over(replicas, model, trainer.optimizer, trainer.averages, trainer.progress)
    if replicas.is_chief:
        if trainer.progress.epochs_done >= cfg.epochs:
            where = printable(run)
            print(f"{where} is finished: all of its {cfg.epochs} epochs are done; resume={where} epochs=N adds to them")
        warn_of_poor_statistics(cfg, model, total_steps)
        require_room(run, count_bytes(model, trainer.optimizer, trainer.averages))
        recorded["files"] = _write_facts(run, cfg, dataset)
    precise_norm = PreciseNorm(trainer.scored_model) if cfg.precise_norm else None
    resize = None if cfg.resize is None else tuple(cfg.resize)
    predictor = Predictor(trainer.scored_model, loss=loss, resize=resize, heads=heads)
    log = log_file(run / "train.log") if replicas.is_chief else _no_reports()
    with log, logging_redirect_tqdm(), listening() as wishes, ExitStack() as stack:
        checkpoints = Checkpoints(
            run / "checkpoints",
            trainer,
            cfg.monitor,
            wishes=wishes,
            keep_last=cfg.keep_last,
            minutes=cfg.save_minutes,
            facts=recorded,
        )
        shown = {sample.name for sample in spread(share_of(validation, replicas), cfg.tensorboard_images)}
        images = TensorBoardImages(run / "tensorboard", trainer, dataset, shown)
        reports: list[Any] = [
            ProgressBar(trainer, cfg.batch_size, total_steps),
            MetricsLog(run / "metrics.jsonl", trainer),
            TensorBoardScalars(run / "tensorboard", trainer),
            images,
            checkpoints,
            Curves(run / "metrics.jsonl", run / "plots"),
        ]
        own = [
            require_kind(build(node, run_folder=run), keras.callbacks.Callback, f"callbacks.{name}", "a keras Callback")
            for name, node in (cfg.callbacks or {}).items()
            if node is not None
        ]
        if not replicas.is_chief:
            reports = [checkpoints]  # for its signals; it writes nothing here
            own = [each for each in own if not getattr(each, "chief_only", False)]

        def validated() -> dict[str, float]:
            if precise_norm is not None:
                first = max(0, trainer.step - cfg.precise_norm)
                with training_batches(loader, first, trainer.step, checkpoints.poll_in_wait) as measured:
                    precise_norm.measure(measured)
            looks = images.look if replicas.is_chief else _look_away
            return validate(
                *(predictor, dataset, validation, cfg.workers, heads),
                poll=checkpoints.poll,
                poll_in_wait=checkpoints.poll_in_wait,
                look=looks,
                replicas=replicas,
            )

        logger.info(
            "%d training and %d validation photographs, %d classes, %d epochs of %d steps, into %s",
            *(len(samples), len(validation), dataset.num_classes, cfg.epochs, steps_per_epoch, run),
        )
        batches = training_batches(loader, trainer.step, total_steps, checkpoints.poll_in_wait)
        stack.callback(batches.close)
        stack.callback(loader.close)  # first: batches that wait for it end at once
        stack.enter_context(saving_on_error(checkpoints, run))
        trainer.run(
            batches,
            steps_per_epoch=steps_per_epoch,
            epochs=cfg.epochs,
            validate=validated,
            validate_every=cfg.validate_every,
            callbacks=[*reports, *own],
            name_samples=loader.names,
        )
    best = math.nan if checkpoints.best is None else checkpoints.best
    if not replicas.is_chief:
        return best
    print(f"best {cfg.monitor}: {best:.4f}")
    print(f"curves: {printable(run / 'plots')}")
    print(f"run folder: {printable(run)}")
    return best


def _require_same_data(replicas: Replicas, data: str) -> None:
    """Refuse that processes train on different samples, as the order of each epoch would differ.

    Raises:
        DataError: The chief has others.
    """
    chief = replicas.tell(data.encode()).decode()
    if chief != data:
        raise DataError(
            f"process {replicas.process} has other training data than process 0: {data} and {chief}, expected the "
            f"same in dataset.root on every machine. Fix: copy the data anew"
        )


def _look_away(prediction: Prediction) -> None:
    """Show nothing: the chief's own share is shown."""


@contextmanager
def _no_reports() -> Iterator[None]:
    """Leave the reports on a training to the chief; warnings are still shown."""
    log = logging.getLogger("segtrain")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _write_facts(run: Path, cfg: DictConfig, dataset: Dataset) -> dict[str, str]:
    """Write what eval and resume need beside the checkpoints; return the SHA-256 of each file."""
    stored = cfg.copy()
    stored.resume = None
    classes = {
        "class_names": dataset.class_names,
        "colors": dataset.colors.tolist(),
        "ignore_class": dataset.ignore_class,
        "swap_pairs": dataset.swap_pairs,
    }
    written = {CONFIG: OmegaConf.to_yaml(stored, resolve=True).encode(), CLASSES: as_json(classes)}
    for name, data in written.items():
        write_whole(run / name, data)
    return {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
