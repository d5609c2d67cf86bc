"""Results of `segtrain predict`: labels and pictures of each image, and `predictions.csv`.

H height, W width, K classes.
"""

import csv
import io
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from segtrain.data.datasets.colormap import colorize
from segtrain.errors import DataError
from segtrain.storage import append, make_folder, write_atomically
from segtrain.terminal import printable
from segtrain.visual.overlay import blend, draw_prediction, write_labels

TABLE = "predictions.csv"
# Kind of result -> the suffix of its files, which lie in a folder of its name.
SUFFIXES = {"labels": ".png", "overlay": ".jpg", "color": ".png", "panels": ".jpg", "probabilities": ".npz"}
_FIXED = ("file", "frame", "width", "height", "status", "confidence")


class Result(NamedTuple):
    """Prediction of one image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        confidence: (H, W) float32, 0-1.
        probabilities: (H, W, K) float32; None unless they are saved.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None = None


class Writer:
    """Write the results of predictions below one folder.

    Args:
        folder: The folder; each kind of result has a folder of its own in it.
        kinds: What to write, keys of `SUFFIXES`.
        class_names: K names.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the class colors over the image, 0-1.
    """

    def __init__(
        self, folder: Path, kinds: Collection[str], class_names: Sequence[str], colors: np.ndarray, alpha: float
    ) -> None:
        self.folder = folder
        self.kinds = tuple(kinds)
        self.class_names = class_names
        self.colors = colors
        self.alpha = alpha

    def paths(self, name: str) -> dict[str, Path]:
        """Return the file of each kind of result for an image.

        Raises:
            DataError: The name leads out of the folder.
        """
        found = {kind: self.folder / kind / f"{name}{SUFFIXES[kind]}" for kind in self.kinds}
        for kind, path in found.items():
            if not Path(os.path.normpath(path)).is_relative_to(self.folder / kind):
                raise DataError(
                    f"{printable(name)}: its results would lie outside of {self.folder}, expected a name within. Fix: "
                    f"name the file itself as the source"
                )
        return found

    def write(self, name: str, result: Result) -> None:
        """Write the files of one image.

        Raises:
            ResourceError: A file cannot be written.
        """
        for kind, path in self.paths(name).items():
            make_folder(path.parent)
            if kind == "labels":
                write_labels(path, result.labels, self.colors)
            elif kind == "color":
                write_picture(path, colorize(result.labels, self.colors))
            elif kind == "overlay":
                write_picture(path, self.overlay(result))
            elif kind == "panels":
                look = (self.class_names, self.colors, self.alpha, printable(name))
                write_picture(path, np.asarray(draw_prediction(result.image, result.labels, *look)))
            elif result.probabilities is not None:
                data = io.BytesIO()
                np.savez_compressed(data, probabilities=result.probabilities.astype(np.float16))
                write_atomically(path, data.getvalue())

    def overlay(self, result: Result) -> np.ndarray:
        """Return the class colors over the image, (H, W, 3) uint8 RGB."""
        return blend(result.image, result.labels, self.colors, self.alpha)


class Table:
    """`predictions.csv`: a row per image or frame, appended when it is done.

    Args:
        folder: The folder of the table.
        class_names: K names.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / TABLE
        self._num_classes = len(class_names)
        self._columns = [*_FIXED, *(f"{what}/{name}" for what in ("pixels", "fraction") for name in class_names)]

    def begin(self) -> None:
        """Write the heading; of a table that exists keep the rows of predicted images.

        Raises:
            DataError: The table has other columns, of another run.
        """
        rows = [self._columns]
        if self.path.exists():
            with self.path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                rows = list(csv.reader(file))
            if not rows or rows[0] != self._columns:
                raise DataError(
                    f"{printable(self.path)}: columns of other classes, expected those of this run. Fix: choose "
                    f"another output folder"
                )
        make_folder(self.path.parent)
        status = self._columns.index("status")
        kept = [row for row in rows[1:] if len(row) == len(self._columns) and row[status] == "ok"]
        write_atomically(self.path, b"".join(map(_line, [self._columns, *kept])))

    def add(self, file: str, result: Result, frame: int | None = None) -> None:
        """Append one prediction."""
        height, width = result.labels.shape
        pixels = np.bincount(result.labels.ravel(), minlength=256)[: self._num_classes]
        fractions = (f"{count / result.labels.size:.6f}" for count in pixels)
        confidence = f"{float(result.confidence.mean(dtype=np.float64)):.6f}"
        position = "" if frame is None else frame
        append(self.path, _line([file, position, width, height, "ok", confidence, *pixels.tolist(), *fractions]))

    def add_error(self, file: str, message: str) -> None:
        """Append a file that could not be predicted."""
        empty = [""] * (2 * self._num_classes + 1)
        append(self.path, _line([file, "", "", "", printable(message), *empty]))


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write an RGB image in the format of its suffix, .png or .jpg (quality 92).

    Raises:
        ResourceError: The file cannot be written.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    write_atomically(path, cv2.imencode(path.suffix, image[..., ::-1], options)[1].tobytes())


def require_other_files(inputs: Collection[str], outputs: Iterable[Path]) -> None:
    """Refuse results that would replace an input.

    Args:
        inputs: Real paths of the inputs.
        outputs: Files to write.

    Raises:
        DataError: A result is the file of an input.
    """
    for path in outputs:
        if os.path.realpath(path) in inputs:
            raise DataError(
                f"output: {printable(path)} is one of the inputs, which are never replaced, expected another folder. "
                f"Fix: output=ANOTHER_FOLDER"
            )


def _line(values: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode(errors="surrogateescape")
