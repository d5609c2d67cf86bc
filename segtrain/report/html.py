"""A run and one of its evaluations as a self-contained HTML page. No TensorFlow, no network.

Only files of the two folders are read: what eval wrote, and the run's config and history.
"""

import base64
import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from segtrain.errors import DataError
from segtrain.report import thumbnails
from segtrain.report.charts import confusion_table, line_chart, most_confused
from segtrain.runs.classes import RunClasses, read_run_classes
from segtrain.runs.files import read_file
from segtrain.runs.folder import read_json
from segtrain.terminal import printable
from segtrain.visual.curves import best_epoch, read_metrics

MAX_PAGE_BYTES = 14_000_000
_MAX_THUMBNAIL_BYTES = 400_000
_TILES = (
    ("mean_iou", "mean IoU"),
    ("pixel_accuracy", "pixel accuracy"),
    ("mean_accuracy", "mean accuracy"),
    ("mean_dice", "mean Dice"),
    ("frequency_weighted_iou", "frequency-weighted IoU"),
    ("loss", "loss"),
)
_SECTIONS = (
    ("classes", "Classes"),
    ("curves", "Training"),
    ("confusion", "Confusion"),
    ("images", "Images"),
    ("run", "Run"),
)
_ORDERS = (("worst", "worst"), ("doubt", "suspected label errors"), ("unsure", "most uncertain"), ("best", "best"))


def render(run: Path, evaluation: Path, limit: int = thumbnails.MAX_IMAGES) -> str:
    """Return the page.

    Args:
        run: The run folder.
        evaluation: Folder of an evaluation of that run.
        limit: Number of images to show.

    Raises:
        CheckpointError: A file of the run is missing or damaged.
        DataError: A file of the evaluation lacks what eval writes.
    """
    scores, classes = read_json(evaluation / "scores.json"), read_run_classes(run)
    try:
        values = {
            "title": f"{run.name}: {scores['split']}",
            "subtitle": f"{scores['images']} images of {scores.get('root', 'the dataset')}, step {scores['step']}",
            "tiles": _tiles(scores),
            "class_columns": ("class", "IoU", "95 % interval", "accuracy", "Dice", "precision", "pixels"),
            "classes": _class_rows(evaluation / "per_class.csv", classes),
            "plots": _plots(run),
            "matrix": confusion_table(scores["confusion_matrix"], classes.class_names),
            "confused": most_confused(scores["confusion_matrix"], classes.class_names),
            "facts": _facts(run, scores),
        }
        images = _images(evaluation, classes, limit)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"cannot read {printable(evaluation)}: its files lack or misspell {printable(error)}, expected those of "
            f"this version. Fix: segtrain eval"
        ) from error
    shown = f"{len(images)} of {scores['images']} images." if images else ""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        **_printable(values),
        images=images,
        sections=_SECTIONS,
        orders=_ORDERS,
        shown_note=shown,
        no_images="The evaluation holds no small copies of its images. segtrain eval writes them with report=true.",
        config=read_file(run / "config.yaml").decode(errors="replace"),
    )


def _tiles(scores: Mapping[str, Any]) -> list[dict[str, str]]:
    bounds, images = scores.get("intervals", {}), scores.get("per_image", {})
    found = []
    for name, title in _TILES:
        note = f"{bounds[name][0]:.3f} to {bounds[name][1]:.3f}" if name in bounds else ""
        if name in images and images[name] is not None:
            note += f"{', ' if note else ''}{images[name]:.3f} over images"
        value = scores.get(name)
        found.append({"name": title, "value": "absent" if value is None else f"{value:.4f}", "note": note})
    return found


def _class_rows(path: Path, classes: RunClasses) -> list[dict[str, Any]]:
    rows = list(csv.DictReader(read_file(path).decode(errors="surrogateescape").splitlines()))
    found = []
    for row in rows:
        low, high = (row.get(f"iou_{end}", "absent") for end in ("low", "high"))
        interval = "" if "absent" in (low, high) else f"{float(low):.3f} to {float(high):.3f}"
        numbers = [_cell(row["iou"]), (-1.0 if not interval else float(high) - float(low), interval)]
        numbers += [_cell(row[name]) for name in ("accuracy", "dice", "precision")]
        color = ",".join(str(int(channel)) for channel in classes.colors[int(row["id"])])
        pixels = (int(row["pixels"]), f"{int(row['pixels']):,}")
        found.append({"name": row["class"], "color": f"rgb({color})", "numbers": [*numbers, pixels]})
    return found


def _cell(text: str) -> tuple[float, str]:
    return (-1.0, "absent") if text == "absent" else (float(text), f"{float(text):.4f}")


def _plots(run: Path) -> list[str]:
    records = read_metrics(run / "metrics.jsonl")
    best = best_epoch(records)
    epoch = None if best is None else float(best)
    charts = (
        ("Loss", {"training": "loss", "validation": "val_loss"}),
        ("Mean IoU", {"training": "mean_iou", "validation": "val_mean_iou"}),
        ("Learning rate", {"learning rate": "learning_rate"}),
    )
    plots = []
    for title, names in charts:
        lines = {label: _points(records, name) for label, name in names.items()}
        plots.append(line_chart(title, {label: points for label, points in lines.items() if points}, epoch))
    return [plot for plot in plots if plot]


def _points(records: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [
        (float(record["epoch"]), float(record[name])) for record in records if isinstance(record.get(name), int | float)
    ]


def _facts(run: Path, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ("run", "step", "weights", "split", "tta", "tiles", "output_stride", "exclude", "root", "data")
    found = [(name, str(scores[name])) for name in names if scores.get(name) not in (None, [], "")]
    manifests = sorted((run / "checkpoints").glob("step-*/manifest.json"))
    environment = read_json(manifests[-1]).get("facts", {}).get("fingerprint", {}) if manifests else {}
    return found + [(str(name), str(value)) for name, value in environment.items()]


def _images(evaluation: Path, classes: RunClasses, limit: int) -> list[dict[str, Any]]:
    """Return the images with small copies, worst first, as long as the page stays small."""
    rows = list(csv.DictReader(read_file(evaluation / "per_image.csv").decode(errors="surrogateescape").splitlines()))
    found: list[dict[str, Any]] = []
    size = 0
    for position, row in enumerate(rows):
        paths = thumbnails.thumbnail_paths(evaluation, row["image"])
        if len(found) == limit or not all(path.is_file() for path in paths.values()):
            continue
        uris = {kind: _data_uri(path) for kind, path in paths.items()}
        size += sum(map(len, uris.values()))
        if size > MAX_PAGE_BYTES:
            break
        ious = [(name, row[f"iou/{name}"]) for name in classes.class_names if row.get(f"iou/{name}")]
        doubt = float(row["confident_disagreement"])
        score = float(row["mean_iou"]) if row["mean_iou"] else math.inf
        shown = f"{score:.3f}" if math.isfinite(score) else "absent"
        caption = f"mean IoU {shown}, confidence {float(row['confidence']):.2f}"
        if doubt >= 0.01:
            caption += f", {doubt:.0%} confidently unlike the labels"
        keys = {"worst": position, "best": -score if math.isfinite(score) else 1, "doubt": -doubt}
        found.append(
            {
                **uris,
                "name": printable(row["image"]),
                "caption": caption,
                "search": printable(" ".join([row["image"], *(name for name, _ in ious)])).lower(),
                "ranks": {**keys, "unsure": float(row["confidence"])},
            }
        )
    return found


def _data_uri(path: Path) -> str:
    data = read_file(path, _MAX_THUMBNAIL_BYTES)
    kinds = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"))
    kind = next((name for magic, name in kinds if data.startswith(magic)), None)
    if kind is None:
        raise ValueError(f"{path.name}, which is no image")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _printable(value: Any) -> Any:
    """Escape control characters in all texts that are not markup of this module."""
    if isinstance(value, dict):
        return {name: each if name in ("plots", "matrix") else _printable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_printable, value))
    return printable(value) if isinstance(value, str) else value
