"""Samples to tensors: training batches by step, full-size images one by one.

Python threads load ahead, not tf.data: its threads cannot be interrupted while a read hangs, and when they call into
Python as the interpreter exits, the process aborts ("terminate called without an active exception").

B batch, H height, W width.
"""

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import tensorflow as tf

from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.loading.batch_loader import BatchLoader
from segtrain.data.loading.retries import retrying
from segtrain.process.threads import Threads

_SECONDS_BETWEEN_POLLS = 0.2


def ignore_wait() -> None:
    """Do nothing while a batch is awaited."""


@final
class Batches:
    """Iterate once over tensors that threads load ahead, in order; a context manager that ends the threads.

    Args:
        load: Loads the arrays of one number.
        first: The first number.
        last: The number after the last.
        ahead: How many are loaded at a time.
        poll: Called several times a second while a batch is awaited, in the thread that iterates; may raise.
    """

    def __init__(
        self,
        load: Callable[[int], tuple[np.ndarray, np.ndarray]],
        first: int,
        last: int,
        *,
        ahead: int,
        poll: Callable[[], None] = ignore_wait,
    ) -> None:
        self._load = load
        self._numbers = range(first, last)
        self._ahead = ahead
        self._poll = poll
        self._threads: Threads | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.close()

    def __iter__(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        self._threads = threads = Threads(min(self._ahead, max(1, len(self))), "segtrain-batch")
        numbers = iter(self._numbers)
        try:
            pending = deque(threads.submit(self._tensors, number) for number in islice(numbers, self._ahead))
            while pending:
                tensors = self._wait_for(pending.popleft())
                pending.extend(threads.submit(self._tensors, number) for number in islice(numbers, 1))
                yield tensors
                del tensors
        finally:
            threads.close()

    def _wait_for(self, future: concurrent.futures.Future[Any]) -> tuple[tf.Tensor, tf.Tensor]:
        # Waiting in Python, a slice at a time, lets signal handlers run.
        while not concurrent.futures.wait([future], _SECONDS_BETWEEN_POLLS).done:
            self._poll()
        if error := future.exception():
            raise error from None
        found: tuple[tf.Tensor, tf.Tensor] = future.result()
        return found

    def _tensors(self, number: int) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = self._load(number)
        return tf.convert_to_tensor(images), tf.convert_to_tensor(labels)


def training_batches(
    loader: BatchLoader, first_step: int, last_step: int, poll: Callable[[], None] = ignore_wait
) -> Batches:
    """Batches of the training split, from `first_step` up to `last_step`, in order.

    Args:
        loader: Loads a batch by its step.
        first_step: Step of the first batch.
        last_step: The step after the last batch's.
        poll: See `Batches`.

    Returns:
        Batches of (B, H, W, 3) uint8 RGB and (B, H, W) uint8 class ids.

    Raises:
        DataError: While iterating, any error of `Dataset.read`.
    """
    return Batches(loader.batch, first_step, last_step, ahead=loader.at_once + 1, poll=poll)


def whole_images(
    dataset: Dataset, samples: list[Sample], workers: int = 2, poll: Callable[[], None] = ignore_wait
) -> Batches:
    """One image a batch at its own size, unchanged, in the order of `samples`: for validation and evaluation.

    Args:
        dataset: Reads the samples.
        samples: What to read.
        workers: Images that are read at a time, in addition to one that waits.
        poll: See `Batches`.

    Returns:
        Batches of (1, H, W, 3) uint8 RGB and (1, H, W) uint8 class ids.

    Raises:
        DataError: While iterating, any error of `Dataset.read`.
    """
    read = retrying(dataset.read)

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = read(samples[index], 1)
        return image[None], labels[None]

    return Batches(load, 0, len(samples), ahead=workers + 1, poll=poll)
