"""Overlays of labels on images, and panels with a legend. NumPy, OpenCV and Pillow only."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segtrain.data.datasets.colormap import colorize
from segtrain.storage import write_png

_GAP, _LINE, _SWATCH, _FONT_SIZE = 8, 24, 15, 15
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


def blend(image: np.ndarray, labels: np.ndarray, colors: np.ndarray, alpha: float) -> np.ndarray:
    """Blend the class colors over an image; ignored pixels keep the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the colors, 0-1; the keras.io example uses 0.65.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    blended = cv2.addWeighted(image, 1 - alpha, colorize(labels, colors), alpha, 0)
    return np.where((labels < len(colors))[..., None], blended, image)


def draw_panels(
    image: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    colors: np.ndarray,
    alpha: float,
    caption: str,
) -> Image.Image:
    """Draw image, ground truth and prediction side by side, with a legend of the classes present in either.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids of the ground truth.
        predicted: (H, W) uint8 predicted class ids.
        class_names: K names.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the colors, 0-1.
        caption: Text line above the panels.
    """
    # Enlarge small images by an integer factor, so that pixels stay square.
    factor = max(1, round(320 / max(image.shape[:2])))
    panels = [
        ("image", image),
        ("ground truth", blend(image, labels, colors, alpha)),
        ("prediction", blend(image, predicted, colors, alpha)),
    ]
    height, width = image.shape[0] * factor, image.shape[1] * factor
    present = [index for index in np.union1d(labels, predicted) if index < len(class_names)]
    font = ImageFont.load_default(_FONT_SIZE)
    full_width = 3 * width + 4 * _GAP
    cells = _legend_cells([class_names[index] for index in present], font, full_width)
    top = _GAP + 2 * _LINE
    legend_top = top + height + _GAP
    num_lines = cells[-1][1] + 1 if cells else 0
    canvas = Image.new("RGB", (full_width, legend_top + num_lines * _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP, _GAP // 2), caption, _INK, font)
    for position, (title, panel) in enumerate(panels):
        left = _GAP + position * (width + _GAP)
        draw.text((left, _GAP // 2 + _LINE), title, _INK, font)
        canvas.paste(Image.fromarray(np.repeat(np.repeat(panel, factor, 0), factor, 1)), (left, top))
    for index, (left, line) in zip(present, cells, strict=True):
        y = legend_top + line * _LINE
        draw.rectangle((left, y + 4, left + _SWATCH, y + 4 + _SWATCH), tuple(int(c) for c in colors[index]), _INK)
        draw.text((left + _SWATCH + 6, y + 2), class_names[index], _INK, font)
    return canvas


def write_labels(path: Path, labels: np.ndarray, colors: np.ndarray) -> None:
    """Write class ids as a palette PNG: the indices are the ids, the palette shows the classes' colors.

    Args:
        path: File to write.
        labels: (H, W) uint8 class ids.
        colors: (K, 3) uint8 RGB.
    """
    image = Image.fromarray(labels)  # mode L; putpalette makes it mode P and keeps the pixel values
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    image.putpalette(table.tobytes())
    write_png(path, image)


def _legend_cells(
    names: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[tuple[int, int]]:
    """Lay out legend entries from left to right; return the left edge and the line number of each."""
    cells, left, line = [], _GAP, 0
    for name in names:
        entry = _SWATCH + 6 + int(font.getlength(name)) + 2 * _GAP
        if left > _GAP and left + entry > width:
            left, line = _GAP, line + 1
        cells.append((left, line))
        left += entry
    return cells
