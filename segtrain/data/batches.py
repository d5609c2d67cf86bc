"""Samples to batches with tf.data: which sample comes when, and how it is changed, follows from (seed, epoch, sample).

There is no shuffle buffer and no generator that runs on: a training that stops at a step can go on at that step with
the very batches that it would have seen.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import tensorflow as tf

from segtrain.data.augment import Augmentation
from segtrain.data.dataset import Dataset, Sample
from segtrain.errors import DataError, SegtrainError

# Streams of random numbers; the first number of a key, so that no two uses share one.
_ORDER, _AUGMENT = 1, 2


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


def training_batches(
    dataset: Dataset,
    augment: Augmentation,
    *,
    crop_size: tuple[int, int],
    batch_size: int,
    seed: int,
    first_step: int,
    last_step: int,
    shuffle: bool = True,
    workers: int = 2,
) -> Batches:
    """Batches of the training split, from `first_step` up to `last_step`.

    An epoch is `len(samples) // batch_size` steps; the few samples left over differ from epoch to epoch.

    Returns:
        Batches of (B, H, W, 3) uint8 RGB and (B, H, W) uint8 class ids.

    Raises:
        DataError: There are fewer samples than one batch; while iterating, whatever `Dataset.read` raises.
    """
    samples = dataset.samples("train")
    steps_per_epoch = num_steps(samples, batch_size)
    samples_per_epoch = steps_per_epoch * batch_size

    def load(position: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(position, samples_per_epoch)
        index = int(_order(len(samples), seed, epoch)[place]) if shuffle else place
        image, labels = dataset.read(samples[index])
        return augment(image, labels, np.random.default_rng([_AUGMENT, seed, epoch, index]))

    pipeline, failures = _pipeline(load, first_step * batch_size, last_step * batch_size, workers)

    def with_shape(image: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.ensure_shape(image, (*crop_size, 3)), tf.ensure_shape(labels, crop_size)

    pipeline = pipeline.map(with_shape).batch(batch_size, drop_remainder=True).prefetch(4)
    return Batches(pipeline, failures, last_step - first_step)


def whole_images(dataset: Dataset, samples: list[Sample], workers: int = 2) -> Batches:
    """One photograph a batch at its own size, unchanged, in the order of `samples`: for validation and evaluation.

    Returns:
        Batches of (1, H, W, 3) uint8 RGB and (1, H, W) uint8 class ids.

    Raises:
        DataError: While iterating, whatever `Dataset.read` raises.
    """
    pipeline, failures = _pipeline(lambda index: dataset.read(samples[index]), 0, len(samples), workers)
    return Batches(pipeline.batch(1).prefetch(4), failures, len(samples))


def num_steps(samples: list[Sample], batch_size: int) -> int:
    """Count the steps of an epoch.

    Raises:
        DataError: There are fewer samples than one batch.
    """
    if len(samples) < batch_size:
        raise DataError(
            f"split 'train': {len(samples)} samples, expected at least one batch of batch_size={batch_size}. Fix: "
            f"batch_size={len(samples)}"
        )
    return len(samples) // batch_size


def _pipeline(
    load: Callable[[int], tuple[np.ndarray, np.ndarray]], first: int, last: int, workers: int
) -> tuple[tf.data.Dataset, list[SegtrainError]]:
    """Map positions to pairs in `workers` threads, in order, keeping the errors that `load` raises."""
    failures: list[SegtrainError] = []

    def guarded(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return load(int(position))
        except SegtrainError as error:
            failures.append(error)
            raise

    def load_tensors(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, labels = tf.numpy_function(guarded, [position], (tf.uint8, tf.uint8), stateful=False)
        return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(labels, (None, None))

    pipeline = tf.data.Dataset.range(first, last).map(load_tensors, num_parallel_calls=workers, deterministic=True)
    return pipeline, failures


@lru_cache(maxsize=4)
def _order(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(num_samples)
