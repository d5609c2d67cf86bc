"""`segtrain summary`: the network that a config would train, without weights and without data."""

import itertools
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from segtrain.builders.description import Tap, describe
from segtrain.terminal import printable


def summary(cfg: DictConfig) -> None:
    """Print shapes, taps, strides, dilations and cost of the network of a config."""
    found = describe(cfg)
    table = Table(title=f"{found.model} on {HydraConfig.get().runtime.choices['backbone']}", show_header=False)
    for _, rows in itertools.groupby(found.rows, key=lambda row: row.section):
        for row in rows:
            table.add_row(
                "" if row.name == row.note else printable(row.name), printable(row.value), printable(row.note)
            )
        table.add_section()
    Console(markup=False).print(table)
    if cfg.taps == "all":
        Console(markup=False).print(_taps(found.taps))


def _taps(taps: Sequence[Tap]) -> Table:
    """Return a table of every layer that can be a tap, by stage."""
    table = Table("depth", "layer", "stride", "channels", "shape", title="layers for backbone.high and backbone.low")
    for column in (0, 2, 3):
        table.columns[column].justify = "right"
    for depth, tap in enumerate(taps, 1):
        table.add_row(str(depth), printable(tap.name), str(tap.stride), str(tap.channels), tap.shape)
        if depth < len(taps) and taps[depth].stride != tap.stride:
            table.add_section()
    return table
