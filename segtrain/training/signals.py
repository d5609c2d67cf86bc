"""Flags set by signals and read between training steps, so that no step is interrupted."""

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
    """Return the signals that end a command: SIGTERM, SIGINT, and SIGHUP unless it is ignored, as by nohup."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if is_ignored else [signal.SIGHUP])]


@final
class SignalFlags:
    """Requests made by signals since the run started.

    Attributes:
        stop: Signal that asked to save and stop; None before it arrives.
        stop_time: Time of the first stop signal on the monotonic clock, in seconds; infinity before it arrives.
        save: Whether a signal asked to save and continue.
    """

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        self.stop_time = math.inf
        self.save = False

    def agree(self, replicas: "Replicas") -> tuple[bool, bool]:
        """Return whether to stop and whether to save, the same in every process although signals arrive at other times.

        A signal that arrives during this call counts in the next one.
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
        """Return the error that ends the run, with the exit code that shells use for the signal (128 + number)."""
        stop = self.stop or signal.SIGTERM
        return Stopped(f"stopped by {stop.name} {message}", 128 + stop)


@contextmanager
def watch_signals() -> Iterator[SignalFlags]:
    """Set `stop` on SIGTERM, SIGHUP and the first Ctrl-C, and `save` on SIGUSR1, while the context is open.

    A second Ctrl-C interrupts immediately. An ignored SIGHUP, as under nohup, stays ignored. Outside the main thread no
    handler is installed.
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
    except ValueError:  # not the main thread, as under some launchers
        pass
    try:
        yield flags
    finally:
        for known, handler in earlier.items():
            signal.signal(known, handler)
