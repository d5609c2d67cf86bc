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

# TensorFlow takes an array over as it is where it begins at a multiple of this many bytes, and copies it elsewhere.
_TENSOR_ALIGNMENT = 64
_UNUSED = 3  # references to a memory that only its list, a loop over that and `getrefcount` know

# The positions of crops, and the place of each in its batch.
Task = Sequence[tuple[int, int]]


@final
class BatchLoader:
    """Load any training batch by its step, its crops side by side: in threads, or in processes.

    Args:
        crops: All crops of the training.
        workers: Threads, or as many as there are processes.
        places: Which crops of a batch are loaded here, in this order; all where None. Others load the rest.
        processes: Who loads them instead of threads of this process; these still do while no shared memory is free.

    Attributes:
        num_loaded: How many of a batch are loaded here.
        at_once: How many batches to ask for at a time, so that no worker waits for the last crops of one.
    """

    def __init__(
        self,
        crops: Crops,
        *,
        workers: int = 2,
        places: Sequence[int] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.crops = crops
        self._places = range(crops.batch_size) if places is None else places
        self.num_loaded = len(self._places)
        self.at_once = 1 + math.ceil(workers / self.num_loaded)
        self._threads = Threads(workers, "segtrain-loader")
        self._processes = processes
        # One message to each process is less work than one a crop.
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
        wanted = [(first + each, place) for place, each in enumerate(self._places)]
        tasks = [wanted[start : start + self._crops_a_task] for start in range(0, len(wanted), self._crops_a_task)]
        for loaded in [self._threads.submit(load, task, batch) for task in tasks]:
            loaded.result()
        return batch

    def names(self, step: int) -> list[str]:
        """Name the samples of the batch of one step."""
        first = step * self.crops.batch_size
        return [self.crops.sample(first + place).name for place in range(self.crops.batch_size)]

    def close(self) -> None:
        """End processes and threads; what they have not loaded is canceled."""
        if self._processes is not None:
            self._processes.close()
        self._threads.close()

    def _room(self) -> tuple[Pair, Callable[[Task, Pair], None]]:
        """Find memory that is no part of a batch in use, by the caller or in a tensor, and who can write there.

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
        for position, place in task:
            self.crops.load(position, (images[place], labels[place]))


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
