"""Findings about splits: the same image twice, in train and in val, or labeled in two ways."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations

from segtrain.data.audit.duplicates import near_pairs, same_pixels
from segtrain.data.audit.finding import Case, Evidence, Finding, images, together

_MOST_CASES = 10_000


def small_train_split(evidence: Evidence) -> Iterator[Finding]:
    """Fewer training images than one batch."""
    records = evidence.records.get("train")
    if records and len(records) < evidence.batch_size:
        yield Finding(
            "split-small",
            "error",
            f"{images(len(records))}, expected one batch of {evidence.batch_size} at least",
            f"batch_size={len(records)}",
            "train",
            tuple(Case(each.image) for each in records),
        )


def shared_files(evidence: Evidence) -> Iterator[Finding]:
    """The same file in two splits that must not overlap."""
    for one, other in combinations(evidence.records, 2):
        if (one, other) not in evidence.apart:
            continue
        paths = {each.image for each in evidence.records[one]}
        if cases := tuple(Case(each.image) for each in evidence.records[other] if each.image in paths):
            yield Finding(
                "leak-files",
                "error",
                f"{images(len(cases))} of {other} are also in {one}: its scores would be too high",
                f"remove them from one of the two lists; {other} has {len(evidence.records[other])}",
                "",
                cases,
            )


def shared_images(evidence: Evidence) -> Iterator[Finding]:
    """Images of equal pixels under other names in two splits."""
    across, _ = _equal_groups(evidence)
    if cases := tuple(_case(evidence, group) for group in across):
        yield Finding(
            "leak-images",
            "error",
            "images with equal pixels in several splits: scores would be too high",
            "remove one of each from its split",
            "",
            cases,
        )


def repeated_images(evidence: Evidence) -> Iterator[Finding]:
    """Images of equal pixels within one split."""
    _, within = _equal_groups(evidence)
    for split, groups in within.items():
        cases = tuple(_case(evidence, group) for group in groups)
        yield Finding(
            "duplicates",
            "warning",
            "images with equal pixels, which count twice",
            "remove one of each",
            split,
            cases,
        )


def contradicting_labels(evidence: Evidence) -> Iterator[Finding]:
    """One image labeled in two ways."""
    records = evidence.every_record
    groups = [group for group in same_pixels(records) if len({records[index].ids for index in group} - {""}) > 1]
    if cases := tuple(together(records[index].labels for index in group) for group in groups):
        yield Finding(
            "labels-contradict",
            "warning",
            "images with equal pixels and different labels",
            "keep the right one of each",
            "",
            cases,
        )


def near_duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Images that show the same in two splits; within one split they are worth a note only (videos, bursts)."""
    split_of, pairs = evidence.split_of, near_pairs(evidence.every_record)
    if across := [pair for pair in pairs if evidence.leaks(*pair)]:
        yield Finding(
            "near-duplicates-across",
            "warning",
            "images that look the same in several splits",
            "look at them; move both to one split, as you would all frames of one scene",
            "",
            _cases(evidence, across),
        )
    for split in evidence.records:
        if within := [pair for pair in pairs if split_of[pair[0]] == split_of[pair[1]] == split]:
            yield Finding(
                "near-duplicates",
                "note",
                "images that look the same",
                "look at them; of the frames of a video a few are enough",
                split,
                _cases(evidence, within),
            )


def mirrored_copies(evidence: Evidence) -> Iterator[Finding]:
    """Images that were mirrored by hand: in two splits they leak, and left and right may not have been swapped."""
    records = evidence.every_record
    pairs = near_pairs(records, mirrored=True)
    if not pairs:
        return
    plain = set(near_pairs(records))  # of a scene that is its own mirror image
    pairs = [pair for pair in pairs if pair not in plain]
    if across := [pair for pair in pairs if evidence.leaks(*pair)]:
        yield Finding(
            "mirrored-across",
            "warning",
            "images and their mirror images in several splits",
            "move both to one split, or remove the mirrored ones: augmentation mirrors images",
            "",
            _cases(evidence, across),
        )
    if unswapped := [pair for pair in pairs if _keeps_sides(evidence, *pair)]:
        yield Finding(
            "mirrored-unswapped",
            "error",
            "mirrored images whose left and right labels were not swapped",
            "remove the mirrored ones: augmentation mirrors images and swaps the labels",
            "",
            _cases(evidence, unswapped),
        )


def copied_labels(evidence: Evidence) -> Iterator[Finding]:
    """Label files of equal ids for images that differ: saved under the wrong name."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(evidence.every_record):
        if record.ids and len(record.classes) > 1:
            groups[record.ids].append(index)
    copies = [group for group in groups.values() if len({evidence.every_record[index].pixels for index in group}) > 1]
    if cases := tuple(together(evidence.every_record[index].labels for index in group) for group in copies):
        yield Finding(
            "labels-copied",
            "warning",
            "label files with equal pixels, of different images",
            "look at them; one of each may have been saved under the wrong name",
            "",
            cases,
        )


def _equal_groups(evidence: Evidence) -> tuple[list[list[int]], dict[str, list[list[int]]]]:
    """Sort groups of equal images by whether they leak from one split to another.

    A file in several splits counts once in a group: it is not a duplicate of itself.
    """
    records, across, within = evidence.every_record, [], defaultdict(list)
    for group in same_pixels(records):
        files = {records[index].image: index for index in reversed(group)}
        if len(files) < 2:
            continue
        by_split: dict[str, set[str]] = defaultdict(set)
        for index in group:
            by_split[evidence.split_of[index]].add(records[index].image)
        if _leak(by_split, evidence.apart):
            across.append(group)
        else:
            within[evidence.split_of[group[0]]].append(sorted(files.values()))
    return across, dict(within)


def _leak(by_split: Mapping[str, Set[str]], apart: Iterable[tuple[str, str]]) -> bool:
    """Whether equal images, by split, are different files of two splits that must not overlap."""
    pairs = [(by_split[one], by_split[other]) for one, other in apart if one in by_split and other in by_split]
    return any(len(one | other) > 1 for one, other in pairs)


def _keeps_sides(evidence: Evidence, one: int, other: int) -> bool:
    """Whether a class lies where the mirror put it though its partner should: both sides must be shown, well apart."""
    first, second = evidence.every_record[one].columns, evidence.every_record[other].columns
    kept = swapped = 0
    for left, right in evidence.flip_pairs:
        if all(class_id in columns for class_id in (left, right) for columns in (first, second)):
            for class_id, partner in ((left, right), (right, left)):
                mirrored = 1 - first[class_id]
                if abs(first[left] - first[right]) > 0.05:
                    kept += abs(second[class_id] - mirrored) < 0.02
                    swapped += abs(second[partner] - mirrored) < 0.02
    return kept > swapped


def _case(evidence: Evidence, group: Sequence[int]) -> Case:
    return together(evidence.every_record[index].image for index in group)


def _cases(evidence: Evidence, pairs: Sequence[tuple[int, int]]) -> tuple[Case, ...]:
    return tuple(_case(evidence, pair) for pair in pairs[:_MOST_CASES])
