"""Overlays of labels on images, and panels with a legend. NumPy, OpenCV and Pillow only.

H height, W width, K classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segtrain.data.datasets.colormap import colorize
from segtrain.storage import write_png
from segtrain.visual.error_map import error_legend, error_map

Background = Literal["painted", "unpainted"]
Style = Literal["panels", "errors", "source"]

MAX_SIDE = 1600  # pixels of the longer side of a written panel
_MIN_SIDE = 320
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


def blend(
    image: np.ndarray,
    labels: np.ndarray,
    colors: np.ndarray,
    alpha: float,
    *,
    contours: bool = False,
    background: Background = "painted",
) -> np.ndarray:
    """Blend the class colors over an image; ignored pixels keep the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the colors, 0-1; the keras.io example uses 0.65.
        contours: Draw the borders between classes as lines; their width grows with the image.
        background: Whether class 0 gets its color; a dark one hides the objects that a label missed.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    blended = cv2.addWeighted(image, 1 - alpha, colorize(labels, colors), alpha, 0)
    painted = labels < len(colors)
    if background == "unpainted":
        painted &= labels > 0
    found = np.where(painted[..., None], blended, image)
    if contours:
        border = class_borders(labels, max(1, round(min(image.shape[:2]) / 400)))
        found[border] = np.where(painted[border, None], colorize(labels, colors)[border], 255)
    return found


def class_borders(labels: np.ndarray, width: int = 1) -> np.ndarray:
    """Return a mask (H, W) of the pixels within `width` pixels of another label."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)


def draw_panels(
    image: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    colors: np.ndarray,
    alpha: float,
    caption: str,
    *,
    style: Style = "panels",
    contours: bool = False,
    background: Background = "painted",
    max_side: int = MAX_SIDE,
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
        style: "panels"; "errors" adds a map of the errors; "source" is the keras.io example's: image, prediction over
            the image, prediction.
        contours: See `blend`.
        background: See `blend`.
        max_side: See `lay_out`.
    """

    def over(ids: np.ndarray) -> np.ndarray:
        return blend(image, ids, colors, alpha, contours=contours, background=background)

    panels = [("image", image), ("ground truth", over(labels)), ("prediction", over(predicted))]
    present = present_classes(labels, predicted, num_classes=len(class_names))
    if style == "source":
        panels = [("image", image), ("overlay", over(predicted)), ("prediction", colorize(predicted, colors))]
        present = present_classes(predicted, num_classes=len(class_names))
    legend = [(class_names[index], tuple(map(int, colors[index]))) for index in present]
    if style == "errors":
        panels.append(("errors", error_map(image, labels, predicted, class_names)))
        legend += error_legend(class_names)
    return lay_out(panels, legend, caption, max_side)


def draw_prediction(
    image: np.ndarray, labels: np.ndarray, class_names: Sequence[str], colors: np.ndarray, alpha: float, caption: str
) -> Image.Image:
    """Draw image, prediction over the image, and prediction side by side, for an image without ground truth.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 predicted class ids.
        class_names: K names.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the colors, 0-1.
        caption: Text line above the panels.
    """
    return draw_panels(image, labels, labels, class_names, colors, alpha, caption, style="source")


def lay_out(
    panels: Sequence[tuple[str, np.ndarray]],
    legend: Sequence[tuple[str, tuple[int, ...]]],
    caption: str,
    max_side: int = MAX_SIDE,
) -> Image.Image:
    """Put images side by side, with titles and a legend.

    Small images are enlarged by a whole factor, so that pixels stay square; large ones are reduced to `max_side`. Text
    grows with the panels.

    Args:
        panels: Title and (H, W, 3) uint8 RGB of each panel, all of one size.
        legend: Name and RGB color of each entry.
        caption: Text line above the panels.
        max_side: Longer side of a panel, in pixels.
    """
    images = [_shown_at(panel, max_side) for _, panel in panels]
    height, width = images[0].shape[:2]
    text_size = max(15, round(max(height, width) / 45))
    font = ImageFont.load_default(text_size)
    gap, line, swatch = -(-text_size // 2), round(1.6 * text_size), text_size
    full_width = len(images) * (width + gap) + gap
    cells = _legend_cells([name for name, _ in legend], font, full_width, gap, swatch)
    top = gap + 2 * line
    legend_top = top + height + gap
    num_lines = cells[-1][1] + 1 if cells else 0
    canvas = Image.new("RGB", (full_width, legend_top + num_lines * line + gap), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((gap, gap // 2), caption, _INK, font)
    for position, ((title, _), image) in enumerate(zip(panels, images, strict=True)):
        left = gap + position * (width + gap)
        draw.text((left, gap // 2 + line), title, _INK, font)
        canvas.paste(Image.fromarray(image), (left, top))
    for (name, color), (left, row) in zip(legend, cells, strict=True):
        y = legend_top + row * line
        draw.rectangle((left, y + gap // 2, left + swatch, y + gap // 2 + swatch), color, _INK)
        draw.text((left + swatch + gap, y + gap // 4), name, _INK, font)
    return canvas


def present_classes(*labels: np.ndarray, num_classes: int) -> list[int]:
    """Return the class ids that occur in any of the label maps, sorted."""
    counts = sum(np.bincount(each.ravel(), minlength=256) for each in labels)
    return np.flatnonzero(np.asarray(counts)[:num_classes]).tolist()


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
    write_png(path, image, compress_level=3)


def _shown_at(image: np.ndarray, max_side: int) -> np.ndarray:
    """Enlarge by a whole factor, or reduce, to a readable size."""
    longer = max(image.shape[:2])
    if longer > max_side:
        scale = max_side / longer
        size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    factor = max(1, round(_MIN_SIDE / longer))
    return np.repeat(np.repeat(image, factor, 0), factor, 1)


def _legend_cells(
    names: Sequence[str],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
    gap: int,
    swatch: int,
) -> list[tuple[int, int]]:
    """Lay out legend entries from left to right; return the left edge and the line number of each."""
    cells, left, line = [], gap, 0
    for name in names:
        entry = swatch + gap + int(font.getlength(name)) + 2 * gap
        if left > gap and left + entry > width:
            left, line = gap, line + 1
        cells.append((left, line))
        left += entry
    return cells
