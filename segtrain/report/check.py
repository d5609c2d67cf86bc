"""Report a dataset check: tables, findings and class weights on the screen, and `check.json` for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from segtrain.data.audit.finding import SEVERITIES, Case, Evidence, Finding, fraction, images
from segtrain.data.audit.statistics import class_weights
from segtrain.runs.folder import write_json
from segtrain.terminal import printable
from segtrain.version import __version__

FORMAT = "segtrain check 1"  # increased when readers of check.json must change
_MAX_COPIES = 3  # files listed as copies of one file
_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_RULES = {
    "median_frequency": "median frequency: Eigen and Fergus 2015",
    "enet": "1 / ln(1.02 + fraction): ENet, Paszke et al. 2016",
    "inverse": "inverse fraction: equal total weight of each class",
}


def write_check(path: Path, evidence: Evidence, findings: Sequence[Finding], metadata: Mapping[str, Any]) -> None:
    """Write all findings with all their files, and the counts of every class, to `check.json`.

    Args:
        path: Path of `check.json`.
        evidence: Records and counts that the findings are based on.
        findings: Findings, the most severe first.
        metadata: Further values to record; must be JSON serializable.
    """
    classes = [
        {
            "id": class_id,
            "name": name,
            "pixels": {split: int(counts.pixels[class_id]) for split, counts in evidence.counts.items()},
            "images": {split: int(counts.images[class_id]) for split, counts in evidence.counts.items()},
        }
        for class_id, name in enumerate(evidence.class_names)
    ]
    splits = {
        split: {"images": len(evidence.records[split]), "pixels": counts.total, "void_pixels": counts.ignored}
        for split, counts in evidence.counts.items()
    }
    found = [
        {
            "kind": each.kind,
            "severity": each.severity,
            "split": each.split or None,
            "summary": each.summary,
            "fix": each.fix,
            "count": len(each.cases),
            "files": [case._asdict() for case in each.cases],
        }
        for each in findings
    ]
    content = {"format": FORMAT, "segtrain": __version__, **metadata, "splits": splits, "classes": classes}
    write_json(path, {**content, "class_weights": _weights(evidence), "findings": found})


def print_check(evidence: Evidence, findings: Sequence[Finding], metadata: Mapping[str, Any], show: int) -> None:
    """Print the classes, the weights and the findings, the most severe last, so that it is visible at the end.

    Args:
        evidence: Records and counts that the findings are based on.
        findings: Findings, the most severe first.
        metadata: Contains `seconds` and `files_read`, which are printed.
        show: Number of files to print per finding.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if any(counts.files for counts in evidence.counts.values()):
        console.print(_class_table(evidence), soft_wrap=False)
    if weights := _weights(evidence):
        console.print("class weights to paste into a config, one of:")
        for rule, factors in weights.items():
            numbers = ", ".join(f"{factor:g}" for factor in factors)
            console.print(f"  loss: {{class_weights: [{numbers}]}}  # {_RULES[rule]}")
    for finding in reversed(findings):
        _print_finding(console, finding, show)
    *first, last = [f"{len(records)} of {split}" for split, records in evidence.records.items()] or ["nothing"]
    numbers = f"{', '.join(first)} and {last}" if first else last
    tally = ", ".join(
        f"{number} {severity}{'' if number == 1 else 's'}"
        for severity in SEVERITIES
        for number in [sum(each.severity == severity for each in findings)]
    )
    console.print()
    how = (
        f"{images(metadata['files_read'])} read in {metadata['seconds']:.1f} s"
        if metadata["files_read"]
        else _UNCHANGED
    )
    console.print(f"checked {numbers} ({how}): {tally}")


_UNCHANGED = "unchanged since the last check; fresh=true reads them again"


def _class_table(evidence: Evidence) -> Table:
    table = Table(title="classes: fraction of labeled pixels, images with the class")
    table.add_column("id", justify="right")
    table.add_column("class")
    narrow = len(evidence.counts) > 2  # so that four splits fit 80 columns
    for split in evidence.counts:
        table.add_column(f"{split}, images" if narrow else split, justify="right")
        if not narrow:
            table.add_column("images", justify="right")
    for class_id, name in enumerate(evidence.class_names):
        cells = []
        for counts in evidence.counts.values():
            part = fraction(counts.pixels[class_id], counts.pixels.sum())
            cells.append([f"{part:.3%}" if counts.images[class_id] else "absent", str(counts.images[class_id])])
        table.add_row(str(class_id), printable(name), *_joined(cells, narrow))
    table.add_section()
    ignored = [
        [f"{fraction(counts.ignored, counts.total):.3%}", str(counts.files)] for counts in evidence.counts.values()
    ]
    table.add_row(str(evidence.ignore_class), "ignored, of all pixels", *_joined(ignored, narrow))
    return table


def _joined(cells: Sequence[Sequence[str]], narrow: bool) -> list[str]:
    """Flatten pairs of cells, or join each pair into one cell if `narrow`."""
    return [", ".join(pair) for pair in cells] if narrow else [each for pair in cells for each in pair]


def _print_finding(console: Console, finding: Finding, show: int) -> None:
    where = f" in {finding.split}" if finding.split else ""
    number = f" ({len(finding.cases)})" if finding.cases else ""
    console.print()
    console.print(f"{finding.severity}: {finding.kind}{where}{number}", style=_STYLES[finding.severity])
    console.print(f"  {printable(finding.summary)}")
    for case in finding.cases[:show]:
        console.print(f"    {printable(_shown(case))}")
    if len(finding.cases) > show:
        console.print(f"    and {len(finding.cases) - show} more in check.json")
    console.print(f"  Fix: {printable(finding.fix)}")


def _shown(case: Case) -> str:
    detail = case.detail.partition(". Fix: ")[0]
    if case.file in detail:
        return detail
    more = len(case.also) - _MAX_COPIES
    files = " = ".join([case.file, *case.also[:_MAX_COPIES]]) + (f" = {more} more" if more > 0 else "")
    return f"{files}: {detail}" if detail else files


def _weights(evidence: Evidence) -> dict[str, list[float]]:
    """Return the class weights of the training split, or of all splits without one."""
    return class_weights(evidence.counts.get("train", evidence.everywhere))
