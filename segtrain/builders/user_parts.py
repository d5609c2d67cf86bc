"""Requirements on what parts return: a user's part of another kind is one line that names its key.

Parts of segtrain and Keras are what they are; others are tried on a few pixels before any data is read.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from segtrain.config import raised
from segtrain.data.augment import Augmentation
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.errors import ConfigError, DataError, SegtrainError, naming
from segtrain.evaluation import Metric

_SIZE = 64  # of the image that a user's augmentation is tried on, in pixels


def is_own(part: Any) -> bool:
    """Whether a part is segtrain's or Keras', not a user's."""
    kind = part if callable(part) and hasattr(part, "__module__") and not hasattr(part, "__self__") else type(part)
    return str(getattr(kind, "__module__", "")).partition(".")[0] in ("segtrain", "keras")


def require_kind(part: Any, kind: type | tuple[type, ...], key: str, expected: str) -> Any:
    """Return a part that is of a kind.

    Raises:
        ConfigError: It is another.
    """
    if not isinstance(part, kind):
        raise ConfigError(
            f"{key}: it returns {_kind(part)}, expected {expected}. Fix: correct the part that {key} names"
        )
    return part


@contextmanager
def blamed_on(key: str, part: Any) -> Iterator[None]:
    """Make of what a user's part raises one line that names its key and the line in its file.

    Raises:
        ConfigError: It raises.
    """
    try:
        yield
    except SegtrainError:
        raise
    except Exception as error:
        if is_own(part):
            raise
        raise ConfigError(raised(key, error)) from error


def require_augmentation(augment: Any, key: str, size: tuple[int, int] | None = None) -> Augmentation:
    """Return an augmentation that makes a crop and its labels of equal size, as bytes.

    Args:
        augment: Built.
        key: Of its node.
        size: Height and width that it must give; None where it must keep those that it is given.

    Raises:
        ConfigError: It is not an augmentation.
    """
    if not callable(augment):
        raise ConfigError(
            f"{key}: it returns {_kind(augment)}, expected a callable (image, labels, rng, draw_other_sample). "
            f"Fix: correct the part"
        )
    if is_own(augment):
        return augment
    image, labels = np.zeros((_SIZE, _SIZE, 3), np.uint8), np.zeros((_SIZE, _SIZE), np.uint8)
    with blamed_on(key, augment):
        result: Any = augment(image, labels, np.random.default_rng(0), lambda rng: (image.copy(), labels.copy()))
    height, width = size or labels.shape
    if not _is_pair(result) or result[1].shape != (height, width):
        raise ConfigError(
            f"{key}: it gives {_shapes(result)}, expected ({height}, {width}, 3) uint8 and ({height}, {width}) uint8. "
            f"Fix: correct the part"
        )
    return augment


def require_samples(dataset: Dataset, split: str, key: str = "split") -> list[Sample]:
    """List the samples of a split; the first of a user's dataset is read, to see whether it is a sample.

    Args:
        dataset: Lists them.
        split: Its name.
        key: The root key that gives the name, for the fix.

    Raises:
        ConfigError: The dataset gives something else.
        DataError: As `Dataset.samples`.
    """
    with naming("dataset"), blamed_on("dataset", dataset):
        try:
            samples = dataset.samples(split)
        except DataError as error:
            if key == "split" or "Fix: split=" not in str(error):
                raise
            raise type(error)(error.message.replace("Fix: split=", f"Fix: {key}=")) from error
        if is_own(dataset):
            return samples
        if not isinstance(samples, list) or not all(isinstance(each, Sample) for each in samples):
            raise ConfigError(
                f"dataset: samples({split!r}) gives {_kind(samples)}, expected a list of "
                f"segtrain.data.Sample. Fix: correct it"
            )
        for sample in samples[:1]:
            _require_sample(dataset.read(sample), sample)
    return samples


def _require_sample(pair: Any, sample: Sample) -> None:
    if not _is_pair(pair):
        raise ConfigError(
            f"dataset: read of {sample.name} gives {_shapes(pair)}, expected (H, W, 3) uint8 and (H, W) uint8. "
            f"Fix: correct it"
        )


def require_loss(loss: Any, key: str, num_logits: int, num_classes: int) -> Any:
    """Return a loss that makes one finite number of labels and logits; segtrain's own are not tried.

    Raises:
        ConfigError: It does not.
    """
    if not callable(loss):
        raise ConfigError(
            f"{key}: it returns {_kind(loss)}, expected a call of labels and logits. Fix: correct the part"
        )
    if type(loss).__module__.startswith("segtrain."):
        return loss
    generator = np.random.default_rng(0)
    labels = generator.integers(0, num_classes, (2, 4, 4), np.int32)
    logits = generator.normal(size=(2, 4, 4, num_logits)).astype(np.float32)
    try:
        value = np.asarray(loss(labels, logits))
    except SegtrainError:
        raise
    except Exception as error:
        raise ConfigError(raised(key, error)) from error
    if value.shape != () or value.dtype.kind != "f":
        raise ConfigError(
            f"{key}: of labels (2, 4, 4) and logits {logits.shape} it gives {value.dtype} {value.shape}, expected one "
            f"float. Fix: correct the part, or reduce it to the mean over the batch"
        )
    return loss


def require_metric(metric: Any, key: str, num_classes: int) -> Metric:
    """Return a metric that turns an image into scores by name; segtrain's own are not tried.

    Raises:
        ConfigError: It is another kind of object, raises, or reports something other than numbers by name.
    """
    require_kind(metric, Metric, key, "a segtrain.evaluation.Metric")
    if is_own(metric):
        return metric
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, num_classes, (2, 8, 8)).astype(np.uint8)
    with blamed_on(key, metric):
        tried = copy.deepcopy(metric)
        before = dict(tried.result())
        tried.update(labels, predicted, generator.normal(size=(8, 8, num_classes)).astype(np.float32))
        after = dict(tried.result())
    numbers = all(isinstance(name, str) and isinstance(value, Real) for name, value in after.items())
    if not after or not numbers or list(before) != list(after):
        raise ConfigError(
            f"{key}: result gives {list(before)} before any image and {after} after one, expected the same names, of "
            f"numbers. Fix: correct the part"
        )
    return metric


def require_logits(output: Any, key: str, channels: int | None) -> Any:
    """Return a network's output that is a map of logits.

    Args:
        output: A symbolic tensor.
        key: Of what has made it.
        channels: How many logits a pixel there must be; None for any number.

    Raises:
        ConfigError: It is not a map of logits.
    """
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 4 or (channels is not None and shape[-1] != channels):
        seen = _kind(output) if shape is None else str(tuple(shape))
        wanted = "C" if channels is None else channels
        raise ConfigError(f"{key}: it gives {seen}, expected logits (B, H, W, {wanted}). Fix: correct the part")
    return output


def _kind(value: Any) -> str:
    return "nothing (None)" if value is None else f"a {type(value).__name__}"


def _is_pair(pair: Any) -> bool:
    """Whether it is an image, (H, W, 3) uint8, and labels of its size, (H, W) uint8."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return False
    image, labels = pair
    are_bytes = all(isinstance(each, np.ndarray) and each.dtype == np.uint8 for each in pair)
    return are_bytes and labels.ndim == 2 and image.shape == (*labels.shape, 3)


def _shapes(result: Any) -> str:
    if not isinstance(result, tuple | list):
        return _kind(result)
    listed = (f"{each.shape} {each.dtype}" if isinstance(each, np.ndarray) else _kind(each) for each in result)
    return ", ".join(listed) or "nothing"
