"""Scores of an evaluation rebuilt from its saved predictions and the label files, by code of its own.

NumPy and Pillow only: nothing of `segtrain.evaluation` or of segtrain's readers is used, so that an error in either
shows. N images, K classes.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from segtrain.errors import DataError
from segtrain.reading import load_json
from segtrain.terminal import printable

MAX_JSON_BYTES = 1 << 28
_BY_CLASS = ("iou", "accuracy", "dice", "precision")
_TEXT_DIGITS = 5e-7  # of numbers with six decimals


class Difference(NamedTuple):
    """A number that differs.

    Attributes:
        where: File and name of the number.
        stored: As the evaluation wrote it.
        rebuilt: As it was computed anew.
    """

    where: str
    stored: float | None
    rebuilt: float | None


def rebuild(folder: Path, names: list[dict[str, str]], table: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and (K, K) int64 matrix of each image, rows the true class.

    Args:
        folder: Folder of the evaluation.
        names: `samples` of samples.json.
        table: The other keys of samples.json.

    Raises:
        DataError: A prediction or label file is missing or of another size, or a value has no class.
    """
    num_classes = len(table["class_names"])
    for row in names:
        predicted = _opened(folder / "predictions" / f"{row['name']}.png")
        labels = _classes(_opened(Path(row["labels"])), table, row["labels"])
        if labels.shape != predicted.shape:
            raise DataError(
                f"{printable(row['labels'])}: {labels.shape} pixels, its prediction has {predicted.shape}, expected "
                f"equal sizes. Fix: segtrain eval"
            )
        matrix = np.zeros((num_classes, num_classes), np.int64)
        counted = labels != table["ignore_class"]
        pairs, numbers = np.unique(np.stack([labels[counted], predicted[counted]]), axis=1, return_counts=True)
        matrix[pairs[0], pairs[1]] = numbers
        yield row["name"], matrix


def expected_scores(matrix: np.ndarray, exclude: list[int]) -> dict[str, float]:
    """Return every score of a matrix by name, from its definition."""
    found: dict[str, float] = {}
    by_class: dict[str, list[float]] = {name: [] for name in _BY_CLASS}
    for index in range(len(matrix)):
        both = int(matrix[index, index])
        missed, false = int(matrix[index].sum()) - both, int(matrix[:, index].sum()) - both
        by_class["iou"].append(_ratio(both, both + missed + false))
        by_class["accuracy"].append(_ratio(both, both + missed))
        by_class["dice"].append(_ratio(2 * both, 2 * both + missed + false))
        by_class["precision"].append(_ratio(both, both + false))
    total, occurs = int(matrix.sum()), matrix.sum(axis=1)
    found["pixel_accuracy"] = _ratio(int(np.trace(matrix)), total)
    weighted = sum(int(n) * iou for n, iou in zip(occurs, by_class["iou"], strict=True) if not math.isnan(iou))
    found["frequency_weighted_iou"] = weighted / total if total else math.nan
    for name, values in by_class.items():
        kept = [value for index, value in enumerate(values) if index not in exclude and not math.isnan(value)]
        found[f"mean_{name}"] = math.fsum(kept) / len(kept) if kept else math.nan
        found |= {f"{name}/{index}": value for index, value in enumerate(values)}
    return found


def compare(folder: Path) -> tuple[int, int, list[Difference]]:
    """Rebuild all scores of an evaluation.

    Args:
        folder: Folder of the evaluation.

    Returns:
        The number of images, the number of scores compared, and those that differ.

    Raises:
        DataError: A file is missing, damaged, or holds too little to rebuild the scores.
    """
    stored, table = _json(folder / "scores.json"), _json(folder / "samples.json")
    if not table.get("class_of_value") or not isinstance(table.get("samples"), list):
        raise DataError(
            f"{printable(folder / 'samples.json')}: label files of several datasets, or labels that are made by code, "
            f"cannot be read anew, expected one dataset with label files. Fix: verify each dataset separately"
        )
    names = table["class_names"]
    exclude = [names.index(name) for name in stored.get("exclude", []) if name in names]
    total = np.zeros((len(names), len(names)), np.int64)
    images: dict[str, dict[str, float]] = {}
    for name, matrix in rebuild(folder, table["samples"], table):
        total += matrix
        images[name] = {
            **expected_scores(matrix, exclude),
            "labeled_pixels": int(matrix.sum()),
            "error_pixels": int(matrix.sum() - np.trace(matrix)),
        }
    pairs = [*_of_json(stored, total, expected_scores(total, exclude), names)]
    pairs += [*_of_classes(folder / "per_class.csv", expected_scores(total, exclude))]
    pairs += [*_of_images(folder / "per_image.csv", images, names)]
    return len(images), len(pairs), [each for each in pairs if not _equal(each)]


def _of_json(
    stored: Mapping[str, Any], matrix: np.ndarray, found: Mapping[str, float], names: list[str]
) -> Iterator[Difference]:
    for row in range(len(names)):
        for column in range(len(names)):
            cell = stored["confusion_matrix"][row][column]
            yield Difference(f"scores.json confusion_matrix[{row}][{column}]", cell, int(matrix[row, column]))
    for name in (
        "pixel_accuracy",
        "mean_accuracy",
        "mean_iou",
        "frequency_weighted_iou",
        "mean_dice",
        "mean_precision",
    ):
        yield Difference(f"scores.json {name}", stored[name], found[name])
    for index, name in enumerate(names):
        yield Difference(f"scores.json iou/{name}", stored["iou"][name], found[f"iou/{index}"])


def _of_classes(path: Path, found: Mapping[str, float]) -> Iterator[Difference]:
    for row in _rows(path):
        for name in _BY_CLASS:
            value = None if row[name] == "absent" else float(row[name])
            yield Difference(f"{path.name} {row['class']} {name}", value, found[f"{name}/{row['id']}"])


def _of_images(path: Path, images: Mapping[str, Mapping[str, float]], names: list[str]) -> Iterator[Difference]:
    rows = _rows(path)
    if sorted(row["image"] for row in rows) != sorted(images):
        raise DataError(f"{printable(path)}: other images than samples.json. Fix: segtrain eval")
    for row in rows:
        found = images[row["image"]]
        for name in ("mean_iou", "pixel_accuracy", "mean_dice", "error_pixels", "labeled_pixels"):
            yield Difference(f"{path.name} {row['image']} {name}", _number(row[name]), found[name])
        for index, name in enumerate(names):
            yield Difference(
                f"{path.name} {row['image']} iou/{name}", _number(row[f"iou/{name}"]), found[f"iou/{index}"]
            )


def _classes(values: np.ndarray, table: Mapping[str, Any], path: str) -> np.ndarray:
    """Map stored values or colors to class ids."""
    if values.ndim == 3:
        colors = table.get("value_of_color") or {}
        codes = values[..., 0].astype(np.int64) * 65536 + values[..., 1].astype(np.int64) * 256 + values[..., 2]
        known = {
            int(r) * 65536 + int(g) * 256 + int(b): value
            for color, value in colors.items()
            for r, g, b in [color.split(",")]
        }
        values = np.full(codes.shape, 256, np.int64)
        for code, value in known.items():
            values[codes == code] = value
    found = np.full(values.shape, -1, np.int64)
    for value, class_id in table["class_of_value"].items():
        found[values == int(value)] = class_id
    if (found < 0).any():
        unknown = int(values[found < 0].ravel()[0])
        raise DataError(f"{printable(path)}: value {unknown} has no class in samples.json. Fix: segtrain eval")
    return found


def _opened(path: Path) -> np.ndarray:
    """Return the stored numbers of an image: palette indices, gray values, or (H, W, 3) colors."""
    try:
        with Image.open(path, formats=("PNG", "BMP", "TIFF")) as image:
            if image.mode in ("P", "L", "I;16", "I"):
                return np.asarray(image)
            return np.asarray(image.convert("L" if image.mode == "1" else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        seen = error.strerror if isinstance(error, OSError) and error.strerror else "not a PNG, BMP or TIFF image"
        raise DataError(
            f"cannot read {printable(path)}: {seen}, expected the file that was evaluated. Fix: segtrain eval, with "
            f"save_predictions=true"
        ) from error


def _json(path: Path) -> Any:
    try:
        found = load_json(path, MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        seen = error.strerror if isinstance(error, OSError) and error.strerror else "damaged JSON"
        raise DataError(
            f"cannot read {printable(path)}: {seen}, expected the folder of an evaluation. Fix: segtrain eval"
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"cannot read {printable(path)}: not a mapping. Fix: segtrain eval")
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read {printable(path)}: {error.strerror}. Fix: segtrain eval") from error


def _number(text: str) -> float | None:
    return float(text) if text else None


def _ratio(part: int, total: int) -> float:
    return part / total if total else math.nan


def _equal(pair: Difference) -> bool:
    rebuilt = None if pair.rebuilt is None or math.isnan(pair.rebuilt) else pair.rebuilt
    if pair.stored is None or rebuilt is None:
        return pair.stored is None and rebuilt is None
    tolerance = 1e-12 if pair.where.startswith("scores.json") else _TEXT_DIGITS + 1e-12
    return abs(pair.stored - rebuilt) <= tolerance
