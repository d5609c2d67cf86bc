"""Scores as people and programs read them: a table, `scores.json`, `per_class.csv`."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segtrain.metrics import Scores
from segtrain.runs import write_json
from segtrain.storage import write_whole
from segtrain.terminal import printable

HeadScores = Mapping[str, Mapping[str, float]]
_NO_HEADS: HeadScores = MappingProxyType({})
_MEANS = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def write_scores(
    folder: Path,
    matrix: np.ndarray,
    found: Scores,
    class_names: Sequence[str],
    facts: Mapping[str, Any],
    heads: HeadScores = _NO_HEADS,
) -> None:
    """Write `scores.json` (means, further heads, IoU by class, the matrix itself) and `per_class.csv`.

    Args:
        folder: Where to.
        matrix: (K, K) int64, rows the truth.
        found: What `scores` makes of it.
        class_names: K names.
        facts: What else to record; must fit JSON.
        heads: By name of each further head that is scored, its scores by name.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("id", "class", "iou", "accuracy", "pixels"))
    for index, name in enumerate(class_names):
        numbers = (_csv_number(found.iou[index]), _csv_number(found.accuracy[index]), int(found.pixels[index]))
        writer.writerow((index, name, *numbers))
    write_whole(folder / "per_class.csv", text.getvalue().encode())
    means = {name: _json_number(getattr(found, name)) for name in _MEANS}
    by_class = {name: _json_number(value) for name, value in zip(class_names, found.iou, strict=True)}
    by_head = {head: {name: _json_number(value) for name, value in each.items()} for head, each in heads.items()}
    content = {**facts, **means, **({"heads": by_head} if heads else {}), "iou": by_class}
    # Last: this file tells that an evaluation is complete.
    write_json(folder / "scores.json", {**content, "confusion_matrix": matrix.tolist()})


def print_scores(
    found: Scores, class_names: Sequence[str], facts: Mapping[str, Any], heads: HeadScores = _NO_HEADS
) -> None:
    """Print the tables; a class that is absent shows as absent, neither as 0 nor as 1."""
    table = Table(title=f"{facts['split']}: {facts['images']} photographs, step {facts['step']}")
    for heading in ("id", "class"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for heading in ("IoU", "accuracy", "share of pixels"):
        table.add_column(heading, justify="right")
    total = max(1, int(found.pixels.sum()))
    for index, name in enumerate(class_names):
        share = f"{found.pixels[index] / total:.2%}"
        table.add_row(
            str(index), escape(printable(name)), _shown(found.iou[index]), _shown(found.accuracy[index]), share
        )
    table.add_section()
    table.add_row("", "mean", _shown(found.mean_iou), _shown(found.mean_accuracy), "")
    Console().print(table)
    print(
        f"pixel accuracy {found.pixel_accuracy:.4f}, mean accuracy {found.mean_accuracy:.4f}, "
        f"mean IoU {found.mean_iou:.4f}, frequency-weighted IoU {found.frequency_weighted_iou:.4f}"
    )
    if heads:
        further = Table("head", "score", title="further heads")
        further.add_column("value", justify="right")
        for head, each in heads.items():
            for name, value in each.items():
                further.add_row(escape(printable(head)), escape(printable(name)), _shown(value))
        Console().print(further)


def _shown(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "absent"


def _json_number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _csv_number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "absent"
