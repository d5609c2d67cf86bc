"""Charts of a report as inline SVG: training curves, bars with intervals, a confusion matrix. No dependencies."""

import math
from collections.abc import Mapping, Sequence

from segtrain.report.contact_page import escape

WIDTH, HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 16, 34
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

Points = Sequence[tuple[float, float]]


def line_chart(title: str, lines: Mapping[str, Points], marked: float | None = None) -> str:
    """Draw lines over epochs.

    Args:
        title: Heading.
        lines: Points (epoch, value) by label.
        marked: Epoch to mark, such as the best one.
    """
    points = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    if not points:
        return ""
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    if first == last:
        first, last = first - 1, last + 1
    low, high = min(0.0, *(y for _, y in points)), max(y for _, y in points)
    high = 1.0 if 0.3 < high <= 1 else high * 1.05 or 1.0

    def x_of(value: float) -> float:
        return _LEFT + (value - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def y_of(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in range(5):
        value = low + (high - low) * tick / 4
        y = y_of(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>')
    for epoch in sorted({math.ceil(first), round((first + last) / 2), math.floor(last)}):
        parts.append(f'<text x="{x_of(epoch):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{epoch}</text>')
    if marked is not None and first <= marked <= last:
        x = x_of(marked)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TOP - 2}" text-anchor="middle">best</text>')
    for index, (label, line) in enumerate(lines.items()):
        color = _COLORS[index % len(_COLORS)]
        finite = [(x, y) for x, y in line if math.isfinite(y)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in finite)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{path}"/>')
        for x, y in finite if len(finite) <= 60 else finite[-1:]:
            parts.append(
                f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{color}"><title>{escape(label)}, epoch '
                f"{x:g}: {y:.4f}</title></circle>"
            )
    parts.append("</svg>")
    keys = "".join(
        f'<span class="key"><i style="background:{_COLORS[index % len(_COLORS)]}"></i>{escape(label)}</span>'
        for index, label in enumerate(lines)
    )
    return f'<figure class="plot"><figcaption>{escape(title)} {keys}</figcaption>{"".join(parts)}</figure>'


def confusion_table(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Draw a confusion matrix as a heat map: fractions of each true class, rows the true classes.

    Args:
        matrix: (K, K) pixels.
        names: K names.
    """
    size = len(names)
    cell = max(4, min(26, 900 // size))
    label = 11 if size <= 60 else 6
    left = min(200, 8 + max(len(name) for name in names) * label * 0.6) if size <= 90 else 8
    width = left + size * cell + 4
    parts = [
        f'<svg class="matrix" viewBox="0 0 {width:.0f} {left + size * cell:.0f}" style="max-width:{width:.0f}px" '
        f'role="img" aria-label="Confusion matrix">'
    ]
    for row, counts in enumerate(matrix):
        total = sum(counts)
        y = left + row * cell
        if size <= 90:
            step, name = f'font-size="{label}"', escape(names[row])
            end = f'x="{left - 4:.0f}" y="{y + cell * 0.7:.1f}" text-anchor="end"'
            parts.append(f"<text {end} {step}>{name}</text>")
            x = left + (row + 0.7) * cell
            parts.append(f'<text transform="translate({x:.1f},{left - 4:.0f}) rotate(-90)" {step}>{name}</text>')
        for column, count in enumerate(counts):
            if not count:
                continue
            part = count / total
            color = "#0072b2" if row == column else "#d55e00"
            parts.append(
                f'<rect x="{left + column * cell:.0f}" y="{y:.0f}" width="{cell}" height="{cell}" fill="{color}" '
                f'fill-opacity="{max(0.04, part):.2f}"><title>{escape(names[row])} as {escape(names[column])}: '
                f"{part:.1%}, {count} pixels</title></rect>"
            )
    parts.append("</svg>")
    return "".join(parts)


def most_confused(matrix: Sequence[Sequence[int]], names: Sequence[str], limit: int = 12) -> list[dict[str, object]]:
    """Return the pairs of classes with the most wrong pixels: true class, predicted class, pixels, fraction."""
    found = [
        (count, row, column)
        for row, counts in enumerate(matrix)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    found.sort(reverse=True)
    return [
        {"true": names[row], "predicted": names[column], "pixels": count, "fraction": count / sum(matrix[row])}
        for count, row, column in found[:limit]
    ]
