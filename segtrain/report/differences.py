"""Values that differ between two configs or networks, as a table."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from segtrain.terminal import printable

# Of the command itself, or different by design.
_LEFT_OUT = ("hydra", "name", "other", "runs", "panels")
_ABSENT = "-"


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """By key of either mapping that the other lacks or has another value for, both values, in the order of both."""
    keys = list(one)
    for before, key in itertools.pairwise(["", *other]):
        if key not in one:
            keys.insert(keys.index(before) + 1 if before else 0, key)
    both = {key: (one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def leaves(tree: Mapping[str, Any]) -> dict[str, str]:
    """By dotted key of each value of a config, the value as YAML spells it; what a node calls under its own key."""
    return dict(_leaves({key: value for key, value in tree.items() if key not in _LEFT_OUT}, ""))


def _leaves(tree: Mapping[str, Any], parent: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        name = f"{parent}.{key}" if parent else str(key)
        if key == "_target_":
            yield parent, str(value).rpartition(".")[2]
        elif isinstance(value, dict):
            yield from _leaves(value, name)
        else:
            yield name, _spelt(value)


def _spelt(value: Any) -> str:
    if value == "???":
        return "not given"
    if isinstance(value, list):
        return f"[{', '.join(map(_spelt, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def print_differences(title: str, headings: tuple[str, str], found: Mapping[str, tuple[str, str]]) -> None:
    """Print the values that differ, or that none does."""
    console = Console(markup=False, highlight=False)
    if not found:
        console.print(f"{title}: no difference")
        return
    table = Table(title=title)
    for heading in ("", *headings):
        table.add_column(heading, overflow="fold")
    for key, values in found.items():
        table.add_row(*map(printable, (key, *values)))
    console.print(table)
