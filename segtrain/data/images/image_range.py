"""Images of 10 to 14 bits in 16-bit files: nearly black once the upper eight bits are kept, unless a range is given."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from segtrain.errors import ConfigError, argument
from segtrain.shell import setting

FULL = 65535
_SLIVER, PART = 2**12, 2**14  # values below them leave 16 and 64 of 256 levels
_MANY = 0.2  # fraction of images in a sliver above which they are not merely dark frames

Range = tuple[int, int]


class Verdict(NamedTuple):
    """Meaning of the value ranges of 16-bit images.

    Attributes:
        severity: "error" where all images are below 4096, "warning" where many are, or all below 16384.
        text: What was found and expected.
        fix: The key to give.
    """

    severity: Literal["error", "warning"]
    text: str
    fix: str


def checked_range(image_range: Sequence[int] | None) -> Range | None:
    """Check the range of a dataset.

    Raises:
        ConfigError: It is not two numbers of 0..65535, the lower first.
    """
    if image_range is None:
        return None
    given = list(image_range)
    if len(given) != 2 or not all(type(each) is int for each in given) or not 0 <= given[0] < given[1] <= FULL:
        raise ConfigError(
            f"{argument('image_range')}={given}: expected the darkest and the brightest value of 16-bit images, "
            f"0..{FULL}. Fix: {setting(argument('image_range'), [0, 4095])} for 12 bits"
        )
    return given[0], given[1]


def to_bytes(values: np.ndarray, image_range: Range) -> np.ndarray:
    """Scale 16-bit values linearly to 0..255, rounded; what is beyond the range is 0 or 255."""
    low, high = image_range
    steps = np.arange(FULL + 1, dtype=np.float64)
    table = ((steps - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)
    return table[values]


def judge(ranges: Sequence[Range], key: str = argument("image_range")) -> Verdict | None:
    """Judge the stored ranges of 16-bit images that are read without `image_range`; None where nothing is odd.

    A single dark frame among bright ones is right: only all of them, or many, show another depth than the file's.

    Args:
        ranges: Lowest and highest value of each image.
        key: Of the range to give.
    """
    if not ranges:
        return None
    low, high = min(each[0] for each in ranges), max(each[1] for each in ranges)
    dark = [each for each in ranges if each[1] < _SLIVER]
    everything = len(dark) == len(ranges)
    if high >= PART and len(dark) < max(2, _MANY * len(ranges)):
        return None
    seen = f"{len(ranges)} of {len(ranges)}"
    if high >= PART:
        low, high = min(each[0] for each in dark), max(each[1] for each in dark)
        seen = f"{len(dark)} of {len(ranges)}"
    depth = max(8, high.bit_length())
    text = (
        f"{seen} 16-bit images hold values {low}..{high} of 0..{FULL}, as of {depth} bits: the network sees "
        f"{low >> 8}..{high >> 8} of 0..255"
    )
    fix = f"{setting(key, [0, 2**depth - 1])}, or {setting(key, [0, FULL])} where the images are to be that dark"
    return Verdict("error" if everything else "warning", text, fix)
