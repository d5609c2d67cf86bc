"""`segtrain summary`: the network that a config would train, without weights and without data."""

import itertools

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from segtrain.builders.description import describe
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
