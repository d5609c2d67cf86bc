"""The table of all findings. Each is a small function of the evidence, with its own message and fix."""

from collections.abc import Callable, Iterator

from segtrain.data.audit import (
    class_findings,
    file_findings,
    label_findings,
    size_findings,
    split_findings,
    value_findings,
)
from segtrain.data.audit.finding import SEVERITIES, Evidence, Finding

FINDINGS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    file_findings.unlisted_splits,
    file_findings.unfit_samples,
    value_findings.unknown_values,
    value_findings.label_colors,
    value_findings.differing_palettes,
    split_findings.shared_files,
    split_findings.shared_images,
    split_findings.small_train_split,
    class_findings.nothing_to_learn,
    file_findings.repeated_names,
    split_findings.mirrored_copies,
    split_findings.near_duplicates,
    split_findings.repeated_images,
    split_findings.contradicting_labels,
    split_findings.copied_labels,
    class_findings.classes_not_trained,
    class_findings.absent_classes,
    label_findings.inverted_masks,
    label_findings.scarce_foreground,
    class_findings.one_sided_pairs,
    label_findings.interpolated_labels,
    label_findings.empty_label_files,
    label_findings.ignored_files,
    label_findings.many_ignored_pixels,
    file_findings.damaged_images,
    file_findings.dark_images,
    file_findings.plain_images,
    file_findings.labels_without_image,
    file_findings.names_but_for_case,
    file_findings.unread_files,
    file_findings.respelled_names,
    size_findings.tiny_images,
    size_findings.long_images,
    size_findings.crop_against_images,
    size_findings.varying_sizes,
    class_findings.classes_not_validated,
    class_findings.rare_classes,
    label_findings.one_class_files,
    file_findings.unused_images,
)


def find_all(evidence: Evidence) -> list[Finding]:
    """Draw every finding from the evidence, the gravest first."""
    found = [finding for find in FINDINGS for finding in find(evidence)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
