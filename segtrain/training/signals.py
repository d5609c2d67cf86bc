"""Signals as wishes that a training looks at between its steps: nothing is cut short in the middle."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

import numpy as np

from segtrain.errors import Stopped
from segtrain.training.replicas import Replicas

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

    def agree(self, replicas: Replicas) -> None:
        """Take over what was asked of other processes: a signal reaches them in the middle of different steps."""
        if replicas.num_processes > 1:
            stop, save = replicas.total(np.array([self.stop is not None, self.save], np.int32))
            self.stop = self.stop or (signal.SIGTERM if stop else None)
            self.save = bool(save)

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
