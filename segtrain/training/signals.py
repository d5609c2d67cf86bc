"""Signals as flags that a training looks at between its steps: nothing is cut short in the middle."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, final

from segtrain.errors import Stopped

if TYPE_CHECKING:
    from segtrain.training.replicas import Replicas


def stop_signals() -> list[signal.Signals]:
    """List the signals that end a command; that of a closed terminal not where nohup has it ignored."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if is_ignored else [signal.SIGHUP])]


@final
class SignalFlags:
    """What signals have asked for since the training began.

    Attributes:
        stop: The signal that asks to save and end; None while there is none.
        stop_time: When it came, on the monotonic clock.
        save: Whether to save and go on.
    """

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        self.stop_time = math.inf
        self.save = False

    def agree(self, replicas: "Replicas") -> tuple[bool, bool]:
        """Tell whether to stop and whether to save, the same in every process: a signal reaches them at other moments.

        One that comes while this waits for the others counts the next time.
        """
        stop, save = self.stop is not None, self.save
        if save:
            self.save = False
        if replicas.num_processes > 1:
            import numpy as np  # not for `segtrain --help`

            stop, save = (bool(count) for count in replicas.total(np.array([stop, save], np.int32)))
        if stop and self.stop is None:
            self.stop = signal.SIGTERM
        return stop, save

    def stopped(self, message: str) -> Stopped:
        """Make the error that ends the training, with the exit code that a shell gives the signal."""
        stop = self.stop or signal.SIGTERM
        return Stopped(f"stopped by {stop.name} {message}", 128 + stop)


@contextmanager
def watch_signals() -> Iterator[SignalFlags]:
    """Turn SIGTERM, SIGHUP and the first Ctrl-C into a wish to stop, and SIGUSR1 into one to save, while open.

    A second Ctrl-C interrupts at once. SIGHUP stays ignored where it is, as by nohup. Outside of the main thread
    nothing is changed.
    """
    flags = SignalFlags()

    def on_stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        flags.stop_time = min(flags.stop_time, time.monotonic())
        flags.stop = signal.Signals(number)

    def on_save(number: int, frame: FrameType | None) -> None:
        flags.save = True

    earlier: dict[int, Any] = {}
    try:
        for number in stop_signals():
            earlier[number] = signal.signal(number, on_stop)
        earlier[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, on_save)
    except ValueError:  # not the main thread: a launcher's
        pass
    try:
        yield flags
    finally:
        for known, handler in earlier.items():
            signal.signal(known, handler)
