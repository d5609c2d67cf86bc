"""Draw the training curves of a run from `metrics.jsonl` as PNG files."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrain.reading import parse_json
from segtrain.runs.files import read_file
from segtrain.storage import make_folder, write_atomically
from segtrain.terminal import printable

_TITLES = {"loss": "Loss", "pixel_accuracy": "Pixel accuracy", "mean_iou": "Mean IoU", "iou": "IoU by class"}
_NOT_SCORES = ("epoch", "step")
_MAX_LINES = 20  # maximum per chart; with more classes, those with the lowest scores are drawn
_TRAINING, _VALIDATION = "#1f77b4", "#d95f02"
# matplotlib's tab20: first the ten dark colors, then the light ones.
_PALETTE = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
    *("#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#c7c7c7", "#dbdb8d", "#9edae5"),
)

Line = tuple[str, str, str]  # column of metrics.jsonl, legend label, color


def draw_curves(metrics: Path, folder: Path) -> list[Path]:
    """Draw every reported score over the epochs, training and validation in one chart.

    The scores of classes (`val_iou/car`) share a chart, and so do the parts of the loss (`loss_<part>`).

    Args:
        metrics: Path of a run's `metrics.jsonl`.
        folder: Folder to write `loss.png`, `mean_iou.png` and the other charts to.

    Returns:
        Paths of the charts; empty if no epoch has ended.
    """
    import matplotlib

    records = read_metrics(metrics)
    if not records:
        return []
    make_folder(folder)
    best = best_epoch(records)
    # Ignore a matplotlibrc in the working folder, which could change the charts or run LaTeX.
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        return [
            _draw(records, score, lines, folder / f"{_file_name(score)}.png", best)
            for score, lines in _charts(records).items()
        ]


def draw_runs(histories: Mapping[str, Path], folder: Path, score: str = "mean_iou") -> Path | None:
    """Draw a validation score of several runs over the epochs in one chart.

    Args:
        histories: `metrics.jsonl` of each run by its label.
        folder: Folder to write `runs.png` to.
        score: Name of the score, without `val_`.

    Returns:
        Path of the chart; None if no run has validated.
    """
    import matplotlib

    records = [
        {**record, label: record.get(f"val_{score}")}
        for label, path in histories.items()
        for record in read_metrics(path)
    ]
    lines = [(label, label, _PALETTE[index % len(_PALETTE)]) for index, label in enumerate(histories)]
    drawn = [line for line in lines if any(record.get(line[0]) is not None for record in records)]
    if not drawn:
        return None
    make_folder(folder)
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        return _draw(records, score, drawn, folder / "runs.png")


def _charts(records: list[dict[str, Any]]) -> dict[str, list[Line]]:
    """Return the lines of each chart, by score."""
    names = dict.fromkeys(name for record in records for name, value in record.items() if value is not None)
    charts: dict[str, list[Line]] = {}
    for name in names:
        score, _, member = name.removeprefix("val_").partition("/")
        if name in _NOT_SCORES or (name.startswith("loss_") and not member):
            continue
        lines = charts.setdefault(score, [])
        if member:
            lines.append((name, member, _PALETTE[len(lines) % len(_PALETTE)]))
        else:
            label, color = ("validation", _VALIDATION) if name.startswith("val_") else ("training", _TRAINING)
            lines.append((name, label, color))
    parts = sorted(name.removeprefix("loss_") for name in names if name.startswith("loss_"))
    charts.get("loss", []).extend(
        (f"loss_{part}", f"training, {part}", f"C{i % 10}") for i, part in enumerate(parts, 2)
    )
    return {score: _lowest(records, lines) for score, lines in charts.items()}


def _lowest(records: list[dict[str, Any]], lines: list[Line]) -> list[Line]:
    """Return the lines with the lowest last values if there are too many for one chart, else all."""
    if len(lines) <= _MAX_LINES:
        return lines
    last = {name: value for record in records for name, value in record.items() if value is not None}
    return sorted(lines, key=lambda line: last[line[0]])[:_MAX_LINES]


def best_epoch(records: list[dict[str, Any]], score: str = "val_mean_iou") -> int | None:
    """Return the epoch of the highest score; None before the first validation."""
    scored = [record for record in records if isinstance(record.get(score), int | float)]
    return max(scored, key=lambda record: record[score])["epoch"] if scored else None


def _draw(records: list[dict[str, Any]], score: str, lines: list[Line], path: Path, best: int | None = None) -> Path:
    # Not pyplot: its import takes a second, it keeps figures in a global list and requires the main thread.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    highest = 0.0
    drawn: set[int] = set()
    for name, label, color in lines:
        points = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
        epochs, values = zip(*points, strict=True)
        highest = max(highest, *values)
        drawn.update(epochs)
        axes.plot(epochs, values, label=plain_label(label), color=color, marker="o" if len(points) < 30 else None, ms=3)
    title = plain_label(_TITLES.get(score, score.replace("_", " ").capitalize()))
    if score == "loss" or highest > 1:
        axes.set_ylim(bottom=0)
    elif score != "learning_rate":
        axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=title, xlabel="Epoch", ylabel=title)
    axes.grid(alpha=0.3)
    if best is not None and len(drawn) > 1:
        axes.axvline(best, color="#999999", linestyle="--", linewidth=1, label=f"best mean IoU, epoch {best}")
    if len(drawn) == 1:
        axes.set_xlim(min(drawn) - 1, min(drawn) + 1)
    if len(lines) > 6:
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    else:
        axes.legend()
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_atomically(path, image.getvalue())
    return path


def _file_name(score: str) -> str:
    return re.sub(r"[^\w-]", "_", score)


def plain_label(text: str) -> str:
    """Escape a name that matplotlib would parse as math text or leave out of the legend."""
    text = printable(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a run's `metrics.jsonl`, one record per epoch; skip a line that was truncated by a crash."""
    records = []
    for line in read_file(path).splitlines() if path.exists() else []:
        try:
            records.append(parse_json(line))
        except ValueError:
            continue
    return records
