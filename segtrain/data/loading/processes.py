"""Child processes that load crops into shared memory.

Threads of one process wait for each other at Python's lock: two of them load four fifths of what two processes do.
And an image that kills its decoder ends one child, not the training run. Children get their orders as lines of
JSON and answer with errors, if any: see `crop_server`.
"""

import contextlib
import json
import mmap
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import IO, Any, final

import numpy as np

from segtrain import errors
from segtrain.data.augment.augmentation import Pair
from segtrain.data.images.contents import shown
from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import Crops
from segtrain.errors import DataError, ResourceError, SegtrainError

# Batches that may be in use at a time, in addition to one per child; memory is taken when a batch is first written to.
_SPARE_BATCHES = 10
_RETRIES = 3  # of a crop whose loading has ended a child
# The parent handles signals to the process group, such as Ctrl-C: a child ends at the end of its orders.
_NOT_FOR_CHILDREN = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
_SECONDS_TO_END = 4
# sys.path is set after Python's own start-up: PYTHONPATH would also decide where `sitecustomize` is
# looked for, and the command has the working directory on its path.
_PROGRAM = """import runpy, sys
module, sys.path[:] = sys.argv[1], sys.argv[2:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
_ENVIRONMENT = {
    # A child is one thread, and keeps the memory of one crop for the next.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(32 * 2**20)),
}


@final
class Processes:
    """Children that load crops; one that dies is started again.

    Args:
        module: The program of a child: see `crop_server.serve`.
        job: JSON-serializable arguments from which a child makes the crops.
        crops: The same crops in this process.
        count: Number of children.
        batch_bytes: Size of one batch in bytes.

    Attributes:
        memories: Arrays of `batch_bytes` bytes that children can write to; empty after `close`.

    Raises:
        ResourceError: A child cannot be started, or shared memory cannot be made.
    """

    def __init__(self, module: str, job: dict[str, Any], crops: Crops, *, count: int, batch_bytes: int) -> None:
        self._module = module
        self._crops = crops
        num_batches = count + _SPARE_BATCHES
        length = -(-batch_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            self._memory, self._list = _anonymous_file(), _anonymous_file()
            self._memory.truncate(num_batches * length)
            shared = mmap.mmap(self._memory.fileno(), 0)
            self._list.writelines(line([str(part) for part in sample]) for sample in crops.samples)
            self._list.flush()
        except OSError as error:
            raise ResourceError(
                f"cannot make shared memory for processes that load images: {error.strerror}. Fix: loader=threads"
            ) from error
        self.memories = [np.frombuffer(shared, np.uint8, batch_bytes, at * length) for at in range(num_batches)]
        self._first_byte = self.memories[0].ctypes.data
        self._job = line({"job": job, "memory": self._memory.fileno(), "samples": self._list.fileno()})
        self._lock = threading.Lock()  # of starting a child, and of ending all of them
        self._children: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._end = weakref.finalize(self, _end, self._children, (self._memory, self._list))
        for number in range(count):
            self._children.append(self._start())
            self._idle.put(number)

    def load(self, task: Sequence[tuple[int, int]], batch: Pair) -> None:
        """Have an idle child load crops; for as many threads as there are children.

        Args:
            task: The position of each crop, and its index in the batch.
            batch: (B, H, W, 3) and (B, H, W) uint8, parts of `memories`.

        Raises:
            DataError: A sample cannot be read, or kills the process that reads it.
            ResourceError: A child cannot be started, or the system ends one after another.
            CancelledError: `close` has ended the children.
        """
        starts = [array.ctypes.data - self._first_byte for array in batch]
        lengths = [array[0].nbytes for array in batch]
        orders = [
            (position, *(start + index * length for start, length in zip(starts, lengths, strict=True)))
            for position, index in task
        ]
        number = self._idle.get()
        try:
            if self._ask(number, orders):
                return
            for (position, _), order in zip(task, orders, strict=True):  # one by one, to find which
                for _ in range(_RETRIES):
                    self._revive(number)
                    if self._ask(number, [order]):
                        break
                else:
                    raise _died(self._children[number].returncode, self._crops.sample(position))
        finally:
            self._idle.put(number)

    def close(self) -> None:
        """End the children; what they have not loaded is canceled."""
        idle = set()
        with contextlib.suppress(queue.Empty):
            while True:
                idle.add(self._idle.get_nowait())
        with self._lock:
            if self._end.alive:
                for number, child in enumerate(self._children):
                    if number not in idle:  # it may hang
                        child.kill()
            self.memories = []
            self._end()
        for number in idle:
            self._idle.put(number)

    def _revive(self, number: int) -> None:
        """Start a child again if it has died."""
        with self._lock:
            if not self._end.alive:
                raise CancelledError("the loader is closed")
            if self._children[number].returncode is not None:
                self._children[number] = self._start()

    def _ask(self, number: int, orders: Sequence[Sequence[int]]) -> bool:
        """Give a child orders and wait until it has done them. Returns False if it is dead."""
        child = self._children[number]
        orders_to, answers_of = _pipes(child)
        answer = b""
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended, or has been ended
            orders_to.write(line(orders))
            orders_to.flush()
            answer = answers_of.readline()
        if not answer.endswith(b"\n"):
            _reap(child)
            return False
        kind, message = json.loads(answer)
        if kind == "bug":
            raise RuntimeError(f"in a process that loads images:\n{message}")
        if kind:
            raise getattr(errors, kind)(message)
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        # A child inherits the blocked signals, so that at no moment a signal can end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_CHILDREN)
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, self._module, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self._memory.fileno(), self._list.fileno()],
                env=os.environ | _ENVIRONMENT,
            )
        except OSError as error:
            raise ResourceError(
                f"cannot start {sys.executable} to load images: {error.strerror}. Fix: loader=threads"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with contextlib.suppress(BrokenPipeError):  # the next order reports it
            _pipes(child)[0].write(self._job)
        return child


def _pipes(child: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if child.stdin is None or child.stdout is None:
        raise ValueError("a child without pipes")
    return child.stdin, child.stdout


def _end(children: Sequence[subprocess.Popen[bytes]], files: Sequence[IO[bytes]]) -> None:
    """Close all orders first, so that the children end concurrently."""
    for file in files:
        file.close()
    for child in children:
        with contextlib.suppress(BrokenPipeError):
            _pipes(child)[0].close()
    deadline = time.monotonic() + _SECONDS_TO_END
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0, deadline - time.monotonic()))
        _reap(child)


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a child that has ended, or should have."""
    child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in a call to the system, as to a file server
        child.wait(1)
    if child.returncode is not None:  # else a thread may still wait for its answer, and `close` for that thread
        for pipe in _pipes(child):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _died(code: int, sample: Sample) -> SegtrainError:
    crop = f"the crop of {shown(sample.image)} with {shown(sample.labels)}"
    if code in (-signal.SIGKILL, -signal.SIGBUS):  # SIGBUS if no page is left for the shared memory
        return ResourceError(
            f"the process that loads {crop} was killed each time, as by the system when memory is short. Fix: fewer "
            f"workers, or a smaller batch_size or crop_size"
        )
    if code >= 0:
        return ResourceError(
            f"processes that load images end with exit code {code} before they load one; their output is "
            f"above. Fix: loader=threads"
        )
    return DataError(
        f"cannot load {crop}: the process that loads it ends with {signal.Signals(-code).name}, each time. Fix: remove "
        f"the sample; loader=threads shows what happens"
    )


def _anonymous_file() -> IO[bytes]:
    """Make a file without a name: nothing stays behind, however this process ends."""
    # Not /dev/shm, which containers keep to 64 MB.
    return open(os.memfd_create("segtrain"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def line(value: Any) -> bytes:
    """Encode a JSON-serializable value as one line."""
    return json.dumps(value).encode() + b"\n"
