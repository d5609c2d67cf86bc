"""Images with their labels painted over them, before and after augmentation, on one sheet."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segtrain.visual.overlay import blend

# H height, W width, K classes. Pictures are shown so large, in pixels of their longest side.
SIDE = 360
_GAP, _LINE, _SWATCH, _FONT_SIZE, _TITLE_SIZE = 10, 22, 14, 14, 20
_INK, _FAINT, _PAPER = (32, 32, 32), (110, 110, 110), (255, 255, 255)
_HATCH = (_PAPER, _INK)


class View(NamedTuple):
    """One image with its labels, at the size that it is shown at.

    Attributes:
        title: What it is.
        photo: (H, W, 3) uint8 RGB.
        painted: The same with the classes' colors over it, their borders drawn and void hatched.
        counts: (256,) pixels of each id, at the image's own size.
    """

    title: str
    photo: np.ndarray
    painted: np.ndarray
    counts: np.ndarray


class Row(NamedTuple):
    """One sample: the image as it is, then each draw of the augmentation."""

    name: str
    views: Sequence[View]


def view(title: str, image: np.ndarray, labels: np.ndarray, colors: np.ndarray, alpha: float) -> View:
    """Make an image and its labels ready to be looked at.

    Args:
        title: What it is; the share of void is added to it.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids; those beyond K are void.
        colors: (K, 3) uint8 RGB.
        alpha: Weight of the colors, 0-1.
    """
    height, width = (max(1, round(side * SIDE / max(labels.shape))) for side in labels.shape)
    is_smaller = max(labels.shape) > SIDE
    photo = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_NEAREST_EXACT)
    shown = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    painted = blend(photo, shown, colors, alpha)
    void = shown >= len(colors)
    painted[void] = (painted[void] // 2 + hatch(height, width)[void] // 2).astype(np.uint8)
    painted[_borders(shown)] = _INK
    counts = np.bincount(labels.ravel(), minlength=256)
    _, of_void = shares(counts, len(colors))
    return View(f"{title}, {percent(of_void)} void" if of_void else title, photo, painted, counts)


def hatch(height: int, width: int) -> np.ndarray:
    """Draw what void looks like: slanted stripes, as no class is painted. Returns (H, W, 3) uint8."""
    rows, columns = np.indices((height, width))
    return np.array(_HATCH, np.uint8)[(rows + columns) // 5 % 2]


def shares(counts: np.ndarray, num_classes: int) -> tuple[np.ndarray, float]:
    """Turn counts of ids into the share of each class and that of void, of all pixels."""
    total = max(1, int(counts.sum()))
    return counts[:num_classes] / total, float(counts[num_classes:].sum() / total)


def percent(share: float) -> str:
    """Write a share so that what is there never reads as nothing."""
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else "< 0.1 %"


def draw_sheet(rows: Sequence[Row], title: str, class_names: Sequence[str], colors: np.ndarray) -> Image.Image:
    """Draw all rows below each other: images, below them their labels, below these a legend with shares.

    Args:
        rows: At least one; all with as many views.
        title: Above all.
        class_names: K names.
        colors: (K, 3) uint8 RGB.
    """
    width = max(sum(view.photo.shape[1] + _GAP for view in row.views) for row in rows) + _GAP
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
    height = max(view.photo.shape[0] for view in row.views)
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
    for place, each in enumerate(row.views):
        draw.text(
            (left, 0), f"{row.name}   {each.title}" if place == 0 else each.title, _INK if place == 0 else _FAINT, font
        )
        strip.paste(Image.fromarray(each.photo), (left, _LINE))
        strip.paste(Image.fromarray(each.painted), (left, _LINE + height + 4))
        left += each.photo.shape[1] + _GAP
    for (index, text), (left, line) in zip(entries, cells, strict=True):
        y = legend_top + line * _LINE + 3
        if index < len(colors):
            draw.rectangle((left, y, left + _SWATCH, y + _SWATCH), tuple(int(c) for c in colors[index]), _INK)
        else:
            strip.paste(Image.fromarray(hatch(_SWATCH + 1, _SWATCH + 1)), (left, y))
        draw.text((left + _SWATCH + 6, y - 2), text, _INK, font)
    return strip


def _legend(present: np.ndarray, before: np.ndarray, class_names: Sequence[str]) -> list[tuple[int, str]]:
    """By id of what any view of a row shows, void last, its name and its share of the image itself."""
    of_class, of_void = shares(before, len(class_names))
    entries = [
        (index, f"{name} {percent(of_class[index])}") for index, name in enumerate(class_names) if present[index]
    ]
    return [*entries, (len(class_names), f"void {percent(of_void)}")] if present[len(class_names) :].any() else entries


def _borders(labels: np.ndarray) -> np.ndarray:
    """Mark the pixels whose right or lower neighbor has another id."""
    found = np.zeros(labels.shape, bool)
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    found[:-1] |= labels[:-1] != labels[1:]
    return found
