"""Training batches as NumPy arrays, their crops loaded concurrently. No TensorFlow here; `batches` makes tensors.

B batch, H height, W width.
"""

import math
import sys
import threading
from collections.abc import Callable, Sequence
from typing import final

import numpy as np

from segtrain.data.augment.augmentation import Pair
from segtrain.data.loading.crops import Crops
from segtrain.data.loading.processes import Processes
from segtrain.process.threads import Threads

# TensorFlow uses an array without a copy if it begins at a multiple of this many bytes.
_TENSOR_ALIGNMENT = 64
_UNUSED = 3  # references to unused memory: its list, the loop over it, and `getrefcount`

# Pairs of a crop's position in the run and its index in the batch.
Task = Sequence[tuple[int, int]]


@final
class BatchLoader:
    """Load any training batch by its step, its crops concurrently: in threads or in processes.

    Args:
        crops: All crops of the training run.
        workers: Number of threads; equal to the number of processes, if any.
        indices: Indices of the crops of a batch that this process loads, in order; None for all of them.
        processes: Child processes that load crops; threads of this process load while no shared memory is free.

    Attributes:
        num_loaded: Number of crops of a batch that this process loads.
        at_once: How many batches to ask for at a time, so that no worker waits for the last crops of one.
    """

    def __init__(
        self,
        crops: Crops,
        *,
        workers: int = 2,
        indices: Sequence[int] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.crops = crops
        self._indices = range(crops.batch_size) if indices is None else indices
        self.num_loaded = len(self._indices)
        self.at_once = 1 + math.ceil(workers / self.num_loaded)
        self._threads = Threads(workers, "segtrain-loader")
        self._processes = processes
        # One message per process is less work than one per crop.
        self._crops_a_task = 1 if processes is None else math.ceil(self.num_loaded / workers)
        self._lock = threading.Lock()
        self._memories: list[np.ndarray] = []

    def batch(self, step: int) -> Pair:
        """Load the batch of one step; may be called from several threads at once.

        Returns:
            (B, H, W, 3) uint8 RGB and (B, H, W) uint8 class ids, B the crops that are loaded here.

        Raises:
            DataError: A sample cannot be read.
            ResourceError: A process cannot be started, or is ended by the system.
            CancelledError: The loader was closed.
        """
        batch, load = self._room()
        first = step * self.crops.batch_size
        wanted = [(first + each, index) for index, each in enumerate(self._indices)]
        tasks = [wanted[start : start + self._crops_a_task] for start in range(0, len(wanted), self._crops_a_task)]
        for loaded in [self._threads.submit(load, task, batch) for task in tasks]:
            loaded.result()
        return batch

    def names(self, step: int) -> list[str]:
        """Name the samples of the batch of one step."""
        first = step * self.crops.batch_size
        return [self.crops.sample(first + index).name for index in range(self.crops.batch_size)]

    def close(self) -> None:
        """End processes and threads; what they have not loaded is canceled."""
        if self._processes is not None:
            self._processes.close()
        self._threads.close()

    def _room(self) -> tuple[Pair, Callable[[Task, Pair], None]]:
        """Find memory that no batch in use refers to, and the function that loads crops into it.

        A fresh batch is a tenth of a loader's work: the system clears its memory first, page by page.
        """
        size = self.crops.crop_size
        with self._lock:
            if self._processes is not None and (memory := _unused(self._processes.memories)) is not None:
                return _arrays(memory, self.num_loaded, size), self._processes.load
            memory = _unused(self._memories)
            if memory is None:
                memory = np.empty(batch_bytes(self.num_loaded, size), np.uint8)
                self._memories.append(memory)
            return _arrays(memory, self.num_loaded, size), self._load_here

    def _load_here(self, task: Task, batch: Pair) -> None:
        images, labels = batch
        for position, index in task:
            self.crops.load(position, (images[index], labels[index]))


def batch_bytes(num_loaded: int, crop_size: tuple[int, int]) -> int:
    """Count the bytes that a batch of so many crops takes, wherever it begins."""
    return 4 * num_loaded * math.prod(crop_size) + 2 * _TENSOR_ALIGNMENT


def _arrays(memory: np.ndarray, num_loaded: int, crop_size: tuple[int, int]) -> Pair:
    """A batch's images, and behind them its labels."""
    pixels = num_loaded * math.prod(crop_size)
    first = -memory.ctypes.data % _TENSOR_ALIGNMENT
    second = first + math.ceil(3 * pixels / _TENSOR_ALIGNMENT) * _TENSOR_ALIGNMENT
    images = memory[first : first + 3 * pixels].reshape(num_loaded, *crop_size, 3)
    return images, memory[second : second + pixels].reshape(num_loaded, *crop_size)


def _unused(memories: list[np.ndarray]) -> np.ndarray | None:
    # An array in use refers to the memory that it is a part of; else the list, `each` and the call do.
    return next((each for each in memories if sys.getrefcount(each) == _UNUSED), None)
