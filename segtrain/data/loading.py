"""Training batches as NumPy arrays: which sample comes when, and how it is changed, follows from (seed, epoch, sample).

There is no shuffle buffer and no generator that runs on: a training that stops at a step can go on at that step with
the very batches that it would have seen. No TensorFlow here; `batches` puts this into tf.data.

B batch, H height, W width.
"""

import math
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from segtrain.data.augment import Augmentation
from segtrain.data.augment.augmentation import Pair
from segtrain.data.dataset import Sample
from segtrain.errors import DataError

# Reads a sample whose photograph may be decoded at 1/2, 1/4 or 1/8 of its size: `Dataset.read`, or a cache of it.
Read = Callable[[Sample, int], Pair]

# Streams of random numbers; the first number of a key, so that no two uses share one.
_ORDER, _AUGMENT = 1, 2
# TensorFlow takes an array over as it is where it begins at a multiple of this many bytes, and copies it elsewhere.
_TENSOR_ALIGNMENT = 64
_UNUSED = 3  # references to a memory that only its list, a loop over that and `getrefcount` know


class BatchLoader:
    """Load any training batch by its step, the samples of a batch side by side in threads.

    An epoch is `len(samples) // batch_size` steps; the few samples left over differ from epoch to epoch.

    Args:
        samples: All that there is to train on.
        read: See `Read`.
        augment: What happens to each.
        crop_size: Height and width that `augment` gives, in pixels.
        batch_size: Samples in a batch.
        seed: Of order and augmentation.
        shuffle: Whether each epoch has an order of its own, or the list's.
        workers: Threads.
        places: Which samples of a batch are loaded here, in this order; all where None. Others load the rest.

    Attributes:
        num_loaded: How many of a batch are loaded here.

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
        workers: int = 2,
        places: Sequence[int] | None = None,
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
        self._places = range(batch_size) if places is None else places
        self.num_loaded = len(self._places)
        self._pool = ThreadPoolExecutor(workers, "segtrain-loader")
        self._arrays = _Arrays()

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Load the batch of one step; may be called from several threads at once.

        Returns:
            (B, H, W, 3) uint8 RGB and (B, H, W) uint8 class ids, B the samples that are loaded here.

        Raises:
            DataError: Whatever `read` raises.
        """
        shape = (self.num_loaded, *self.crop_size)
        images, labels = self._arrays.take((*shape, 3)), self._arrays.take(shape)
        first = step * self.batch_size

        def fill(place: int) -> None:
            self._load(first + self._places[place], (images[place], labels[place]))

        for _ in self._pool.map(fill, range(self.num_loaded)):
            pass
        return images, labels

    def crop(self, position: int) -> Pair:
        """Load the crop at one position, counted from the training's first sample: (H, W, 3) and (H, W)."""
        out = np.empty((*self.crop_size, 3), np.uint8), np.empty(self.crop_size, np.uint8)
        self._load(position, out)
        return out

    def _load(self, position: int, out: Pair) -> None:
        epoch, index = self._find(position)
        key = [_AUGMENT, self._seed, epoch, index]
        rng = np.random.default_rng(key)
        reduction = 1
        if self._reduction is not None:
            beginning = rng.bit_generator.state
            reduction = self._reduction(rng)
            rng.bit_generator.state = beginning
        pair = self._read(self.samples[index], reduction)
        if self._write is not None:
            self._write(*pair, rng, self._another, out)
            return
        image, labels = self._augment(*pair, rng, self._another)
        if image.shape != out[0].shape or labels.shape != out[1].shape:
            raise ValueError(f"augmentation gave {image.shape} and {labels.shape}, expected crops of {self.crop_size}")
        out[0][...], out[1][...] = image, labels

    def names(self, step: int) -> list[str]:
        """Name the samples of the batch of one step."""
        first = step * self.batch_size
        return [self.samples[self._find(first + place)[1]].name for place in range(self.batch_size)]

    def _find(self, position: int) -> tuple[int, int]:
        epoch, place = divmod(position, self._samples_per_epoch)
        return epoch, int(_order(len(self.samples), self._seed, epoch)[place]) if self._shuffle else place

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
    """Take so many samples, spread over all of them; all where there are no more, or `limit` is None."""
    if limit is None or limit >= len(samples):
        return list(samples)
    return [samples[int(place)] for place in np.linspace(0, len(samples) - 1, limit)]


@lru_cache(maxsize=4)
def _order(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(num_samples)


class _Arrays:
    """Arrays of bytes that TensorFlow need not copy, and that are used again once nobody holds them.

    A fresh batch is a tenth of a loader's work: the system clears its memory first, page by page.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memories: dict[int, list[np.ndarray]] = {}

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of any content that is no part of one in use, by the caller or in a tensor."""
        size = math.prod(shape)
        with self._lock:
            known = self._memories.setdefault(size, [])
            # An array in use refers to the memory that it is a part of; else the list, `each` and the call do.
            memory = next((each for each in known if sys.getrefcount(each) == _UNUSED), None)
            if memory is None:
                memory = np.empty(size + _TENSOR_ALIGNMENT, np.uint8)
                known.append(memory)
            first = -memory.ctypes.data % _TENSOR_ALIGNMENT
            return memory[first : first + size].reshape(shape)
