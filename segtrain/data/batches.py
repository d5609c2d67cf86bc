"""Samples to tensors with tf.data: training batches by step, whole photographs one by one.

B batch, H height, W width.
"""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from segtrain.data.dataset import Dataset, Sample
from segtrain.data.loading import BatchLoader
from segtrain.errors import SegtrainError


class Batches:
    """Iterate a tf.data pipeline once; an error of a data thread arrives as the DataError that it was.

    Args:
        pipeline: What to iterate.
        failures: Where the pipeline's own functions leave the errors they raise, since TensorFlow hands on only text.
        num_batches: The length.
    """

    def __init__(self, pipeline: tf.data.Dataset, failures: list[SegtrainError], num_batches: int) -> None:
        self.pipeline = pipeline
        self._failures = failures
        self._num_batches = num_batches

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        try:
            yield from self.pipeline
        except tf.errors.OpError:
            if self._failures:
                raise self._failures[0] from None
            raise


def training_batches(loader: BatchLoader, first_step: int, last_step: int) -> Batches:
    """Batches of the training split, from `first_step` up to `last_step`, in order.

    Returns:
        Batches of (B, H, W, 3) uint8 RGB and (B, H, W) uint8 class ids.

    Raises:
        DataError: While iterating, whatever `Dataset.read` raises.
    """
    shape = (loader.num_loaded, *loader.crops.crop_size)
    return _batches(loader.batch, first_step, last_step, shape, at_once=loader.at_once)


def whole_images(dataset: Dataset, samples: list[Sample], workers: int = 2) -> Batches:
    """One photograph a batch at its own size, unchanged, in the order of `samples`: for validation and evaluation.

    Returns:
        Batches of (1, H, W, 3) uint8 RGB and (1, H, W) uint8 class ids.

    Raises:
        DataError: While iterating, whatever `Dataset.read` raises.
    """

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = dataset.read(samples[index])
        return image[None], labels[None]

    return _batches(load, 0, len(samples), (1, None, None), at_once=workers)


def _batches(
    load: Callable[[int], tuple[np.ndarray, np.ndarray]],
    first: int,
    last: int,
    shape: tuple[int | None, ...],
    *,
    at_once: int,
) -> Batches:
    """Map numbers to batches in order, keeping the errors that `load` raises."""
    failures: list[SegtrainError] = []

    def guarded(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return load(int(number))
        except SegtrainError as error:
            failures.append(error)
            raise

    def load_tensors(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One call a batch, not one a sample: fewer turns at Python's lock, and no copy into a batch.
        images, labels = tf.numpy_function(guarded, [number], (tf.uint8, tf.uint8), stateful=False)
        return tf.ensure_shape(images, (*shape, 3)), tf.ensure_shape(labels, shape)

    options = tf.data.Options()
    # Nothing here is left to tune, and giving up an iterator often waits half a second for its tuning thread.
    options.autotune.enabled = False
    # The map runs ahead by itself: one batch that waits for whoever takes it, beside those in the making.
    calls = at_once + 1
    pipeline = tf.data.Dataset.range(first, last).map(load_tensors, num_parallel_calls=calls, deterministic=True)
    return Batches(pipeline.with_options(options), failures, last - first)
