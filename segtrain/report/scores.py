"""Report the scores of a split: printed tables, `scores.json` and `per_class.csv`."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segtrain.evaluation.confusion import MEANS, Scores
from segtrain.runs.folder import write_json
from segtrain.storage import write_atomically
from segtrain.terminal import printable

ScoresByPart = Mapping[str, Mapping[str, float]]


class SplitScores(Protocol):
    """The scores of a split, as `segtrain.evaluation.scoring.SplitScores` adds them up."""

    matrix: np.ndarray

    @property
    def loss(self) -> float: ...
    @property
    def scores(self) -> Scores: ...
    @property
    def heads(self) -> ScoresByPart: ...
    @property
    def metrics(self) -> ScoresByPart: ...


def write_scores(
    folder: Path,
    totals: SplitScores,
    class_names: Sequence[str],
    metadata: Mapping[str, Any],
    further: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write `scores.json` (means, further heads and metrics, IoU by class, the matrix itself) and `per_class.csv`.

    Args:
        folder: The folder to write to.
        totals: The scores of all images.
        class_names: K names.
        metadata: Further values to record at the top; must fit JSON.
        further: Results in addition to the scores, such as `intervals`; floats may be NaN.
    """
    found = totals.scores
    columns: dict[str, Sequence[float] | np.ndarray] = {
        name: getattr(found, name) for name in ("iou", "accuracy", "dice", "precision")
    }
    bounds = further.get("intervals", {})
    if bounds:
        for index, end in enumerate(("iou_low", "iou_high")):
            columns[end] = [bounds.get(f"iou/{name}", (math.nan, math.nan))[index] for name in class_names]
    columns |= _by_class(totals.metrics, class_names)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("id", "class", *columns, "pixels"))
    for index, name in enumerate(class_names):
        numbers = (_csv_number(values[index]) for values in columns.values())
        writer.writerow((index, name, *numbers, int(found.pixels[index])))
    write_atomically(folder / "per_class.csv", text.getvalue().encode())
    means = {name: _json_number(getattr(found, name)) for name in MEANS}
    by_class = {name: _json_number(value) for name, value in zip(class_names, found.iou, strict=True)}
    means |= {name: _json_number(getattr(found, name)) for name in ("mean_dice", "mean_precision")}
    parts = {key: _json_parts(each) for key in ("heads", "metrics") if (each := getattr(totals, key))}
    content = {**metadata, "loss": totals.loss, **means, **parts, **_json_values(further), "iou": by_class}
    # Last: this file marks an evaluation as complete.
    write_json(folder / "scores.json", {**content, "confusion_matrix": totals.matrix.tolist()})


def print_scores(
    totals: SplitScores,
    class_names: Sequence[str],
    metadata: Mapping[str, Any],
    further: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Print the tables; a class that is absent shows as absent, neither as 0 nor as 1."""
    found = totals.scores
    columns: dict[str, Sequence[float] | np.ndarray] = {
        "IoU": found.iou,
        "accuracy": found.accuracy,
        "Dice": found.dice,
        "precision": found.precision,
    }
    columns |= _by_class(totals.metrics, class_names)
    table = Table("id", "class", title=f"{metadata['split']}: {metadata['images']} images, step {metadata['step']}")
    table.columns[0].justify = "right"
    for heading in (*columns, "fraction of pixels"):
        table.add_column(escape(printable(heading)), justify="right")
    total = max(1, int(found.pixels.sum()))
    for index, name in enumerate(class_names):
        numbers = (_shown(values[index]) for values in columns.values())
        table.add_row(str(index), escape(printable(name)), *numbers, f"{found.pixels[index] / total:.2%}")
    table.add_section()
    means = (found.mean_iou, found.mean_accuracy, found.mean_dice, found.mean_precision)
    table.add_row("", "mean", *map(_shown, means))
    if images := further.get("per_image"):
        table.add_row("", "mean over images", _shown(images["mean_iou"]), "", _shown(images["mean_dice"]))
    Console().print(table)
    print(
        f"pixel accuracy {found.pixel_accuracy:.4f}, mean accuracy {found.mean_accuracy:.4f}, "
        f"mean IoU {found.mean_iou:.4f}, frequency-weighted IoU {found.frequency_weighted_iou:.4f}"
    )
    if bounds := further.get("intervals", {}).get("mean_iou"):
        print(f"95 % interval of mean IoU over images: {bounds[0]:.4f} to {bounds[1]:.4f}")
    if pairs := further.get("left_right"):
        worst = max(pairs, key=lambda name: pairs[name] if math.isfinite(pairs[name]) else -1)
        print(f"left and right confused most: {printable(worst)}, {_shown(pairs[worst])} of its pixels")
    for title, parts in (("heads", totals.heads), ("metrics", totals.metrics)):
        if parts:
            _print_parts(f"further {title}", parts)


def _print_parts(title: str, parts: ScoresByPart) -> None:
    table = Table(title.removeprefix("further ").removesuffix("s"), "score", title=title)
    table.add_column("value", justify="right")
    for part, each in parts.items():
        for name, value in each.items():
            if "/" not in name:
                table.add_row(escape(printable(part)), escape(printable(name)), _shown(value))
    Console().print(table)


def _by_class(metrics: ScoresByPart, class_names: Sequence[str]) -> dict[str, list[float]]:
    """Return, by `<metric>_<score>`, the scores that a metric reports of every class."""
    found = {}
    for metric, each in metrics.items():
        for score in dict.fromkeys(name.partition("/")[0] for name in each if "/" in name):
            if all(f"{score}/{name}" in each for name in class_names):
                found[f"{metric}_{score}"] = [each[f"{score}/{name}"] for name in class_names]
    return found


def _json_values(value: Any) -> Any:
    """Replace NaN by None, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): _json_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(each) for each in value]
    return _json_number(value) if isinstance(value, float) else value


def _json_parts(parts: ScoresByPart) -> dict[str, dict[str, float | None]]:
    return {part: {name: _json_number(value) for name, value in each.items()} for part, each in parts.items()}


def _shown(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "absent"


def _json_number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _csv_number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "absent"
