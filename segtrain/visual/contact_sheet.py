"""Contact sheet of images with their labels overlaid, before and after augmentation."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segtrain.visual.overlay import blend

# H height, W width, K classes.
# Longest side of a displayed image, in pixels.
SIDE = 360
_GAP, _LINE, _SWATCH, _FONT_SIZE, _TITLE_SIZE = 10, 22, 14, 14, 20
_INK, _FAINT, _PAPER = (32, 32, 32), (110, 110, 110), (255, 255, 255)
_HATCH = (_PAPER, _INK)


class View(NamedTuple):
    """One image and its labels, resized for display.

    Attributes:
        title: Caption.
        image: (H, W, 3) uint8 RGB.
        overlay: (H, W, 3) uint8 RGB, the image with class colors, class borders, and hatched ignored pixels.
        counts: (256,) number of pixels by label id, at the original size.
    """

    title: str
    image: np.ndarray
    overlay: np.ndarray
    counts: np.ndarray


class Row(NamedTuple):
    """One sample: the original image, then each augmented version."""

    name: str
    views: Sequence[View]


def view(title: str, image: np.ndarray, labels: np.ndarray, colors: np.ndarray, alpha: float) -> View:
    """Resize an image and its labels for display and overlay the labels.

    Args:
        title: Caption; the fraction of ignored pixels is appended.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids; ids from K up are ignored pixels.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the colors, 0-1.
    """
    height, width = (max(1, round(side * SIDE / max(labels.shape))) for side in labels.shape)
    is_smaller = max(labels.shape) > SIDE
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_NEAREST_EXACT)
    shown = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    overlay = blend(small, shown, colors, alpha)
    ignored = shown >= len(colors)
    overlay[ignored] = (overlay[ignored] // 2 + hatch(height, width)[ignored] // 2).astype(np.uint8)
    overlay[_borders(shown)] = _INK
    counts = np.bincount(labels.ravel(), minlength=256)
    _, ignored_fraction = fractions(counts, len(colors))
    caption = f"{title}, {percent(ignored_fraction)} ignored" if ignored_fraction else title
    return View(caption, small, overlay, counts)


def hatch(height: int, width: int) -> np.ndarray:
    """Draw the pattern of ignored pixels: diagonal stripes. Returns (H, W, 3) uint8."""
    rows, columns = np.indices((height, width))
    return np.array(_HATCH, np.uint8)[(rows + columns) // 5 % 2]


def fractions(counts: np.ndarray, num_classes: int) -> tuple[np.ndarray, float]:
    """Return the fraction of pixels of each class, and that of ignored pixels, from counts by label id."""
    total = max(1, int(counts.sum()))
    return counts[:num_classes] / total, float(counts[num_classes:].sum() / total)


def percent(fraction: float) -> str:
    """Format a fraction as a percentage; small nonzero values are "< 0.1 %", never "0.0 %"."""
    return f"{100 * fraction:.1f} %" if fraction >= 0.001 or fraction == 0 else "< 0.1 %"


def draw_sheet(rows: Sequence[Row], title: str, class_names: Sequence[str], colors: np.ndarray) -> Image.Image:
    """Draw one block per row: images, overlays below them, then a legend with the fraction of each class.

    Args:
        rows: At least one row; all rows have the same number of views.
        title: Heading of the sheet.
        class_names: K names.
        colors: (K, 3) uint8 RGB.
    """
    width = max(sum(view.image.shape[1] + _GAP for view in row.views) for row in rows) + _GAP
    font = ImageFont.load_default(_FONT_SIZE)
    strips = [_draw_row(row, width, class_names, colors, font) for row in rows]
    top = _GAP + _LINE + _GAP
    sheet = Image.new("RGB", (width, top + sum(strip.height for strip in strips)), _PAPER)
    ImageDraw.Draw(sheet).text((_GAP, _GAP), title, _INK, ImageFont.load_default(_TITLE_SIZE))
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def _draw_row(
    row: Row,
    width: int,
    class_names: Sequence[str],
    colors: np.ndarray,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> Image.Image:
    height = max(view.image.shape[0] for view in row.views)
    entries = _legend(np.sum([view.counts for view in row.views], 0), row.views[0].counts, class_names)
    cells, left, line = [], _GAP, 0
    for _, text in entries:
        taken = _SWATCH + 6 + int(font.getlength(text)) + 2 * _GAP
        if left > _GAP and left + taken > width:
            left, line = _GAP, line + 1
        cells.append((left, line))
        left += taken
    legend_top = _LINE + 2 * (height + 4) + _GAP // 2
    strip = Image.new("RGB", (width, legend_top + (line + 1) * _LINE + 2 * _GAP), _PAPER)
    draw = ImageDraw.Draw(strip)
    left = _GAP
    for position, each in enumerate(row.views):
        caption, color = (f"{row.name}   {each.title}", _INK) if position == 0 else (each.title, _FAINT)
        draw.text((left, 0), caption, color, font)
        strip.paste(Image.fromarray(each.image), (left, _LINE))
        strip.paste(Image.fromarray(each.overlay), (left, _LINE + height + 4))
        left += each.image.shape[1] + _GAP
    for (index, text), (left, line) in zip(entries, cells, strict=True):
        y = legend_top + line * _LINE + 3
        if index < len(colors):
            draw.rectangle((left, y, left + _SWATCH, y + _SWATCH), tuple(int(c) for c in colors[index]), _INK)
        else:
            strip.paste(Image.fromarray(hatch(_SWATCH + 1, _SWATCH + 1)), (left, y))
        draw.text((left + _SWATCH + 6, y - 2), text, _INK, font)
    return strip


def _legend(present: np.ndarray, before: np.ndarray, class_names: Sequence[str]) -> list[tuple[int, str]]:
    """Return (id, text with fraction) of each class present in any view, ignored pixels last."""
    class_fractions, ignored_fraction = fractions(before, len(class_names))
    entries = [
        (index, f"{name} {percent(class_fractions[index])}") for index, name in enumerate(class_names) if present[index]
    ]
    return (
        [*entries, (len(class_names), f"ignored {percent(ignored_fraction)}")]
        if present[len(class_names) :].any()
        else entries
    )


def _borders(labels: np.ndarray) -> np.ndarray:
    """Mark the pixels whose right or lower neighbor has a different id."""
    found = np.zeros(labels.shape, bool)
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    found[:-1] |= labels[:-1] != labels[1:]
    return found
