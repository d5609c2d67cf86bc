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

from segtrain.commands.files_of_run import warn_of_edits
from segtrain.commands.inputs import build_dataset
from segtrain.commands.parts import build_heads, build_loss, build_network, restore_checkpoint
from segtrain.commands.preflight import require_image_range, require_scorable
from segtrain.commands.scoring import Tally
from segtrain.commands.user_parts import require_samples
from segtrain.config import check, check_stored, require_parts, resolved, stored_config
from segtrain.data.concat import Concat
from segtrain.data.crops import spread
from segtrain.data.dataset import Dataset, Sample
from segtrain.errors import DataError
from segtrain.inference import Predictor
from segtrain.metrics import scores
from segtrain.overlay import draw_panels, write_labels
from segtrain.report import print_scores, write_scores
from segtrain.runs import new_run_folder, newest_run, read_classes, require_run
from segtrain.storage import write_png
from segtrain.stored import require_drawn, shown
from segtrain.tables import merge_dataset
from segtrain.training.checkpoint import pick_checkpoint
from segtrain.training.installed import describe_contents, describe_data

logger = logging.getLogger(__name__)

# What evaluation reads of a run's config.
_NEEDED = frozenset({"dataset", "model", "backbone", "norm", "loss", "resize", "workers"})


def evaluate(cfg: DictConfig) -> float:
    """Score one run; write scores, overlays and predictions. Returns the mean IoU."""
    run = require_run(cfg.run) if cfg.run is not None else newest_run()
    checkpoint = pick_checkpoint(run / "checkpoints", cfg.checkpoint)
    stored = stored_config(run, cfg.trusted_modules)
    require_parts(run, stored)
    is_replaced = cfg.dataset is not None and "_target_" in cfg.dataset
    check_stored(stored, run, _NEEDED - {"dataset"} if is_replaced else _NEEDED)
    warn_of_edits(run, stored)
    stored = _with_dataset(stored, cfg)
    require_drawn(stored, set(_keys(cfg.dataset, "dataset")))
    check(resolved(stored, "dataset"))
    dataset = build_dataset(stored)
    _require_same_classes(dataset, run)
    samples = require_samples(dataset, cfg.split)
    require_image_range(dataset, samples)
    require_scorable(dataset, samples, cfg.split)
    model, _ = build_network(stored, dataset.num_classes)
    restore_checkpoint(model, checkpoint)
    where = roots_of(dataset)
    logger.info(
        "%s at step %d, on %d photographs of split %s in %s", run, checkpoint.step, len(samples), cfg.split, where
    )
    if other := other_data(checkpoint.facts["fingerprint"], stored, dataset, cfg.split, samples):
        logger.warning("split %s in %s is not the data of the run: %s", cfg.split, where, other)
    heads = build_heads(stored, dataset, model)
    tally = Tally(dataset, heads)
    with new_run_folder("eval", cfg.name, keep_if="scores.json") as folder:
        # Spread over the split: neighbours in a list often show the same scene.
        drawn = {int(place) for place in np.linspace(0, len(samples) - 1, min(cfg.overlays, len(samples)))}
        resize = None if stored.resize is None else tuple(stored.resize)
        predictor = Predictor(model, loss=build_loss(stored, dataset), resize=resize, heads=heads)
        with closing(predictor.predict(dataset, samples, stored.workers)) as predictions:
            progress = tqdm(predictions, "evaluation", len(samples), disable=not sys.stderr.isatty())
            for place, prediction in enumerate(progress):
                name, labels, predicted = prediction.sample.name, prediction.labels, prediction.predicted
                matrix = tally.add(prediction)
                if cfg.save_predictions:
                    write_labels(_file(folder, "predictions", name), predicted, dataset.colors)
                if place in drawn:
                    caption = f"{name}   mean IoU {scores(matrix).mean_iou:.3f}"
                    picture = draw_panels(
                        prediction.image, labels, predicted, dataset.class_names, dataset.colors, cfg.alpha, caption
                    )
                    write_png(_file(folder, "overlays", name), picture)
        facts = {
            "run": str(run.resolve()),
            "step": checkpoint.step,
            "split": cfg.split,
            "images": len(samples),
            "loss": tally.loss,
        }
        found = scores(tally.matrix)
        write_scores(folder, tally.matrix, found, dataset.class_names, facts, tally.heads)
    print_scores(found, dataset.class_names, facts, tally.heads)
    if drawn:
        print(f"overlays: {folder / 'overlays'}")
    print(f"scores: {folder / 'scores.json'}, {folder / 'per_class.csv'}")
    return found.mean_iou if math.isfinite(found.mean_iou) else 0.0


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


def _with_dataset(stored: DictConfig, cfg: DictConfig) -> DictConfig:
    """Put the command line's dataset, whole or single keys, in the place of the run's own."""
    if cfg.dataset is not None:
        stored.dataset = cfg.dataset if "_target_" in cfg.dataset else merge_dataset(stored.dataset, cfg.dataset)
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


def _require_same_classes(dataset: Dataset, run: Path) -> None:
    trained = tuple(read_classes(run))
    if trained != dataset.class_names:
        raise DataError(
            f"the dataset has {dataset.num_classes} classes ({', '.join(dataset.class_names[:4])}, ...), the run {run} "
            f"was trained on {len(trained)} ({', '.join(trained[:4])}, ...), expected the same. Fix: evaluate on a "
            f"dataset with the run's classes"
        )
