"""Findings about single files: what cannot be read, does not fit together, or shows nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from segtrain.data.audit.finding import Case, Evidence, Finding, images, together
from segtrain.data.audit.record import Record
from segtrain.data.images.image_range import FULL, PART, judge
from segtrain.data.listing.kinds import Unread
from segtrain.data.listing.spelling import folded
from segtrain.data.listing.splits import UnlabeledError
from segtrain.errors import argument

_READERS = {  # kind of problem: summary and fix
    "image-unreadable": ("images that cannot be read", "replace the files, or remove their names from the split"),
    "image-orientation": (
        "images rotated by their EXIF tag, so that programs disagree on the pixels under the labels",
        f"{argument('exif')}=apply if the labels fit the turned images, {argument('exif')}=ignore if they fit the "
        "stored ones",
    ),
    "labels-unreadable": (
        "label files that cannot be read as class ids",
        "export the labels again as PNGs of class ids, or remove the names from the split",
    ),
    "labels-alpha": ("label files with transparency", f"{argument('alpha')}=drop if the ids are right without it"),
    "sizes-differ": (
        "label files of another size than their images",
        "export one of the two again at the other's size; labels by nearest neighbor",
    ),
    "image-is-labels": ("images that are their own label files", "set the folder of the labels"),
    "sample-unreadable": ("samples that cannot be read", "replace the files, or remove their names from the split"),
}


def unlisted_splits(evidence: Evidence) -> Iterator[Finding]:
    """A split whose samples cannot be listed: the layout, a list or a pair is wrong, or it has no labels."""
    for split, error in evidence.unlisted.items():
        seen, _, fix = error.message.partition(". Fix: ")
        if isinstance(error, UnlabeledError):
            yield Finding("split-unlabeled", "note", seen, fix, split)
        else:
            yield Finding("split-unlisted", "error", seen, fix or "fix the dataset's folders and lists", split)


def unfit_samples(evidence: Evidence) -> Iterator[Finding]:
    """Files that would stop a training run, by problem; `value_findings` reports unknown values."""
    for split, records in evidence.records.items():
        for kind, (summary, fix) in _READERS.items():
            if cases := _with_problem(records, kind):
                yield Finding(kind, "error", summary, _readers_fix(cases) or fix, split, cases)


def repeated_names(evidence: Evidence) -> Iterator[Finding]:
    """Samples of one name, whose predictions would overwrite each other."""
    for split, records in evidence.records.items():
        groups: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            groups[record.name].append(record)
        if cases := tuple(Case(each.image, name) for name, group in groups.items() if group[1:] for each in group):
            yield Finding("names-repeat", "error", "samples of the same name", "rename the files", split, cases)


def names_but_for_case(evidence: Evidence) -> Iterator[Finding]:
    """Names that are one name on Windows and macOS, where the dataset cannot be unpacked."""
    groups: dict[str, set[str]] = defaultdict(set)
    for record in evidence.every_record:
        groups[record.image.lower()].add(record.image)
    if cases := tuple(together(sorted(group)) for group in groups.values() if len(group) > 1):
        yield Finding(
            "names-differ-by-case",
            "warning",
            "images whose names differ only in upper and lower case",
            "rename one of each; they may be one image, copied twice",
            "",
            cases,
        )


def labels_without_image(evidence: Evidence) -> Iterator[Finding]:
    """Label files that lost their image: it may be missing, or named otherwise."""
    if paths := evidence.strays.labels:
        yield Finding(
            "labels-without-image",
            "warning",
            "label files without an image of their name",
            "restore or rename the images, or remove the label files",
            "",
            tuple(map(Case, paths)),
        )


def unused_images(evidence: Evidence) -> Iterator[Finding]:
    """Images in the dataset's folders that no split names."""
    if paths := evidence.strays.unused:
        yield Finding(
            "images-unused",
            "note",
            f"{images(len(paths))} in the dataset's folders on no list",
            "put them on a list if they have labels",
            "",
            tuple(map(Case, paths)),
        )


def unread_files(evidence: Evidence) -> Iterator[Finding]:
    """Files among the images of formats that are not read."""
    if paths := tuple(map(Path, evidence.strays.unread)):
        yield Finding(
            "files-unread",
            "warning",
            f"files among the images that are not used: {Unread('images', paths).seen}",
            Unread("images", paths).fix,
            "",
            tuple(Case(str(path)) for path in paths),
        )


def respelled_names(evidence: Evidence) -> Iterator[Finding]:
    """Pairs whose names differ in case or Unicode normalization."""
    for split, records in evidence.records.items():
        pairs = [(each, Path(each.image).stem, Path(each.labels).stem) for each in records]
        different = [each for each, image, labels in pairs if image != labels and folded(image) == folded(labels)]
        if different:
            yield Finding(
                "names-respelled",
                "warning",
                "images paired with label files whose names differ in upper and lower case or Unicode normalization",
                "look at these pairs; rename one of each to the other's spelling",
                split,
                tuple(together((each.image, each.labels)) for each in different),
            )


def damaged_images(evidence: Evidence) -> Iterator[Finding]:
    """JPEGs with damaged bytes: after them the colors are wrong to the end of the image."""
    for split, records in evidence.records.items():
        if cases := tuple(Case(each.image, each.damage) for each in records if each.damage):
            fix = "copy the files again; training takes them as they are"
            yield Finding("image-damaged", "warning", "images with damaged bytes", fix, split, cases)


def dark_images(evidence: Evidence) -> Iterator[Finding]:
    """Images of 10 to 14 bits in 16-bit files, of which the network sees the darkest levels only."""
    deep = [(each.image, each.stored_range) for each in evidence.every_record if each.stored_range]
    if verdict := judge([stored for _, stored in deep]):
        cases = tuple(Case(path, f"values {low}..{high} of 0..{FULL}") for path, (low, high) in deep if high < PART)
        yield Finding("image-range", verdict.severity, verdict.text, verdict.fix, "", cases)


def plain_images(evidence: Evidence) -> Iterator[Finding]:
    """Images of a single gray value: broken exports and black frames."""
    for split, records in evidence.records.items():
        plain = [each for each in records if each.thumbnail and np.ptp(np.frombuffer(each.thumbnail, np.uint8)) == 0]
        if plain:
            cases = tuple(Case(each.image, f"gray level {each.thumbnail[0]} all over") for each in plain)
            yield Finding(
                "image-plain",
                "warning",
                "images of a single brightness",
                "look at them; replace them or remove them from the split",
                split,
                cases,
            )


def _readers_fix(cases: Sequence[Case]) -> str:
    """The reader's own fix: that of most files where they differ, as it names what this table cannot know."""
    fixes = Counter(fix for case in cases if (fix := case.detail.partition(". Fix: ")[2]))
    return fixes.most_common(1)[0][0] if fixes else ""


def _with_problem(records: Sequence[Record], kind: str) -> tuple[Case, ...]:
    found = [(each, problem) for each in records for problem in each.problems if problem.kind == kind]
    return tuple(Case(each.image if kind.startswith("image") else each.labels, problem.text) for each, problem in found)
