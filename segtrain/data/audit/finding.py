"""Findings of a check, and the evidence they are derived from."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import Literal, NamedTuple, SupportsIndex

from segtrain.data.audit.record import Record
from segtrain.data.audit.statistics import ClassCounts, count_classes
from segtrain.data.audit.strays import Strays
from segtrain.data.listing.splits import must_differ
from segtrain.errors import DataError, located

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

_NEARLY_ALL = 0.9


class Case(NamedTuple):
    """One file that a finding is about.

    Attributes:
        file: Its path.
        detail: What was seen in it.
        also: The other files of the case, where it takes several: its copies.
    """

    file: str
    detail: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One result of a check: an error, a warning or a note.

    Attributes:
        kind: Stable name of the finding, for programs.
        severity: "error" if a training run would stop or its scores would be wrong; "warning" for a likely mistake;
            "note" for something that is often right.
        summary: What was found and what was expected, one sentence without a full stop.
        fix: One command or edit.
        split: The split concerned; "" for all splits.
        cases: Every file concerned.
    """

    kind: str
    severity: Severity
    summary: str
    fix: str
    split: str = ""
    cases: tuple[Case, ...] = ()

    def located(self, path: str) -> "Finding":
        """Put the key of the dataset's node before the arguments that the texts name."""
        cases = tuple(case._replace(detail=located(case.detail, path)) for case in self.cases)
        return replace(self, summary=located(self.summary, path), fix=located(self.fix, path), cases=cases)


@dataclass(frozen=True)
class Evidence:
    """Input of all findings; findings read no file.

    Attributes:
        records: By split, one for each sample.
        class_names: Of the dataset, as are the next four.
        ignore_class: The id of ignored pixels.
        known_values: Stored values of classes and ignored pixels; empty if they differ from file to file.
        flip_pairs: Class ids to swap in a mirrored image.
        colors: RGB by class.
        crop_size: (H, W) of the training crops, None where images are resized instead.
        batch_size: Images in one step.
        unlisted: By split, why its samples cannot be listed.
        strays: Files in the dataset's folders that no sample uses.
        images: By split, all of its images, if `records` are only a part of them; else empty.
    """

    records: Mapping[str, Sequence[Record]]
    class_names: Sequence[str]
    ignore_class: int = 255
    known_values: Sequence[int] = ()
    flip_pairs: Sequence[tuple[int, int]] = ()
    colors: Sequence[Sequence[int]] = ()
    crop_size: tuple[int, int] | None = None
    batch_size: int = 1
    unlisted: Mapping[str, DataError] = field(default_factory=dict)
    strays: Strays = Strays()
    images: Mapping[str, Set[str]] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def counts(self) -> dict[str, ClassCounts]:
        """By split, how often each class occurs."""
        return {split: count_classes(records, self.num_classes) for split, records in self.records.items()}

    def is_counted(self, split: str) -> bool:
        """Whether nearly all label files of a split could be read, so that a class may be called absent."""
        return split in self.counts and self.counts[split].files >= _NEARLY_ALL * len(self.records[split]) > 0

    @cached_property
    def everywhere(self) -> ClassCounts:
        """The same of all splits together."""
        return count_classes(self.every_record, self.num_classes)

    @cached_property
    def every_record(self) -> list[Record]:
        return [record for records in self.records.values() for record in records]

    @cached_property
    def split_of(self) -> list[str]:
        """The split of each of `every_record`."""
        return [split for split, records in self.records.items() for _ in records]

    @cached_property
    def apart(self) -> set[tuple[str, str]]:
        """Pairs of splits that must not overlap, in both orders."""
        images = self.images or {split: {each.image for each in records} for split, records in self.records.items()}
        return {pair for pair in permutations(images, 2) if must_differ(*pair, *(images[split] for split in pair))}

    def leaks(self, one: int, other: int) -> bool:
        """Whether two of `every_record`, of the same image, would make the scores of a split too high."""
        return (self.split_of[one], self.split_of[other]) in self.apart

    def name(self, class_id: SupportsIndex) -> str:
        """A class as it is shown: its name and id."""
        return f"{self.class_names[int(class_id)]} ({class_id})"

    def listed(self, class_ids: Iterable[SupportsIndex]) -> str:
        """Several classes as they are shown."""
        return ", ".join(self.name(class_id) for class_id in class_ids)


def together(paths: Iterable[str]) -> Case:
    """Several files as one case."""
    first, *others = paths
    return Case(first, also=tuple(others))


def images(number: int) -> str:
    """Count images in words."""
    return f"{number} image{'' if number == 1 else 's'}"


def fraction(part: float, total: float) -> float:
    """Return part / total, 0 if `total` is 0."""
    return part / total if total else 0.0
