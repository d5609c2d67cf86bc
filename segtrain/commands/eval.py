"""`segtrain eval`: score a run on a split, pixel by pixel, and draw what it sees."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from segtrain.builders.output_stride import with_output_stride
from segtrain.builders.run import NETWORK_KEYS, inference_options, read_run
from segtrain.config.stored import shown
from segtrain.config.tree import plain
from segtrain.errors import DataError
from segtrain.evaluation.confusion import scores
from segtrain.evaluation.intervals import intervals
from segtrain.evaluation.per_image import PerImage
from segtrain.process.quiet import quiet_tensorflow
from segtrain.report.html import render
from segtrain.report.per_image import write_per_image
from segtrain.report.progress import track
from segtrain.report.run_comparison import read_prediction
from segtrain.report.samples import write_samples
from segtrain.report.scores import print_scores, write_scores
from segtrain.report.thumbnails import chosen, write_thumbnail
from segtrain.runs.folder import new_run_folder, newest_run, require_run
from segtrain.storage import write_atomically, write_png
from segtrain.visual.figures import draw_class_bars, draw_confusion
from segtrain.visual.overlay import draw_panels, write_labels
from segtrain.visual.palette import colors_of

if TYPE_CHECKING:
    from segtrain.builders.evaluation import Evaluation
    from segtrain.evaluation.scoring import Prediction, SplitScores

# What evaluation reads of a run's config.
_NEEDED = NETWORK_KEYS | {"dataset", "loss", "workers"}


def evaluate(cfg: DictConfig) -> float:
    """Score one run; write scores, overlays and predictions. Returns the mean IoU."""
    folder = require_run(cfg.run) if cfg.run is not None else newest_run()
    tta, tiles = inference_options(cfg)
    is_replaced = cfg.dataset is not None and "_target_" in cfg.dataset
    needed = _NEEDED - {"dataset"} if is_replaced else _NEEDED
    run = read_run(folder, cfg.checkpoint, keys=needed, trusted_modules=cfg.trusted_modules)
    if cfg.output_stride is not None:
        with_output_stride(run.config, cfg.output_stride)
    # Starting TensorFlow takes seconds: what is wrong with the run is reported before.
    with quiet_tensorflow():
        from segtrain.builders.evaluation import prepare_evaluation
    evaluation = prepare_evaluation(cfg, run, tta, tiles)
    with new_run_folder("eval", cfg.name, keep_if="scores.json") as output:
        totals, images = _score(evaluation, output, cfg)
        metadata = {
            "run": str(run.folder.resolve()),
            "step": run.checkpoint.step,
            "weights": cfg.weights,
            "tta": plain(cfg.tta),
            "tiles": tiles,
            "output_stride": cfg.output_stride,
            "split": cfg.split,
            "images": len(evaluation.samples),
            **evaluation.data,
            "exclude": list(cfg.exclude),
        }
        further = _further(evaluation, totals, images)
        write_samples(output, evaluation.dataset, evaluation.samples)
        write_per_image(output, images, evaluation.dataset.class_names, evaluation.exclude)
        if cfg.report and cfg.save_predictions:
            _write_thumbnails(output, evaluation, images)
        write_scores(output, totals, evaluation.dataset.class_names, metadata, further)
    _draw_figures(output, totals, further, evaluation.dataset.class_names)
    if cfg.report:
        write_atomically(output / "report.html", render(run.folder, output).encode(errors="replace"))
    print_scores(totals, evaluation.dataset.class_names, metadata, further)
    if (output / "overlays").exists():
        print(f"overlays: {output / 'overlays'}")
    if cfg.report:
        print(f"report: {output / 'report.html'}")
    print(f"figures: {output / 'plots'}")
    print(f"scores: {output / 'scores.json'}, {output / 'per_class.csv'}, {output / 'per_image.csv'}")
    return totals.scores.mean_iou if math.isfinite(totals.scores.mean_iou) else 0.0


def _score(evaluation: "Evaluation", output: Path, cfg: DictConfig) -> tuple["SplitScores", PerImage]:
    """Score the samples, and write the predictions and overlays that `cfg` asks for."""
    dataset, samples = evaluation.dataset, evaluation.samples
    # Spread over the split: neighbors in a list often show the same scene.
    drawn = {int(index) for index in np.linspace(0, len(samples) - 1, min(cfg.overlays, len(samples)))}
    totals, images = evaluation.scorer.start(), PerImage()
    totals.exclude = evaluation.exclude
    with closing(evaluation.scorer.score(samples, totals, evaluation.workers)) as predictions:
        for index, each in enumerate(track(predictions, len(samples), "evaluation", "images")):
            name = each.sample.name
            images.add(name, each.matrix, each.loss, each.labels, each.predicted, np.asarray(each.confidence))
            if cfg.save_predictions:
                write_labels(_file(output, "predictions", name), each.predicted, dataset.colors)
            if index in drawn:
                _draw(each, evaluation, _file(output, "overlays", name), cfg)
    return totals, images


def _draw_figures(output: Path, totals: "SplitScores", further: Mapping[str, Any], class_names: Sequence[str]) -> None:
    draw_confusion(totals.matrix, class_names, output / "plots" / "confusion.png")
    bounds = [further["intervals"].get(f"iou/{name}") for name in class_names]
    draw_class_bars(totals.scores.iou, class_names, output / "plots" / "iou.png", bounds)


def _write_thumbnails(output: Path, evaluation: "Evaluation", images: PerImage) -> None:
    """Write small copies of the images that the report shows."""
    names = set(chosen(images, evaluation.exclude))
    shown = [sample for sample in evaluation.samples if sample.name in names]
    for sample in track(shown, len(shown), "report", "images"):
        image, labels = evaluation.dataset.read(sample)
        predicted = read_prediction(output, sample.name)
        write_thumbnail(output, sample.name, image, labels, predicted, evaluation.dataset.colors)


def _draw(each: "Prediction", evaluation: "Evaluation", path: Path, cfg: DictConfig) -> None:
    dataset = evaluation.dataset
    panels = draw_panels(
        each.image,
        each.labels,
        each.predicted,
        dataset.class_names,
        colors_of(cfg.palette, dataset.colors),
        cfg.alpha,
        f"{each.sample.name}   mean IoU {scores(each.matrix, evaluation.exclude).mean_iou:.3f}",
        style=cfg.style,
        contours=cfg.contours,
        background=cfg.background,
    )
    write_png(path, panels)


def _further(evaluation: "Evaluation", totals: "SplitScores", images: PerImage) -> dict[str, Any]:
    """Return the results in addition to the scores: means over images, intervals, left and right."""
    names = evaluation.dataset.class_names
    found: dict[str, Any] = {
        "per_image": images.means(evaluation.exclude),
        "intervals": intervals(images.counts, names, exclude=evaluation.exclude),
    }
    if pairs := evaluation.dataset.flip_pairs:
        matrix, occurs = totals.matrix, totals.matrix.sum(axis=1)
        both = [*pairs, *((right, left) for left, right in pairs)]
        found["left_right"] = {
            f"{names[one]} as {names[other]}": float(matrix[one, other] / occurs[one]) if occurs[one] else math.nan
            for one, other in both
        }
    return found | ({"details": details} if (details := totals.details) else {})


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
