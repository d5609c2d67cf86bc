"""The augmentation protocol, and helpers that all augmentations use."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from segtrain.errors import ConfigError, argument

# (H, W, 3) uint8 RGB and (H, W) uint8 class ids.
Pair = tuple[np.ndarray, np.ndarray]
# Draws another training sample by the given generator and reads it, without augmentation.
OtherSample = Callable[[np.random.Generator], Pair]

# Color of crops beyond the image's edge: ImageNet's mean color, near zero after any normalization.
PADDING_COLOR = (124, 116, 104)


class Augmentation(Protocol):
    """A random change to an image and its labels together.

    All randomness comes from `rng`, which `loading` keys by seed, epoch and sample; the arguments are not modified.
    The first augmentation returns both at the crop's size, and steps after it keep that size.
    The first may have two more methods, `reduction` and `write`: see `ScaleCropFlip`.
    """

    def __call__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        draw_other_sample: OtherSample | None = None,
    ) -> Pair: ...


def run_steps(
    steps: Mapping[str, Augmentation],
    pair: Pair,
    rng: np.random.Generator,
    draw_other_sample: OtherSample | None,
    crop: Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair],
) -> Pair:
    """Change a crop by each step in turn.

    Args:
        steps: The steps by name, in order.
        pair: The crop.
        rng: Random generator, passed to each step.
        draw_other_sample: Draws and reads another sample; None if not available.
        crop: Function that made the crop; applied to another sample before a step gets it.
    """
    draw_crop = None if draw_other_sample is None else lambda rng: crop(*draw_other_sample(rng), rng)
    for step in steps.values():
        pair = step(*pair, rng, draw_crop)
    return pair


def put(pair: Pair, out: Pair) -> None:
    """Write an image and its labels into other arrays, unless they are the same arrays.

    Raises:
        ValueError: They are of another size.
    """
    for given, wanted in zip(pair, out, strict=True):
        if given.shape != wanted.shape:
            raise ValueError(f"augmentation gave {given.shape}, expected {wanted.shape}, as crop_size asks for")
        if given is not wanted:
            wanted[...] = given


def mirrored_classes(flip_pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Table of each id's replacement in a mirrored image, (256,) uint8."""
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
