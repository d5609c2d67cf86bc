"""What an augmentation is, and what all of them share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from segtrain.errors import ConfigError, argument

# (H, W, 3) uint8 RGB and (H, W) uint8 class ids.
Pair = tuple[np.ndarray, np.ndarray]
# Reads another training sample, drawn by the generator it is handed, as it lies on the disk.
Another = Callable[[np.random.Generator], Pair]

# What crops show beyond the image's edge: ImageNet's mean color, near zero after any normalization.
PADDING_COLOR = (124, 116, 104)


class Augmentation(Protocol):
    """A random change to an image and its labels together.

    All randomness comes from `rng`, which `loading` keys by seed, epoch and sample; what is handed over is left as it
    was. The first of a training gives both at the crop's size; a step behind it finds and leaves them there.
    The first may have two more methods, `reduction` and `write`: see `ScaleCropFlip`.
    """

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, another: Another | None = None
    ) -> Pair: ...


def run_steps(
    steps: Mapping[str, Augmentation],
    pair: Pair,
    rng: np.random.Generator,
    another: Another | None,
    crop: Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair],
) -> Pair:
    """Change a crop by each step in turn.

    Args:
        steps: By name, in their order.
        pair: The crop.
        rng: Handed to each.
        another: Reads another sample.
        crop: What made the crop; it does the same to another sample before a step sees it.
    """
    another_crop = None if another is None else lambda rng: crop(*another(rng), rng)
    for step in steps.values():
        pair = step(*pair, rng, another_crop)
    return pair


def put(pair: Pair, out: Pair) -> None:
    """Write an image and its labels into other arrays, where they are not these already.

    Raises:
        ValueError: They are of another size.
    """
    for given, wanted in zip(pair, out, strict=True):
        if given.shape != wanted.shape:
            raise ValueError(f"augmentation gave {given.shape}, expected {wanted.shape}, as crop_size asks for")
        if given is not wanted:
            wanted[...] = given


def mirrored_classes(flip_pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Tabulate what each id becomes in a mirrored image, (256,) uint8."""
    table = np.arange(256, dtype=np.uint8)
    for left, right in flip_pairs:
        table[left], table[right] = right, left
    return table


def require_range(key: str, value: Sequence[float], example: str) -> tuple[float, float]:
    """Return `value` if it is a smallest and a largest number.

    Raises:
        ConfigError: It is not.
    """
    if len(value) != 2 or value[0] > value[1]:
        raise ConfigError(f"{argument(key)}={list(value)}: expected the smallest and the largest, as {example}")
    return value[0], value[1]
