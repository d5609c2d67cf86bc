"""Encode a run's history as `metrics.jsonl` and `metrics.csv`. No TensorFlow here."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any


def as_lines(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode a history as `metrics.jsonl`: one line per epoch."""
    return "".join(f"{json.dumps(record)}\n" for record in history).encode()


def as_table(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode a history as `metrics.csv`; later epochs may add columns, such as validation scores."""
    columns = dict.fromkeys(name for record in history for name in record)
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue().encode()
