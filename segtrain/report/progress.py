"""Progress of a command: a bar on a terminal, elsewhere a line now and then."""

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int | None, what: str, unit: str) -> Iterator[Item]:
    """Yield the items, and show how many are done, their rate and the time left.

    Args:
        items: The items.
        total: Number of items; None if unknown.
        what: Name of the work, before the bar.
        unit: Plural of an item, such as "images".
    """
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        form = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt},{rate_noinv_fmt}, {remaining} left"
        if total is None:
            form = "{desc}: {n_fmt},{rate_noinv_fmt}, {elapsed}"
        yield from tqdm(items, what, total, ncols=columns, bar_format=form, unit=f" {unit}", leave=False)
        return
    started = reported = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - reported >= SECONDS_BETWEEN_LINES:
            reported = now
            rate = number / (now - started)
            left = "" if total is None else f" of {total}, {(total - number) / rate:.0f} s left"
            logger.info("%s: %d %s%s, %.1f %s/s", what, number, unit, left, rate, unit)
