"""Signals as wishes that a training looks at between its steps: nothing is cut short in the middle."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

from segtrain.errors import Stopped

_STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@final
class Wishes:
    """What signals have asked for since the training began.

    Attributes:
        stop: The signal that asks to save and end; None while there is none.
        save: Whether to save and go on.
    """

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        self.save = False

    def stopped(self, message: str) -> Stopped:
        """Make the error that ends the training, with the exit code that a shell gives the signal."""
        return Stopped(message, 128 + int(self.stop or 0))


@contextmanager
def listening() -> Iterator[Wishes]:
    """Turn SIGTERM, SIGHUP and the first Ctrl-C into a wish to stop, and SIGUSR1 into one to save, while open.

    A second Ctrl-C interrupts at once. Outside of the main thread nothing is changed.
    """
    wishes = Wishes()

    def on_stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        wishes.stop = signal.Signals(number)

    def on_save(number: int, frame: FrameType | None) -> None:
        wishes.save = True

    earlier: dict[int, Any] = {}
    try:
        for number in _STOPPING:
            earlier[number] = signal.signal(number, on_stop)
        earlier[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, on_save)
    except ValueError:  # not the main thread: a launcher's
        pass
    try:
        yield wishes
    finally:
        for known, handler in earlier.items():
            signal.signal(known, handler)
