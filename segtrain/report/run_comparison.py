"""Evaluations of several runs on the same images, compared.

K classes, N images.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segtrain.data.datasets.colormap import colorize
from segtrain.errors import DataError
from segtrain.evaluation.intervals import NAMES, Counts, Interval, paired_intervals
from segtrain.report.per_image import read_counts
from segtrain.runs.classes import RunClasses, read_run_classes
from segtrain.runs.files import require_inside
from segtrain.runs.folder import newest_evaluation, read_json, require_run
from segtrain.shell import command, override
from segtrain.terminal import printable
from segtrain.visual.overlay import lay_out, present_classes


class Evaluated(NamedTuple):
    """A run with its newest evaluation.

    Attributes:
        run: The run folder.
        folder: Folder of the evaluation.
        scores: Its `scores.json`.
        names: Names of the images.
        counts: Their pixels by class.
    """

    run: Path
    folder: Path
    scores: dict[str, Any]
    names: list[str]
    counts: Counts


class Change(NamedTuple):
    """A score of the second run compared with that of the first.

    Attributes:
        name: Name of the score.
        before: Of the first run; None if absent.
        after: Of the second.
        interval: 95 % interval of the difference over images; None if the class occurs too rarely.
    """

    name: str
    before: float | None
    after: float | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """Second minus first."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def read_evaluated(path: str) -> Evaluated:
    """Read a run and its newest evaluation.

    Raises:
        CheckpointError: It is not a run, or has no evaluation.
        DataError: A file of the evaluation is damaged.
    """
    run = require_run(path)
    folder = newest_evaluation(run)
    scores = read_json(folder / "scores.json")
    names, counts = read_counts(folder)
    try:
        for name in names:
            require_inside(folder / "predictions", name)
    except ValueError as error:
        raise DataError(f"{printable(folder)}: {error}. Fix: segtrain eval") from error
    return Evaluated(run, folder, scores, names, counts)


def require_comparable(found: Sequence[Evaluated]) -> None:
    """Refuse runs of different classes, and evaluations of different splits or images.

    Raises:
        DataError: Two differ.
    """
    first = found[0]
    classes = read_run_classes(first.run).class_names
    for each in found[1:]:
        others = read_run_classes(each.run).class_names
        if others != classes:
            raise DataError(
                f"{printable(each.run)}: {len(others)} classes, {printable(first.run)} has {len(classes)} or others, "
                f"expected the same classes. Fix: compare runs of one dataset"
            )
        if sorted(each.names) != sorted(first.names):
            split = first.scores.get("split", "val")
            again = command("segtrain", "eval", override("run", each.run), override("split", split))
            raise DataError(
                f"{printable(each.folder)}: scores of {len(each.names)} other images than the {len(first.names)} of "
                f"{printable(first.folder)}, expected the same split. Fix: {again}"
            )


def changes(first: Evaluated, second: Evaluated, class_names: Sequence[str]) -> list[Change]:
    """Compare the scores of two evaluations of the same images, with paired bootstrap intervals."""
    order = [second.names.index(name) for name in first.names]
    counts = Counts(*(each[order] for each in second.counts))
    exclude = [list(class_names).index(name) for name in first.scores.get("exclude", []) if name in class_names]
    bounds = paired_intervals(first.counts, counts, class_names, exclude=exclude)
    rows = [
        Change(name, _score(first, name), _score(second, name), bounds.get(name))
        for name in (*NAMES, *(f"iou/{name}" for name in class_names))
    ]
    return [Change("loss", _score(first, "loss"), _score(second, "loss"), None), *rows]


def disagreements(first: Evaluated, second: Evaluated) -> Iterator[tuple[str, float]]:
    """Yield each image with the fraction of its pixels that the two runs predict differently.

    Raises:
        DataError: A prediction was not saved.
    """
    for name in first.names:
        one, other = (read_prediction(each.folder, name) for each in (first, second))
        yield name, float(np.mean(one != other))


def read_prediction(folder: Path, name: str) -> np.ndarray:
    """Read the saved class ids of an image, (H, W) uint8.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = folder / "predictions" / f"{name}.png"
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"cannot read {printable(path)}: {getattr(error, 'strerror', None) or 'damaged'}, expected a saved "
            f"prediction. Fix: segtrain eval, with save_predictions=true"
        ) from error


def draw_disagreement(
    first: Evaluated, second: Evaluated, name: str, fraction: float, classes: RunClasses
) -> Image.Image:
    """Draw the predictions of two runs for an image, and where they differ."""
    one, other = (read_prediction(each.folder, name) for each in (first, second))
    differing = np.full((*one.shape, 3), 235, np.uint8)
    differing[one != other] = (213, 94, 0)
    panels = [
        (first.run.name, colorize(one, classes.colors)),
        (second.run.name, colorize(other, classes.colors)),
        ("differing", differing),
    ]
    present = present_classes(one, other, num_classes=len(classes.class_names))
    legend = [(classes.class_names[index], tuple(map(int, classes.colors[index]))) for index in present]
    return lay_out(panels, legend, f"{name}   {fraction:.2%} of the pixels differ")


def print_changes(first: Evaluated, second: Evaluated, rows: Sequence[Change], num_classes: int = 12) -> None:
    """Print the scores, then the classes that changed most."""
    overall = [row for row in rows if not row.name.startswith("iou/")]
    classes = [row for row in rows if row.name.startswith("iou/") and row.difference is not None]
    classes.sort(key=lambda row: -abs(row.difference or 0))
    table = Table("score", first.run.name, second.run.name, "difference", "95 % interval", "")
    for column in (1, 2, 3, 4):
        table.columns[column].justify = "right"
    for row in [*overall, *classes[:num_classes]]:
        if row.name == classes[0].name if classes else False:
            table.add_section()
        bounds = "" if row.interval is None else f"{row.interval[0]:+.4f} to {row.interval[1]:+.4f}"
        difference = "" if row.difference is None else f"{row.difference:+.4f}"
        verdict = "beyond chance" if row.is_clear else ""
        numbers = ("absent" if value is None else f"{value:.4f}" for value in (row.before, row.after))
        table.add_row(escape(printable(row.name)), *numbers, difference, bounds, verdict)
    Console().print(table)


def as_mapping(rows: Sequence[Change]) -> dict[str, Mapping[str, Any]]:
    """Return the changes as JSON values by score."""
    return {
        row.name: {
            "before": row.before,
            "after": row.after,
            "difference": row.difference,
            "interval": None if row.interval is None else list(row.interval),
            "is_beyond_chance": row.is_clear,
        }
        for row in rows
    }


def _score(each: Evaluated, name: str) -> float | None:
    found = each.scores.get("iou", {}).get(name[4:]) if name.startswith("iou/") else each.scores.get(name)
    return float(found) if isinstance(found, int | float) else None
