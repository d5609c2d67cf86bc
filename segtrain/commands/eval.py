"""`segtrain eval`: score a run on a split, pixel by pixel, and draw what it sees."""

import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from segtrain.builders.data import build_dataset
from segtrain.builders.network import METRIC_ARGUMENTS, build_heads, build_loss, build_metrics
from segtrain.builders.output_stride import naming_output_stride, with_output_stride
from segtrain.builders.preflight import require_image_range, require_scorable
from segtrain.builders.run import NETWORK_KEYS, StoredRun, build_predictor, inference_options, load_network, read_run
from segtrain.builders.user_parts import require_samples
from segtrain.config import resolved, validate_calls
from segtrain.config.stored import require_drawn, shown
from segtrain.config.tables import merge_dataset
from segtrain.config.tree import plain
from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import spread
from segtrain.errors import DataError
from segtrain.evaluation import scores
from segtrain.evaluation.scoring import Scorer, SplitScores
from segtrain.losses import scored
from segtrain.report.scores import print_scores, write_scores
from segtrain.runs.environment import describe_contents, describe_data
from segtrain.runs.folder import new_run_folder, newest_run, require_run
from segtrain.storage import write_png
from segtrain.visual.overlay import draw_panels, write_labels

logger = logging.getLogger(__name__)

# What evaluation reads of a run's config.
_NEEDED = NETWORK_KEYS | {"dataset", "loss", "workers"}


def evaluate(cfg: DictConfig) -> float:
    """Score one run; write scores, overlays and predictions. Returns the mean IoU."""
    folder = require_run(cfg.run) if cfg.run is not None else newest_run()
    is_replaced = cfg.dataset is not None and "_target_" in cfg.dataset
    run = read_run(
        folder,
        cfg.checkpoint,
        keys=_NEEDED - {"dataset"} if is_replaced else _NEEDED,
        trusted_modules=cfg.trusted_modules,
    )
    config = _with_given(run.config, cfg)
    tta, tiles = inference_options(cfg)
    if cfg.output_stride is not None:
        with_output_stride(config, cfg.output_stride)
    require_drawn(config, set(_keys(cfg.dataset, "dataset")))
    validate_calls(resolved(config, "dataset"))
    dataset = build_dataset(config)
    _require_same_classes(dataset, run)
    samples = require_samples(dataset, cfg.split)
    require_image_range(dataset, samples)
    require_scorable(dataset, samples, cfg.split)
    validate_calls(
        resolved(config, "metrics"), {f"metrics.{name}": METRIC_ARGUMENTS for name in config.get("metrics") or {}}
    )
    metrics = build_metrics(config, dataset)
    with naming_output_stride(cfg.output_stride):
        model = load_network(run, cfg.weights)
    _log_data(run, config, dataset, cfg.split, samples)
    heads = build_heads(config, dataset, model)
    predictor = build_predictor(run, model, heads=list(scored(heads)), tta=tta, tiles=tiles)
    scorer = Scorer(predictor, build_loss(config, dataset), dataset, heads=heads, metrics=metrics)
    with new_run_folder("eval", cfg.name, keep_if="scores.json") as output:
        totals, drawn = _score(scorer, dataset, samples, config.workers, output, cfg)
        metadata = {
            "run": str(run.folder.resolve()),
            "step": run.checkpoint.step,
            "weights": cfg.weights,
            "tta": plain(cfg.tta),
            "tiles": tiles,
            "output_stride": cfg.output_stride,
            "split": cfg.split,
            "images": len(samples),
        }
        write_scores(output, totals, dataset.class_names, metadata)
    print_scores(totals, dataset.class_names, metadata)
    if drawn:
        print(f"overlays: {output / 'overlays'}")
    print(f"scores: {output / 'scores.json'}, {output / 'per_class.csv'}")
    return totals.scores.mean_iou if math.isfinite(totals.scores.mean_iou) else 0.0


def _score(
    scorer: Scorer, dataset: Dataset, samples: list[Sample], workers: int, output: Path, cfg: DictConfig
) -> tuple[SplitScores, int]:
    """Score the samples, and write what `cfg` asks for; return the scores and the number of overlays."""
    # Spread over the split: neighbors in a list often show the same scene.
    drawn = {int(index) for index in np.linspace(0, len(samples) - 1, min(cfg.overlays, len(samples)))}
    totals = scorer.start()
    with closing(scorer.score(samples, totals, workers)) as predictions:
        progress = tqdm(predictions, "evaluation", len(samples), disable=not sys.stderr.isatty())
        for index, each in enumerate(progress):
            name = each.sample.name
            if cfg.save_predictions:
                write_labels(_file(output, "predictions", name), each.predicted, dataset.colors)
            if index in drawn:
                caption = f"{name}   mean IoU {scores(each.matrix).mean_iou:.3f}"
                panels = draw_panels(
                    each.image,
                    each.labels,
                    each.predicted,
                    dataset.class_names,
                    dataset.colors,
                    cfg.alpha,
                    caption,
                )
                write_png(_file(output, "overlays", name), panels)
    return totals, len(drawn)


def _log_data(run: StoredRun, config: DictConfig, dataset: Dataset, split: str, samples: Sequence[Sample]) -> None:
    """Log what is evaluated, and whether it is the data that the run was validated on."""
    roots, step = roots_of(dataset), run.checkpoint.step
    logger.info("%s at step %d, on %d images of split %s in %s", run.folder, step, len(samples), split, roots)
    if other := other_data(run.checkpoint.metadata["fingerprint"], config, dataset, split, samples):
        logger.warning("split %s in %s is not the data of the run: %s", split, roots, other)


def roots_of(dataset: Dataset) -> str:
    """For messages, the folders that a dataset reads."""
    parts = dataset.datasets.values() if isinstance(dataset, Concat) else [dataset]
    return (
        ", ".join(str(Path(root).absolute()) for each in parts if (root := getattr(each, "root", None)))
        or type(dataset).__name__
    )


def other_data(
    then: Mapping[str, str], stored: DictConfig, dataset: Dataset, split: str, samples: Sequence[Sample]
) -> str:
    """Describe how the samples to evaluate differ from those that a run was validated or trained on; "" if not at all.

    Args:
        then: The fingerprint that the run recorded.
        stored: Its config, with the dataset to evaluate.
        dataset: To evaluate.
        split: Its split; of another than the run's, the training split is compared instead.
        samples: Of the split.
    """
    limit = stored.get("limit_samples")
    try:
        if split == stored.get("validation_split", "val") and "validation" in then:
            seen, now = then["validation"], describe_contents(spread(list(samples), limit))
        else:
            training = samples if split == "train" else dataset.samples("train")
            seen, now = then["data"], describe_data(spread(list(training), limit))
    except (DataError, OSError):  # the training split need not be there
        return ""
    return "" if seen == now else f"{now}, the run had {seen}"


def _file(folder: Path, kind: str, name: str) -> Path:
    """Where a sample's picture goes; names of samples may hold folders, as Cityscapes' towns.

    Raises:
        DataError: The name leads out of the folder.
    """
    path = folder / kind / f"{name}.png"
    if not Path(os.path.normpath(path)).is_relative_to(folder / kind):
        raise DataError(
            f"sample {shown(name)}: its name leads out of {folder / kind}, expected one within. Fix: rename it in the "
            f"dataset's list or folders"
        )
    return path


def _with_given(stored: DictConfig, cfg: DictConfig) -> DictConfig:
    """Put the command line's dataset, complete or single keys, and its metrics in the place of the run's own."""
    if cfg.dataset is not None:
        stored.dataset = cfg.dataset if "_target_" in cfg.dataset else merge_dataset(stored.dataset, cfg.dataset)
    if cfg.metrics is not None:
        stored.metrics = cfg.metrics
    return stored


def _keys(node: Any, where: str) -> Iterator[str]:
    """Yield the keys of a node that the command line gives: all of its values, and the node where it replaces one."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield where
        for key, value in node.items():
            yield from _keys(value, f"{where}.{key}")
    elif node is not None:
        yield where


def _require_same_classes(dataset: Dataset, run: StoredRun) -> None:
    trained = run.classes.class_names
    if trained != dataset.class_names:
        raise DataError(
            f"the dataset has {dataset.num_classes} classes ({', '.join(dataset.class_names[:4])}, ...), the run "
            f"{run.folder} was trained on {len(trained)} ({', '.join(trained[:4])}, ...), expected the same. Fix: "
            f"evaluate on a dataset with the run's classes"
        )
