"""Findings about stored values that are not a class, with a cause derived from all values of a split."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from segtrain.data.audit.finding import Case, Evidence, Finding
from segtrain.data.audit.record import INTERPOLATED, Record
from segtrain.data.images.palette import describe_differences
from segtrain.errors import argument

_MOST_NAMED = 8  # colors
_MANY = 12  # unknown values, above which nobody has forgotten a class: something has computed them


class _Values(NamedTuple):
    """Values in the label files of a split that have unknown values.

    Attributes:
        seen: All stored values, sorted.
        unknown: The stored values that are not a class.
        zero_occurs: Whether any label file of the split holds 0.
        interpolated: Whether half of the files show what interpolation leaves along borders.
    """

    seen: tuple[int, ...]
    unknown: tuple[int, ...]
    zero_occurs: bool
    interpolated: bool


def unknown_values(evidence: Evidence) -> Iterator[Finding]:
    """Label files with values that are not a class, with the first explanation below that fits."""
    for split, records in evidence.records.items():
        unfit = [each for each in records if any(problem.kind == "values-unknown" for problem in each.problems)]
        if unfit:
            kind, summary, fix = _explained(evidence, _values(unfit, records))
            yield Finding(kind, "error", summary, fix, split, tuple(map(_case, unfit)))


def label_colors(evidence: Evidence) -> Iterator[Finding]:
    """Label files drawn in colors, with the colors to name."""
    for split, records in evidence.records.items():
        for kind in ("labels-in-colors", "colors-unknown"):
            unfit = [each for each in records if any(problem.kind == kind for problem in each.problems)]
            if not unfit:
                continue
            pixels: Counter[str] = Counter()
            for each in unfit:
                pixels.update(each.colors)
            most = [color for color, _ in pixels.most_common(_MOST_NAMED)]
            more = f" and {len(pixels) - len(most)} more" if len(pixels) > len(most) else ""
            table = ", ".join(f"NAME: {_rgb(color)}" for color in most)
            if kind == "labels-in-colors":
                summary = f"label files in colors ({', '.join(most)}{more}), expected class ids"
                table += ", ..." if more else ""
                fix = f"{argument('label_values')}=colors with {argument('classes')}={{{table}}}"
            else:
                summary = f"colors that are not a class's: {', '.join(most)}{more}"
                ignored = f"{argument('ignore_colors')}=[{_rgb(most[0])}]"
                fix = f"draw them in a class's color, or {ignored} where they are to be ignored"
            cases = tuple(Case(each.labels, f"{len(each.colors)} colors") for each in unfit)
            yield Finding(kind, "error", summary, fix, split, cases)


def differing_palettes(evidence: Evidence) -> Iterator[Finding]:
    """Palette label files of several programs, with the same colors at different indices."""
    together: dict[str, list[Record]] = defaultdict(list)
    for each in evidence.every_record:
        if each.palette:
            # Values that differ from file to file are those of several datasets, by the beginning of the name.
            together["" if evidence.known_values else each.name.partition("/")[0]].append(each)
    for records in together.values():
        if text := describe_differences(each.palette for each in records):
            yield Finding(
                "palettes-differ",
                "warning",
                f"the palettes of the label files differ: {text}",
                "look at these files; where classes are mixed, write them with the indices of the others",
                "",
                tuple(_unusual(records)),
            )


def _unusual(records: Sequence[Record]) -> Iterator[Case]:
    """The files of which an index has another color than in most of the files that use it."""
    colors: dict[int, Counter[str]] = defaultdict(Counter)
    for each in records:
        for index, color in each.palette.items():
            colors[index][color] += 1
    usual = {index: counts.most_common(1)[0][0] for index, counts in colors.items()}
    for each in records:
        if odd := [f"{index} is {color}" for index, color in each.palette.items() if usual[index] != color]:
            yield Case(each.labels, ", ".join(odd[:_MOST_NAMED]))


def _rgb(color: str) -> list[int]:
    return list(bytes.fromhex(color[1:]))


def _explained(evidence: Evidence, values: _Values) -> tuple[str, str, str]:
    for explain in _EXPLANATIONS if evidence.known_values else ():
        if found := explain(evidence, values):
            return found
    listed = ", ".join(map(str, values.unknown[:8])) + (", ..." if values.unknown[8:] else "")
    expected = f"; expected {_ranges(evidence.known_values)}" if evidence.known_values else ""
    summary = f"label files with values that are not a class: {listed}{expected}"
    return "values-unknown", summary, f"correct the files, or add the classes to {argument('classes')}"


def _two_valued(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    if evidence.num_classes == 2 and set(values.seen) <= {0, 255} and values.unknown == (255,):
        summary = "masks of 0 and 255 where the ids 0 and 1 are expected"
        return "values-binary", summary, f"{argument('label_values')}={{0: 0, 255: 1}}"
    return None


def _default_ignored(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    if values.unknown == (255,):
        summary = (
            f"label files with 255, the usual ignored value, but {argument('ignore_class')}={evidence.ignore_class}"
        )
        return "values-void", summary, f"{argument('ignore_class')}=255"
    return None


def _from_one(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    top = evidence.num_classes
    if values.unknown == (top,) and not values.zero_occurs:
        summary = f"ids count from 1: {top} occurs and 0 never does, expected 0..{top - 1}"
        return "values-from-one", summary, f"{argument('label_values')}=from_one"
    return None


def _one_more(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    top = evidence.num_classes
    if values.unknown == (top,):
        summary = f"label files with {top}, one beyond the {top} classes 0..{top - 1}"
        fix = f"{argument('ignore_class')}={top} if it is to be ignored, else add it to {argument('classes')}"
        return "values-one-more", summary, fix
    return None


def _scaled(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    count = evidence.num_classes
    steps = [round(index * 255 / max(1, count - 1)) for index in range(count)]
    near = {value: index for index, step in enumerate(steps) for value in (step - 1, step, step + 1)}
    if count > 2 and len(values.seen) > 1 and all(value in near for value in values.seen) and max(values.seen) > count:
        table = ", ".join(f"{value}: {near[value]}" for value in values.seen)
        summary = f"ids scaled to 0..255 for viewing: {', '.join(map(str, values.seen))}"
        fix = f"{argument('label_values')}={{{table}}} once you have compared it with an image"
        return "values-scaled", summary, fix
    return None


def _gray_colors(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    if not len(evidence.colors):
        return None
    grays = np.asarray(evidence.colors, float) @ (0.299, 0.587, 0.114)
    known = {int(gray) for gray in grays} | {round(gray) for gray in grays}
    if len(values.unknown) > 1 and set(values.unknown) <= known:
        listed = ", ".join(map(str, values.unknown[:6]))
        summary = f"the classes' colors converted to gray ({listed}), not class ids: images for viewing"
        return "values-are-colors", summary, "set the folder of class ids (CIHP: Category_ids, not Categories)"
    return None


def _interpolated(evidence: Evidence, values: _Values) -> tuple[str, str, str] | None:
    between = evidence.num_classes == 2 and {0, 255} <= set(values.seen)
    if values.interpolated or between or len(values.unknown) >= _MANY:
        summary = (
            f"{len(values.unknown)} values that are not a class ({values.unknown[0]}..{values.unknown[-1]}): labels "
            f"that were resized or compressed as if they were images, or not class ids at all"
        )
        return "values-interpolated", summary, "export the labels again, resized by nearest neighbor and saved as PNG"
    return None


_EXPLANATIONS: tuple[Callable[[Evidence, _Values], tuple[str, str, str] | None], ...] = (
    *(_two_valued, _default_ignored, _from_one, _one_more, _scaled, _gray_colors, _interpolated),
)


def _values(unfit: Sequence[Record], records: Sequence[Record]) -> _Values:
    seen = sorted({value for each in unfit for value in each.stored})
    unknown = tuple(sorted({value for each in unfit for value in each.unknown}))
    zero = 0 in seen or any(0 in each.classes for each in records)
    interpolated = 2 * sum(each.interpolated > INTERPOLATED for each in unfit) >= len(unfit)
    return _Values(tuple(seen), unknown, zero, interpolated)


def _case(record: Record) -> Case:
    text = next(problem.text for problem in record.problems if problem.kind == "values-unknown")
    return Case(record.labels, text.partition(", expected ")[0])


def _ranges(values: Sequence[int]) -> str:
    runs = np.split(np.array(values), np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
