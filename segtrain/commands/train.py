"""`segtrain train`: train one network and leave a run folder that needs nothing else."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import keras
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from segtrain.builders.data import build_loader
from segtrain.builders.network import build_arguments
from segtrain.builders.optimization import (
    check_recipe,
    check_shares,
    warn_of_poor_statistics,
)
from segtrain.builders.resume import Resumed, resumed_config, run_to_resume
from segtrain.builders.run import inference_options
from segtrain.builders.training import RunData, build_trainer, prepare_data, restore_or_begin
from segtrain.builders.user_parts import require_kind
from segtrain.config import build, validate_calls
from segtrain.config.paths import make_absolute
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.loading.batch_loader import BatchLoader
from segtrain.data.loading.batches import training_batches
from segtrain.data.loading.crops import spread
from segtrain.evaluation.scoring import Scorer, samples_of_process
from segtrain.process import trials
from segtrain.report.progress import track
from segtrain.runs.disk_space import require_room
from segtrain.runs.files import CLASSES, CONFIG, require_regular
from segtrain.runs.folder import as_json, new_run_folder, only_process, require_run
from segtrain.storage import write_atomically
from segtrain.terminal import printable
from segtrain.training.checkpoints import Checkpoints
from segtrain.training.log_file import log_file
from segtrain.training.precise_norm import PreciseNorm
from segtrain.training.progress_bar import ProgressBar
from segtrain.training.pruning import Pruning
from segtrain.training.replicas import Replicas, find_replicas
from segtrain.training.reports import Curves, MetricsLog
from segtrain.training.rescue import saving_on_error
from segtrain.training.signals import watch_signals
from segtrain.training.state import broadcast_state, count_bytes
from segtrain.training.tensorboard import TensorBoardImages, TensorBoardScalars
from segtrain.training.trainer import Trainer

logger = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float:
    """Train one network. Returns the best validation score (`monitor`), for sweeps to compare."""
    make_absolute(cfg)
    resumed = None
    if cfg.resume not in (None, "auto") and Path(cfg.resume).expanduser().is_dir():
        resumed = resumed_config(require_run(cfg.resume), cfg)
    given = cfg if resumed is None else resumed.cfg
    replicas = find_replicas(given.strategy, given.replicas)
    with replicas.report_lost_process():
        if not replicas.is_chief:
            # The chief's config, wherever it resumes: its run folder need not be here.
            logger.info("process %d of %d participates, process 0 reports", replicas.process, replicas.num_processes)
            run, values = json.loads(replicas.broadcast())
            # The command line of this process decides which modules are imported here.
            received = OmegaConf.create({**values, "trusted_modules": cfg.trusted_modules})
            return _train_in(Path(run), received, None, replicas)
        if cfg.resume == "auto":
            cfg.resume = None
            validate_calls(cfg, build_arguments(cfg))
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
        validate_calls(cfg, build_arguments(cfg))
        with new_run_folder("train", cfg.name, keep_if="checkpoints") as folder, only_process(folder):
            return _train_in(folder, cfg, None, replicas)


def _train_in(run: Path, cfg: DictConfig, resumed: Resumed | None, replicas: Replicas) -> float:
    check_recipe(cfg)
    inference_options(cfg)
    check_shares(cfg, replicas)
    if replicas.is_chief:
        replicas.broadcast(json.dumps([str(run), OmegaConf.to_container(cfg, resolve=True)]).encode())
    data = prepare_data(cfg, is_new=resumed is None)
    keras.utils.set_random_seed(cfg.seed)
    own = replicas.sample_indices(cfg.batch_size, cfg.gradient_accumulation_steps)
    loader = build_loader(cfg, data.dataset, data.training, own)
    trainer, scorer = build_trainer(cfg, data, replicas, load=resumed is None and replicas.is_chief)
    recorded = restore_or_begin(cfg, data, resumed, trainer)
    if replicas.num_processes > 1:
        broadcast_state(replicas, trainer.model, trainer.optimizer, trainer.averages, trainer.progress)
    if replicas.is_chief:
        _report_finished(run, cfg, trainer)
        warn_of_poor_statistics(cfg, trainer.model, data.total_steps)
        require_room(run, count_bytes(trainer.model, trainer.optimizer, trainer.averages))
        recorded["files"] = _write_facts(run, cfg, data.dataset)
    log = log_file(run / "train.log") if replicas.is_chief else _no_reports()
    with log, logging_redirect_tqdm(), watch_signals() as signals:
        checkpoints = Checkpoints(
            run / "checkpoints",
            trainer,
            cfg.monitor,
            signals=signals,
            keep_last=cfg.keep_last,
            minutes=cfg.checkpoint_every_minutes,
            metadata=recorded,
        )
        _run_steps(run, cfg, data, trainer, scorer, loader, checkpoints)
    best = math.nan if checkpoints.best is None else checkpoints.best
    if replicas.is_chief:
        print(f"best {printable(cfg.monitor)}: {best:.4f}")
        print(f"curves: {printable(run / 'plots')}")
        print(f"run folder: {printable(run)}")
    return best


def _run_steps(
    run: Path,
    cfg: DictConfig,
    data: RunData,
    trainer: Trainer,
    scorer: Scorer,
    loader: BatchLoader,
    checkpoints: Checkpoints,
) -> None:
    """Train from where the run stands to its last epoch."""
    counts = f"{len(data.training)} training and {len(data.validation)} validation images"
    steps = f"{cfg.epochs} epochs of {data.steps_per_epoch} steps"
    logger.info("%s, %d classes, %s, into %s", counts, data.dataset.num_classes, steps, run)
    images = _tensorboard_images(run, cfg, data, trainer)
    with ExitStack() as stack:
        batches = training_batches(loader, trainer.step, data.total_steps, checkpoints.poll_in_wait)
        stack.callback(batches.close)
        stack.callback(loader.close)  # first: batches that wait for it end at once
        bar = ProgressBar(trainer, cfg.batch_size, data.total_steps)
        stack.callback(bar.close)  # what is printed after Ctrl-C or an error begins on a line of its own
        stack.enter_context(saving_on_error(checkpoints, run))
        trainer.run(
            batches,
            steps_per_epoch=data.steps_per_epoch,
            epochs=cfg.epochs,
            validate=_validation(cfg, data, trainer, scorer, loader, checkpoints, images),
            validate_every=cfg.validate_every,
            callbacks=_callbacks(run, cfg, trainer, checkpoints, images, bar),
            name_samples=loader.names,
        )


def _report_finished(run: Path, cfg: DictConfig, trainer: Trainer) -> None:
    if trainer.progress.epochs_done >= cfg.epochs:
        where = printable(run)
        print(f"{where} is finished: all of its {cfg.epochs} epochs are done; resume={where} epochs=N adds to them")


def _validation(
    cfg: DictConfig,
    data: RunData,
    trainer: Trainer,
    scorer: Scorer,
    loader: BatchLoader,
    checkpoints: Checkpoints,
    images: TensorBoardImages,
) -> Callable[[], dict[str, float]]:
    """Return what scores the network on the validation split: full-size images, every pixel, as `segtrain eval`.

    Each of several processes scores its share, and none looks at signals before all are done.
    """
    replicas = trainer.replicas
    precise_bn_batches = PreciseNorm(trainer.scored_model) if cfg.precise_bn_batches else None
    own = samples_of_process(data.validation, replicas.process, replicas.num_processes)

    def validate() -> dict[str, float]:
        if precise_bn_batches is not None:
            first = max(0, trainer.step - cfg.precise_bn_batches)
            with training_batches(loader, first, trainer.step, checkpoints.poll_in_wait) as measured:
                precise_bn_batches.measure(measured)
        totals = scorer.start()
        with closing(scorer.score(own, totals, cfg.workers, checkpoints.poll_in_wait)) as predictions:
            for prediction in track(predictions, len(own), "validation", "images"):
                if replicas.is_chief:
                    images.draw(prediction)
                if replicas.num_processes == 1:
                    checkpoints.poll()
        if len(own) < len(data.validation):
            totals.merge(replicas.total)
        return {f"val_{name}": value for name, value in totals.reported().items()}

    return validate


def _tensorboard_images(run: Path, cfg: DictConfig, data: RunData, trainer: Trainer) -> TensorBoardImages:
    own = samples_of_process(data.validation, trainer.replicas.process, trainer.replicas.num_processes)
    shown = {sample.name for sample in spread(own, cfg.tensorboard_images)}
    return TensorBoardImages(run / "tensorboard", trainer, data.dataset, shown)


def _callbacks(
    run: Path,
    cfg: DictConfig,
    trainer: Trainer,
    checkpoints: Checkpoints,
    images: TensorBoardImages,
    bar: ProgressBar,
) -> list[keras.callbacks.Callback]:
    """Build the callbacks of a run, segtrain's own first; processes other than the chief report nothing."""
    own = [
        require_kind(build(node, run_folder=run), keras.callbacks.Callback, f"callbacks.{name}", "a keras Callback")
        for name, node in (cfg.callbacks or {}).items()
        if node is not None
    ]
    if not trainer.replicas.is_chief:
        # The checkpoints for their signals; they write nothing here.
        return [checkpoints, *(each for each in own if not getattr(each, "chief_only", False))]
    return [
        bar,
        MetricsLog(run / "metrics.jsonl", trainer, cfg.monitor),
        TensorBoardScalars(run / "tensorboard", trainer),
        images,
        checkpoints,
        Curves(run / "metrics.jsonl", run / "plots"),
        *own,
        *_pruning(run, cfg.monitor, trainer),
    ]


def _pruning(run: Path, monitor: str, trainer: Trainer) -> list[keras.callbacks.Callback]:
    """Build what reports this run to its study (`sweep=optuna`), if it is a trial."""
    study = trials.link()
    if study is None:
        return []
    study.report(run=str(run), direction=trainer.direction(monitor))
    return [Pruning(monitor, study.should_prune)]


@contextmanager
def _no_reports() -> Iterator[None]:
    """Leave the reports of a run to the chief; warnings are still shown."""
    log = logging.getLogger("segtrain")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _write_facts(run: Path, cfg: DictConfig, dataset: Dataset) -> dict[str, str]:
    """Write the files that eval and resume need in addition to the checkpoints; return the SHA-256 of each file."""
    stored = cfg.copy()
    stored.resume = None
    classes = {
        "class_names": dataset.class_names,
        "colors": dataset.colors.tolist(),
        "ignore_class": dataset.ignore_class,
        "flip_pairs": dataset.flip_pairs,
    }
    written = {CONFIG: OmegaConf.to_yaml(stored, resolve=True).encode(), CLASSES: as_json(classes)}
    for name, data in written.items():
        write_atomically(run / name, data)
    return {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
