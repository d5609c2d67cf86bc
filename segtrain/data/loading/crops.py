"""Crops of a training run: sample order and augmentation are a function of (seed, epoch, sample).

Without a shuffle buffer or a running generator, a run that stops at a step can resume at that step with exactly
the crops that it would have had. No TensorFlow here; `loading` makes batches of them.

H height, W width.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import final

import numpy as np

from segtrain.data.augment import Augmentation
from segtrain.data.augment.augmentation import Pair, put
from segtrain.data.images.sample import Sample
from segtrain.errors import DataError

# Reads a sample whose image may be decoded at 1/2, 1/4 or 1/8 of its size: `Dataset.read`, or a cache of it.
Read = Callable[[Sample, int], Pair]

# Streams of random numbers: the first number of a key, different for each use.
_ORDER, _AUGMENT = 1, 2


@final
class Crops:
    """All crops of a training run, by position from the first; may be loaded in any order and thread.

    An epoch is `len(samples) // batch_size` batches; the few samples left over differ from epoch to epoch.

    Args:
        samples: All training samples.
        read: Reads a sample: `Dataset.read`, or a cache of it.
        augment: Augmentation of each sample; its result has `crop_size`.
        crop_size: Height and width that `augment` gives, in pixels.
        batch_size: Samples in a batch.
        seed: Random seed of order and augmentation.
        shuffle: Whether to shuffle each epoch; else the order of `samples`.

    Raises:
        DataError: There are fewer samples than one batch.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        read: Read,
        augment: Augmentation,
        *,
        crop_size: tuple[int, int],
        batch_size: int,
        seed: int,
        shuffle: bool = True,
    ) -> None:
        self.samples = samples
        self._read = read
        self._augment = augment
        self._reduction = getattr(augment, "reduction", None)
        self._write = getattr(augment, "write", None)
        self.crop_size = crop_size
        self.batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._samples_per_epoch = num_steps(samples, batch_size) * batch_size

    def load(self, position: int, out: Pair) -> None:
        """Write the crop at one position into (H, W, 3) and (H, W) uint8 arrays.

        Raises:
            DataError: Any error of `read`.
        """
        epoch, index = self._find(position)
        rng = np.random.default_rng(np.array([_AUGMENT, self._seed, epoch, index], np.uint32))
        reduction = 1
        if self._reduction is not None:
            beginning = rng.bit_generator.state
            reduction = self._reduction(rng)
            rng.bit_generator.state = beginning
        pair = self._read(self.samples[index], reduction)
        if self._write is not None:
            self._write(*pair, rng, self._another, out)
            return
        put(self._augment(*pair, rng, self._another), out)

    def crop(self, position: int) -> Pair:
        """Load the crop at one position into new arrays."""
        out = np.empty((*self.crop_size, 3), np.uint8), np.empty(self.crop_size, np.uint8)
        self.load(position, out)
        return out

    def sample(self, position: int) -> Sample:
        """Return the sample at one position."""
        return self.samples[self._find(position)[1]]

    def _find(self, position: int) -> tuple[int, int]:
        epoch, offset = divmod(position, self._samples_per_epoch)
        return epoch, int(_order(len(self.samples), self._seed, epoch)[offset]) if self._shuffle else offset

    def _another(self, rng: np.random.Generator) -> Pair:
        return self._read(self.samples[int(rng.integers(len(self.samples)))], 1)


def num_steps(samples: Sequence[Sample], batch_size: int) -> int:
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


def spread(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    """Take `limit` samples, evenly spread; all if there are not more, or if `limit` is None."""
    if limit is None or limit >= len(samples):
        return list(samples)
    return [samples[int(index)] for index in np.linspace(0, len(samples) - 1, limit)]


@lru_cache(maxsize=4)
def _order(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(num_samples)
