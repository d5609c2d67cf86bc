"""Figures of an evaluation as PNG: confusion matrix and scores of each class.

K classes.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrain.storage import make_folder, write_atomically
from segtrain.visual.curves import plain_label

_MAX_NUMBERS = 25  # classes up to which each cell shows its fraction


def draw_confusion(matrix: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix as fractions of each true class; readable up to 150 classes.

    Args:
        matrix: (K, K) pixels, rows the true class.
        class_names: K names.
        path: PNG to write.
    """
    size = len(class_names)
    totals = matrix.sum(axis=1, keepdims=True)
    fractions = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = min(24.0, max(5.0, 0.32 * size + 2.5))
    font = 9 if size <= 40 else 6 if size <= 90 else 4.5

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        shown = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        labels = [plain_label(name) for name in class_names]
        axes.set_xticks(range(size), labels, rotation=90, fontsize=font)
        axes.set_yticks(range(size), labels, fontsize=font)
        axes.set(xlabel="predicted class", ylabel="true class", title="Fraction of each true class")
        if size <= _MAX_NUMBERS:
            for row, column in np.argwhere(fractions >= 0.005):
                value = fractions[row, column]
                color = "white" if value > 0.55 else "black"
                axes.text(
                    column,
                    row,
                    f"{value:.2f}"[1:] if value < 1 else "1",
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=6.5,
                )
        figure.colorbar(shown, shrink=0.6)

    _write(path, (side + 0.8, side), draw)


def draw_class_bars(
    iou: np.ndarray, class_names: Sequence[str], path: Path, bounds: Sequence[tuple[float, float] | None] = ()
) -> None:
    """Draw the IoU of each class that occurs, highest first.

    Args:
        iou: (K,) IoU, NaN for an absent class.
        class_names: K names.
        path: PNG to write.
        bounds: K intervals, None where there is none; empty for no intervals.
    """
    order = [int(index) for index in np.argsort(-np.nan_to_num(iou, nan=-1)) if np.isfinite(iou[index])]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        positions = np.arange(len(order))
        axes.barh(positions, iou[order], color="#1f77b4", height=0.7)
        for position, index in enumerate(order):
            if bounds and bounds[index] is not None:
                axes.plot(bounds[index], [position, position], color="#202020", linewidth=1.2)
            axes.text(1.01, position, f"{iou[index]:.3f}", va="center", fontsize=8)
        axes.set_yticks(positions, [plain_label(class_names[index]) for index in order], fontsize=8)
        axes.set(xlim=(0, 1), xlabel="IoU", title="IoU by class")
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        if order:
            axes.axvline(float(np.mean(iou[order])), color="#d55e00", linestyle="--", linewidth=1, label="mean")
            axes.legend(fontsize=8)

    _write(path, (7.0, min(30.0, 1.4 + 0.26 * max(1, len(order)))), draw)


def _write(path: Path, size: tuple[float, float], draw: Any) -> None:
    import matplotlib

    # Not pyplot: its import takes a second, and it keeps figures in a global list.
    from matplotlib.figure import Figure

    make_folder(path.parent)
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        image = io.BytesIO()
        figure.savefig(image, dpi=120, format="png")
    write_atomically(path, image.getvalue())
