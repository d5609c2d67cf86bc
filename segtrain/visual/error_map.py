"""Errors of a prediction by kind: missed objects, false detections and confused classes.

H height, W width.
"""

from collections.abc import Sequence

import cv2
import numpy as np

# Distinct with any kind of color vision (Okabe and Ito 2008).
MISSED, FALSE, CONFUSED = (213, 94, 0), (0, 114, 178), (240, 228, 66)
_BACKGROUND_NAMES = frozenset({"background", "bg", "unlabeled", "other", "others", "nothing"})


def error_map(image: np.ndarray, labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Draw the errors over a pale gray image; correct and ignored pixels stay gray.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids of the ground truth.
        predicted: (H, W) uint8 predicted class ids.
        class_names: K names; if the first one is a background, objects can be missed or falsely detected.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found = np.repeat((128 + gray // 2)[..., None], 3, axis=-1)
    wrong = (labels != predicted) & (labels < len(class_names))
    found[wrong] = CONFUSED
    if has_background(class_names):
        found[wrong & (predicted == 0)] = MISSED
        found[wrong & (labels == 0)] = FALSE
    return found


def error_legend(class_names: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and color of each kind of error."""
    if not has_background(class_names):
        return [("wrong class", CONFUSED)]
    kinds: list[tuple[str, tuple[int, ...]]] = [("missed", MISSED), ("false detection", FALSE)]
    return kinds if len(class_names) == 2 else [*kinds, ("wrong class", CONFUSED)]


def has_background(class_names: Sequence[str]) -> bool:
    """Return whether the first class is a background, by its name, or as the first of two."""
    return len(class_names) == 2 or class_names[0].lower() in _BACKGROUND_NAMES
