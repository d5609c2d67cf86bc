"""Findings about label files: too much of one class, too many ignored pixels, or interpolated ids."""

from collections.abc import Iterator, Mapping

import numpy as np

from segtrain.data.audit.finding import Case, Evidence, Finding, fraction
from segtrain.data.audit.record import INTERPOLATED
from segtrain.errors import argument

_INVERTED = 0.75  # fraction of foreground over a split, above which black and white are likely swapped
_SCARCE = 0.002  # fraction of foreground, below which always predicting background scores well
_MUCH_IGNORED, _MOSTLY_IGNORED = 0.2, 0.5
_MANY_FILES, _ODD_ONES = 50, 0.02  # few enough among many: a dataset of things that may be absent has more


def inverted_masks(evidence: Evidence) -> Iterator[Finding]:
    """Masks of two classes with far more foreground than background: all of them, or a few among others."""
    if evidence.num_classes != 2:
        return
    for split, records in evidence.records.items():
        fractions = {each.labels: _foreground(each.classes) for each in records if each.classes}
        if not fractions:
            continue
        counts = evidence.counts[split]
        overall = fraction(counts.pixels[1], counts.pixels.sum())
        if overall > _INVERTED:
            cases = tuple(Case(labels, f"{part:.0%} foreground") for labels, part in fractions.items())
            yield Finding(
                "masks-inverted",
                "warning",
                f"{overall:.0%} of the pixels are foreground: inverted masks?",
                f"look at a mask; {argument('label_values')}={{0: 1, 255: 0}} turns them round",
                split,
                cases,
            )
        elif np.median(list(fractions.values())) < 0.4:
            odd = tuple(Case(labels, f"{part:.0%} foreground") for labels, part in fractions.items() if part > 0.9)
            if odd:
                yield Finding(
                    "masks-inverted-some",
                    "warning",
                    "masks nearly all foreground, among masks mostly background",
                    "look at them; they may be inverted",
                    split,
                    odd,
                )


def scarce_foreground(evidence: Evidence) -> Iterator[Finding]:
    """So little that is not class 0 that predicting it everywhere looks well."""
    for split, counts in evidence.counts.items():
        part = fraction(counts.pixels[1:].sum(), counts.pixels.sum())
        if 0 < part < _SCARCE:
            yield Finding(
                "foreground-scarce",
                "warning",
                f"{part:.3%} of the pixels are not {evidence.name(0)}",
                "the loss's class_weights as suggested below, and smaller crops around what there is",
                split,
            )


def ignored_files(evidence: Evidence) -> Iterator[Finding]:
    """Label files without a class."""
    for split, records in evidence.records.items():
        ignored = [each for each in records if each.classes and set(each.classes) == {evidence.ignore_class}]
        if ignored and evidence.counts[split].pixels.any():
            yield Finding(
                "labels-all-void",
                "warning",
                "label files of ignored pixels only: they do not train or score anything",
                "label them, or remove them from the split",
                split,
                tuple(Case(each.labels) for each in ignored),
            )


def empty_label_files(evidence: Evidence) -> Iterator[Finding]:
    """Label files of class 0 alone where nearly all others show more: images that nobody has labeled."""
    for split, records in evidence.records.items():
        plain = [each for each in records if 0 in each.classes and set(each.classes) <= {0, evidence.ignore_class}]
        files = evidence.counts[split].files
        if plain and files >= _MANY_FILES and len(plain) <= _ODD_ONES * files:
            cases = tuple(Case(each.labels) for each in plain)
            yield Finding(
                "labels-empty",
                "warning",
                f"{len(plain)} of {files} label files hold {evidence.name(0)} alone",
                "check the images: label what they show, or remove them from the split",
                split,
                cases,
            )


def one_class_files(evidence: Evidence) -> Iterator[Finding]:
    """Label files with a single class all over."""
    for split, records in evidence.records.items():
        plain = [(each, set(each.classes) - {evidence.ignore_class}) for each in records]
        cases = tuple(Case(each.labels, evidence.name(*found)) for each, found in plain if len(found) == 1)
        if cases and len(cases) < evidence.counts[split].files:
            yield Finding(
                *(
                    "labels-one-class",
                    "note",
                    f"{len(cases)} of {evidence.counts[split].files} label files hold one class",
                ),
                "check some of them; right if the images show nothing else",
                split,
                cases,
            )


def many_ignored_pixels(evidence: Evidence) -> Iterator[Finding]:
    """A split in which a large part of the pixels is ignored."""
    for split, counts in evidence.counts.items():
        part = fraction(counts.ignored, counts.total)
        if part > _MUCH_IGNORED and counts.pixels.any():
            yield Finding(
                "void-share",
                "warning" if part > _MOSTLY_IGNORED else "note",
                f"{part:.0%} of the pixels are ignored",
                f"check whether {evidence.ignore_class} is one of your classes",
                split,
            )


def interpolated_labels(evidence: Evidence) -> Iterator[Finding]:
    """Label files along whose borders other classes lie, one pixel wide: resized as if ids were colors."""
    for split, records in evidence.records.items():
        odd = [each for each in records if each.classes and each.interpolated > INTERPOLATED]
        if odd:
            cases = tuple(Case(each.labels, f"along {each.interpolated:.0%} of the borders") for each in odd)
            yield Finding(
                "labels-interpolated",
                "warning",
                "label files with ids in between along their borders",
                "resize the labels again from their source, by nearest neighbor",
                split,
                cases,
            )


def _foreground(classes: Mapping[int, int]) -> float:
    return fraction(classes.get(1, 0), classes.get(0, 0) + classes.get(1, 0))
