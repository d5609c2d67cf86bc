"""What a check found, for people (a table, the findings, weights to paste) and for programs (`check.json`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from segtrain import __version__
from segtrain.data.audit.finding import SEVERITIES, Case, Evidence, Finding, images, share
from segtrain.data.audit.statistics import class_weights
from segtrain.runs.folder import write_json
from segtrain.terminal import printable

FORMAT = "segtrain check 1"  # changes when a reader of check.json would have to
_MOST_COPIES = 3  # of one file, on the screen
_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_RULES = {
    "median_frequency": "median frequency: Eigen and Fergus 2015",
    "enet": "1 / ln(1.02 + share): ENet, Paszke et al. 2016",
    "inverse": "inverse share: each class weighs the same",
}


def write_check(path: Path, evidence: Evidence, findings: Sequence[Finding], facts: Mapping[str, Any]) -> None:
    """Write all findings with all their files, and the counts of every class.

    Args:
        path: Of `check.json`.
        evidence: What the findings were drawn from.
        findings: In the order to be read.
        facts: What else to record; must fit JSON.
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
        split: {"images": len(evidence.records[split]), "pixels": counts.total, "void_pixels": counts.void}
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
    content = {"format": FORMAT, "segtrain": __version__, **facts, "splits": splits, "classes": classes}
    write_json(path, {**content, "class_weights": _weights(evidence), "findings": found})


def print_check(evidence: Evidence, findings: Sequence[Finding], facts: Mapping[str, Any], show: int) -> None:
    """Print the classes, the weights, and the findings, the gravest last: where the eye is when a command ends.

    Args:
        evidence: See `write_check`.
        findings: The gravest first.
        facts: `seconds` and `files_read` are shown.
        show: So many files of each finding.
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
    how = f"{images(facts['files_read'])} read in {facts['seconds']:.1f} s" if facts["files_read"] else _UNCHANGED
    console.print(f"checked {numbers} ({how}): {tally}")


_UNCHANGED = "unchanged since they were read; fresh=true reads them again"


def _class_table(evidence: Evidence) -> Table:
    table = Table(title="classes: share of the pixels that are not void, and images that show them")
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
            part = share(counts.pixels[class_id], counts.pixels.sum())
            cells.append([f"{part:.3%}" if counts.images[class_id] else "absent", str(counts.images[class_id])])
        table.add_row(str(class_id), printable(name), *_joined(cells, narrow))
    table.add_section()
    voids = [[f"{share(counts.void, counts.total):.3%}", str(counts.files)] for counts in evidence.counts.values()]
    table.add_row(str(evidence.ignore_class), "void, of all pixels", *_joined(voids, narrow))
    return table


def _joined(cells: Sequence[Sequence[str]], narrow: bool) -> list[str]:
    """Pairs of cells one after another, or each pair in one cell."""
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
    more = len(case.also) - _MOST_COPIES
    files = " = ".join([case.file, *case.also[:_MOST_COPIES]]) + (f" = {more} more" if more > 0 else "")
    return f"{files}: {detail}" if detail else files


def _weights(evidence: Evidence) -> dict[str, list[float]]:
    """Those of the training split, or of all there is."""
    return class_weights(evidence.counts.get("train", evidence.everywhere))
