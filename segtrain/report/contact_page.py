"""Write a contact sheet as a self-contained HTML page: inline images, no scripts, no requests."""

import base64
import html
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segtrain.terminal import printable
from segtrain.visual.contact_sheet import Row, fractions, percent

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #202020; background: #fff; margin: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p { margin: .2rem 0; max-width: 60rem; } code { background: #f2f2f2; padding: .1rem .3rem; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .1rem .7rem; text-align: right; }
th { border-bottom: 1px solid #999; font-weight: 600; } td:nth-child(2), th:nth-child(2) { text-align: left; }
.views { display: flex; flex-wrap: wrap; gap: .7rem; } figure { margin: 0; } figcaption { color: #555; }
img { display: block; margin-bottom: .25rem; }
.swatch { display: inline-block; width: 1rem; height: 1rem; border: 1px solid #202020; vertical-align: -.15rem; }
.ignored { background: repeating-linear-gradient(135deg, #fff 0 4px, #202020 4px 8px); }
.legend span { white-space: nowrap; margin-right: 1rem; }
.absent { color: #999; }
"""


def write_page(
    rows: Sequence[Row], title: str, notes: Sequence[str], class_names: Sequence[str], colors: np.ndarray
) -> str:
    """Format the page.

    Args:
        rows: One row per sample.
        title: Heading of the page.
        notes: Lines of text below the heading.
        class_names: K names.
        colors: (K, 3) uint8 RGB.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *(f"<p>{escape(note)}</p>" for note in notes),
            *_class_table(rows, class_names, colors),
            *(line for row in rows for line in _row(row, class_names, colors)),
            "</body></html>",
        ]
    )


def _class_table(rows: Sequence[Row], class_names: Sequence[str], colors: np.ndarray) -> Iterator[str]:
    before = sum((row.views[0].counts for row in rows), np.zeros(256, np.int64))
    after = sum((view.counts for row in rows for view in row.views[1:]), np.zeros(256, np.int64))
    seen_in = sum((row.views[0].counts > 0 for row in rows), np.zeros(256, np.int64))
    headings = ("id", "class", "images", "of their pixels", "after augmentation")
    yield f"<table><tr>{''.join(f'<th>{heading}</th>' for heading in headings)}</tr>"
    (fraction, ignored), (fraction_after, ignored_after) = (
        fractions(each, len(class_names)) for each in (before, after)
    )
    for index, name in enumerate(class_names):
        absent = "" if seen_in[index] or after[index] else ' class="absent"'
        yield (
            f"<tr{absent}><td>{index}</td><td>{_swatch(index, colors)} {escape(name)}</td><td>{seen_in[index]}</td>"
            f"<td>{percent(fraction[index])}</td><td>{percent(fraction_after[index])}</td></tr>"
        )
    ignored_in = sum(bool(row.views[0].counts[len(class_names) :].any()) for row in rows)
    yield (
        f"<tr><td></td><td>{_swatch(len(class_names), colors)} ignored pixels</td><td>{ignored_in}</td>"
        f"<td>{percent(ignored)}</td><td>{percent(ignored_after)}</td></tr></table>"
    )


def _row(row: Row, class_names: Sequence[str], colors: np.ndarray) -> Iterator[str]:
    yield f'<section><h2>{escape(row.name)}</h2><div class="views">'
    for view in row.views:
        yield f"<figure><figcaption>{escape(view.title)}</figcaption>"
        yield f"{_img(view.image, view.title)}{_img(view.overlay, f'{view.title}, labels')}</figure>"
    fraction, _ = fractions(row.views[0].counts, len(class_names))
    present = np.sum([view.counts for view in row.views], 0)
    yield '</div><p class="legend">'
    for index in range(len(class_names)):
        if present[index]:
            yield f"<span>{_swatch(index, colors)} {escape(class_names[index])} {percent(fraction[index])}</span>"
    yield "</p></section>"


def escape(text: str) -> str:
    """Escape a text for HTML, including control characters, which could reverse or hide the text around them."""
    return html.escape(printable(text))


def _swatch(index: int, colors: np.ndarray) -> str:
    if index >= len(colors):
        return '<i class="swatch ignored"></i>'
    red, green, blue = (int(channel) for channel in colors[index])
    return f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i>'


def _img(pixels: np.ndarray, meaning: str) -> str:
    # No chroma subsampling: colors distinguish classes.
    options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, written = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    height, width = pixels.shape[:2]
    return (
        f'<img width="{width}" height="{height}" alt="{escape(meaning)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(written.tobytes()).decode()}">'
    )
