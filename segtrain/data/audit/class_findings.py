"""Findings about classes: which occur in which split, and likely causes of absent ones."""

from collections.abc import Iterator

import numpy as np

from segtrain.data.audit.finding import Case, Evidence, Finding
from segtrain.data.listing.splits import may_be_unlabeled
from segtrain.errors import argument

_FEW = 5  # training images of a class
_MIN_SIDED = 8  # label files with one of a pair and none with the other, below which it may be chance


def nothing_to_learn(evidence: Evidence) -> Iterator[Finding]:
    """A split of one class, or of none."""
    for split, counts in evidence.counts.items():
        occurring = np.flatnonzero(counts.pixels)
        if counts.files and counts.ignored and occurring.tolist() == [0] and evidence.num_classes == 2:
            yield Finding(
                "values-binary",
                "error",
                f"masks of 0 and {evidence.ignore_class}, which is ignored here, expected the ids 0 and 1",
                f"{argument('label_values')}={{0: 0, {evidence.ignore_class}: 1}}",
                split,
                tuple(Case(each.labels) for each in evidence.records[split] if evidence.ignore_class in each.classes),
            )
        elif counts.files and not len(occurring) and may_be_unlabeled(split):
            yield Finding(
                "labels-hidden",
                "note",
                f"all {counts.files} label files hold ignored pixels only, as where labels are not public",
                "score another split; this one can only be predicted",
                split,
            )
        elif counts.files and len(occurring) < min(2, evidence.num_classes):
            found = f"only {evidence.name(int(occurring[0]))}" if len(occurring) else "ignored pixels only"
            cases = tuple(Case(each.labels) for each in evidence.records[split] if each.classes)
            yield Finding(
                "one-class-split",
                "warning" if may_be_unlabeled(split) else "error",
                f"all {counts.files} label files hold {found}: nothing to learn",
                "check the label files; their values may mean something else",
                split,
                cases,
            )


def classes_not_trained(evidence: Evidence) -> Iterator[Finding]:
    """Classes that are scored and never trained."""
    if not evidence.is_counted("train"):
        return
    trained = evidence.counts["train"].images > 0
    for split, counts in evidence.counts.items():
        if len(missing := np.flatnonzero(~trained & (counts.images > 0))):
            ids = set(missing.tolist())
            cases = tuple(Case(each.labels) for each in evidence.records[split] if ids & each.classes.keys())
            yield Finding(
                "class-not-trained",
                "warning",
                f"no training image shows {evidence.listed(missing)}: IoU 0",
                "move images of it to train",
                split,
                cases,
            )


def classes_not_validated(evidence: Evidence) -> Iterator[Finding]:
    """Classes that are trained and never scored."""
    if not evidence.is_counted("train") or not evidence.is_counted("val"):
        return
    trained, scored = evidence.counts["train"].images > 0, evidence.counts["val"].images > 0
    if len(missing := np.flatnonzero(trained & ~scored)):
        yield Finding(
            "class-not-validated",
            "note",
            f"val does not show {evidence.listed(missing)}: left out of the mean IoU",
            "move images of it to val, to have it scored",
            "val",
        )


def absent_classes(evidence: Evidence) -> Iterator[Finding]:
    """Classes of the list that occur nowhere; if only the first or the last, the list may be off by one."""
    occurs = evidence.everywhere.images > 0
    missing = np.flatnonzero(~occurs)
    if not len(missing) or not occurs.any() or not all(map(evidence.is_counted, evidence.records)):
        return
    last = evidence.num_classes - 1
    if last >= 2 and missing.tolist() == [0]:
        yield Finding(
            "class-zero-absent",
            "warning",
            f"{evidence.name(0)} never occurs, all of 1..{last} do: off by one?",
            f"see whether the ids of the files begin at 1; then remap them with {argument('label_values')}, or list "
            "the classes in the order of the ids",
        )
    elif last >= 2 and missing.tolist() == [last]:
        yield Finding(
            "class-last-absent",
            "warning",
            f"{evidence.name(last)} never occurs, all before it do: off by one?",
            f"compare {argument('classes')} with the ids of the files; the list may have a name too many",
        )
    else:
        yield Finding(
            "class-absent",
            "note",
            f"occurs in no label file: {evidence.listed(missing)}",
            f"compare {argument('classes')} with the ids of the files; harmless where it is a part of a larger dataset",
        )


def rare_classes(evidence: Evidence) -> Iterator[Finding]:
    """Classes of a handful of training images."""
    counts = evidence.counts.get("train")
    if counts is None or counts.files < 10 * _FEW:
        return
    if len(rare := np.flatnonzero((counts.images > 0) & (counts.images < _FEW))):
        seen = ", ".join(f"{evidence.name(class_id)} in {counts.images[class_id]}" for class_id in rare)
        yield Finding(
            "class-rare",
            "note",
            f"fewer than {_FEW} of {counts.files} training images show {seen}",
            "collect more of it, or give it a weight in the loss (class_weights)",
            "train",
        )


def one_sided_pairs(evidence: Evidence) -> Iterator[Finding]:
    """Pairs of left and right of which only one occurs: the labels do not distinguish the sides."""
    files = evidence.everywhere.images
    for left, right in evidence.flip_pairs:
        present, absent = (left, right) if files[left] else (right, left)
        if files[present] >= _MIN_SIDED and not files[absent]:
            yield Finding(
                "pair-one-sided",
                "warning",
                f"{evidence.name(present)} occurs in {files[present]} label files, its partner "
                f"{evidence.name(absent)} in none: the labels do not distinguish left from right",
                "nothing where that is meant (training mirrors without exchanging what occurs in 50 files and more); "
                "else label the sides",
            )
