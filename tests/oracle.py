"""Rebuild a confusion matrix from label files and saved predictions; shares no code with the package.

    python tests/oracle.py runs/eval/DIR LABELS_DIR NUM_CLASSES IGNORE [STORED=CLASS ...]

Compares every cell with the matrix in DIR/scores.json. STORED=CLASS pairs tell which value of a label file means which
class (255=1 for black-and-white masks).
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def rebuild(predictions: Path, labels: Path, num_classes: int, ignore: int, classes: dict[int, int]) -> np.ndarray:
    """Count, one pixel file at a time, how often each true class was called each class; rows are the truth."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for path in sorted(predictions.glob("*.png")):
        said = np.array(Image.open(path)).astype(int)
        truth = np.array(Image.open(labels / path.name)).astype(int)
        for stored, class_id in classes.items():
            truth[truth == stored] = class_id
        assert said.shape == truth.shape, path
        counted = truth != ignore
        np.add.at(matrix, (truth[counted], said[counted]), 1)
    return matrix


def main(argv: list[str]) -> int:
    folder, labels, num_classes, ignore = Path(argv[0]), Path(argv[1]), int(argv[2]), int(argv[3])
    classes = {int(pair.split("=")[0]): int(pair.split("=")[1]) for pair in argv[4:]}
    matrix = rebuild(folder / "predictions", labels, num_classes, ignore, classes)
    stored = np.array(json.loads((folder / "scores.json").read_text())["confusion_matrix"])
    different = int((matrix != stored).sum())
    print(f"{matrix.sum()} pixels in {num_classes * num_classes} cells, {different} cells differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
