"""`segtrain runs`: list the training runs with their scores and states."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segtrain.runs.folder import RUNS
from segtrain.runs.overview import Overview, overview
from segtrain.storage import amount
from segtrain.terminal import printable

_SORT: dict[str, Callable[[Overview], Any]] = {
    "date": lambda each: each.started,
    "name": lambda each: each.name,
    "best": lambda each: -math.inf if each.best is None else each.best,
    "epochs": lambda each: each.epochs_done,
    "size": lambda each: each.num_bytes,
    "state": lambda each: each.state,
}


def runs(cfg: DictConfig) -> int:
    """Print a table of the runs below `root`, or JSON. Returns their number."""
    parent = Path(cfg.root).expanduser() if cfg.root is not None else RUNS / "train"
    folders = [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    found = [overview(path) for path in folders]
    if cfg.filter is not None:
        text = cfg.filter.lower()
        found = [each for each in found if text in f"{each.name} {each.state} {each.monitor} {each.folder}".lower()]
    found.sort(key=lambda each: (_SORT[cfg.sort](each), each.folder.name), reverse=cfg.descending)
    if cfg.json:
        print(json.dumps([{**each._asdict(), "folder": str(each.folder)} for each in found], indent=1))
        return len(found)
    if not found:
        what = "no run" if cfg.filter is None else f"no run that contains {printable(cfg.filter)}"
        print(f"{what} in {printable(parent.resolve())}. Fix: segtrain train +experiment=people")
        return 0
    table = Table("date", "name", "best", "monitor", "epochs", "state", "size", "folder")
    for column in (2, 4, 6):
        table.columns[column].justify = "right"
    table.columns[7].overflow = "fold"
    for each in found:
        best = "-" if each.best is None else f"{each.best:.4f}"
        epochs = f"{each.epochs_done}/{each.epochs or '?'}"
        texts = (each.started, each.name, best, each.monitor, epochs, each.state, amount(each.num_bytes), each.folder)
        table.add_row(*(escape(printable(text)) for text in texts))
    Console().print(table)
    return len(found)
