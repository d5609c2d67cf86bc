"""Processes that load crops into memory which this process sees, too.

Threads of one process wait for each other at Python's lock: two of them load four fifths of what two processes do.
And a photograph that kills its decoder costs one process here, not the training. Children get their orders as lines of
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
import weakref
from collections.abc import Sequence
from typing import IO, Any, final

import numpy as np

from segtrain import errors
from segtrain.data.augment.augmentation import Pair
from segtrain.data.contents import shown
from segtrain.data.crops import Crops
from segtrain.data.dataset import Sample
from segtrain.errors import DataError, ResourceError, SegtrainError

# Batches in use at a time; memory is taken when a batch is first written to.
_MOST_BATCHES = 16
# What is sent to all processes of a group, as by Ctrl-C, is this one's to answer: a child ends when its orders do.
_NOT_FOR_CHILDREN = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
_SECONDS_TO_END = 5
_ENVIRONMENT = {
    # A child is one thread, and keeps the memory of one crop for the next.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(32 * 2**20)),
}


@final
class Processes:
    """Children that load crops; one that dies is started again.

    Args:
        module: What `python -m` runs in a child: see `crop_server.serve`.
        job: What the crops are made of, as far as JSON tells it.
        crops: The same, here.
        count: Children.
        batch_bytes: Of one batch.

    Attributes:
        memories: Arrays of `batch_bytes` bytes that children can write to; none any more after `close`.

    Raises:
        ResourceError: A child cannot be started, or memory cannot be shared.
    """

    def __init__(self, module: str, job: dict[str, Any], crops: Crops, *, count: int, batch_bytes: int) -> None:
        self._module = module
        self._crops = crops
        length = -(-batch_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            self._memory, self._list = _anonymous_file(), _anonymous_file()
            self._memory.truncate(_MOST_BATCHES * length)
            shared = mmap.mmap(self._memory.fileno(), 0)
            self._list.writelines(line([str(part) for part in sample]) for sample in crops.samples)
            self._list.flush()
        except OSError as error:
            raise ResourceError(
                f"cannot share memory with processes that load photographs: {error.strerror}. Fix: loader=threads"
            ) from error
        self.memories = [
            np.frombuffer(shared, np.uint8, batch_bytes, number * length) for number in range(_MOST_BATCHES)
        ]
        self._first_byte = self.memories[0].ctypes.data
        self._job = line({"job": job, "memory": self._memory.fileno(), "samples": self._list.fileno()})
        self._children: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._end = weakref.finalize(self, _end, self._children, (self._memory, self._list))
        for number in range(count):
            self._children.append(self._start())
            self._idle.put(number)

    def load(self, task: Sequence[tuple[int, int]], batch: Pair) -> None:
        """Have an idle child load crops; for as many threads as there are children.

        Args:
            task: The position of each crop, and its place in the batch.
            batch: (B, H, W, 3) and (B, H, W) uint8, parts of `memories`.

        Raises:
            DataError: A sample cannot be read, or kills whoever reads it.
            ResourceError: A child cannot be started, or the system ends one after another.
        """
        starts = [array.ctypes.data - self._first_byte for array in batch]
        lengths = [array[0].nbytes for array in batch]
        orders = [
            (position, *(start + place * length for start, length in zip(starts, lengths, strict=True)))
            for position, place in task
        ]
        number = self._idle.get()
        try:
            if self._ask(number, orders):
                return
            _reap(self._children[number])
            self._children[number] = self._start()
            for each in orders:  # one by one, to tell which
                if not self._ask(number, [each]):
                    raise _died(self._children[number].wait(), self._crops.sample(each[0]))
        finally:
            self._idle.put(number)

    def close(self) -> None:
        """Let the children end."""
        self.memories = []
        self._end()

    def _ask(self, number: int, orders: Sequence[Sequence[int]]) -> bool:
        """Give a child orders and wait until it has done them. Returns whether it lives."""
        orders_to, answers_of = _pipes(self._children[number])
        try:
            orders_to.write(line(orders))
            orders_to.flush()
            answer = answers_of.readline()
        except BrokenPipeError:
            return False
        if not answer.endswith(b"\n"):
            return False
        kind, message = json.loads(answer)
        if kind == "bug":
            raise RuntimeError(f"in a process that loads photographs:\n{message}")
        if kind:
            raise getattr(errors, kind)(message)
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        # A child inherits what is blocked, so that there is no moment at which a signal could end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_CHILDREN)
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self._memory.fileno(), self._list.fileno()],
                # What this process imports from, whoever has put it there.
                env=os.environ | _ENVIRONMENT | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        except OSError as error:
            raise ResourceError(
                f"cannot start {sys.executable} to load photographs: {error.strerror}. Fix: loader=threads"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with contextlib.suppress(BrokenPipeError):  # whoever gives it orders will see
            _pipes(child)[0].write(self._job)
        return child


def _pipes(child: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if child.stdin is None or child.stdout is None:
        raise ValueError("a child without pipes")
    return child.stdin, child.stdout


def _end(children: Sequence[subprocess.Popen[bytes]], files: Sequence[IO[bytes]]) -> None:
    """Close all orders first, so that the children end side by side."""
    for file in files:
        file.close()
    for child in children:
        with contextlib.suppress(BrokenPipeError):
            _pipes(child)[0].close()
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_SECONDS_TO_END)
        _reap(child)


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a child that has ended, or should have."""
    child.kill()
    child.wait()
    for pipe in _pipes(child):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _died(code: int, sample: Sample) -> SegtrainError:
    crop = f"the crop of {shown(sample.image)} with {shown(sample.labels)}"
    if code == -signal.SIGKILL:
        return ResourceError(
            f"the process that loads {crop} was killed twice, as the system does where memory is short. Fix: fewer "
            f"workers, or a smaller batch_size or crop_size"
        )
    how = f"of {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return DataError(
        f"cannot load {crop}: the process that tries dies {how}, each time. Fix: remove the sample; "
        f"loader=threads shows what happens"
    )


def _anonymous_file() -> IO[bytes]:
    """Make a file without a name: nothing stays behind, however this process ends."""
    # Not /dev/shm, which containers keep to 64 MB.
    return open(os.memfd_create("segtrain"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def line(value: Any) -> bytes:
    """Write what JSON can say as one line."""
    return json.dumps(value).encode() + b"\n"
