"""Curves of a run: `metrics.jsonl` to PNGs."""

import io
from pathlib import Path
from typing import Any

from segtrain.reading import parse_json
from segtrain.run_files import read_file
from segtrain.storage import make_folder, write_whole

_CHARTS = {"loss": "Loss", "pixel_accuracy": "Pixel accuracy", "mean_iou": "Mean IoU"}


def draw_curves(metrics: Path, folder: Path) -> list[Path]:
    """Draw loss, pixel accuracy and mean IoU of training and validation over the epochs.

    Where further heads train along, the parts of the loss (`loss_<head>`) are drawn beside it.

    Args:
        metrics: A run's `metrics.jsonl`.
        folder: Where `loss.png`, `pixel_accuracy.png` and `mean_iou.png` go.

    Returns:
        The files; none where no epoch has ended.
    """
    import matplotlib

    records = read_metrics(metrics)
    if not records:
        return []
    make_folder(folder)
    # A matplotlibrc in the working folder could change the charts, or start LaTeX for their text.
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        return _draw(records, folder)


def _draw(records: list[dict[str, Any]], folder: Path) -> list[Path]:
    # Never pyplot: it costs a second, keeps figures in a global list and wants the main thread.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    paths = []
    for score, title in _CHARTS.items():
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        curves = [(score, "training", "#1f77b4"), (f"val_{score}", "validation", "#d95f02")]
        if score == "loss":
            heads = sorted(
                {name.removeprefix("loss_") for each in records for name in each if name.startswith("loss_")}
            )
            curves += [(f"loss_{head}", f"training, {head}", f"C{place}") for place, head in enumerate(heads, start=2)]
        for name, label, color in curves:
            points = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
            if points:
                epochs, values = zip(*points, strict=True)
                axes.plot(epochs, values, label=label, color=color, marker="o" if len(points) < 30 else None, ms=3)
        if score == "loss":
            axes.set_ylim(bottom=0)
        else:
            axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, xlabel="Epoch", ylabel=title)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        path = folder / f"{score}.png"
        image = io.BytesIO()
        figure.savefig(image, dpi=120, format="png")
        write_whole(path, image.getvalue())
        paths.append(path)
    return paths


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a run's `metrics.jsonl`, one record an epoch; a line that a crash has cut is left out."""
    records = []
    for line in read_file(path).splitlines() if path.exists() else []:
        try:
            records.append(parse_json(line))
        except ValueError:
            continue
    return records
