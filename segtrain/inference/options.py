"""Values of `tta` and `tiles`. No TensorFlow."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from segtrain.errors import ConfigError, argument
from segtrain.suggest import did_you_mean

# The scales of `ms`: those of segmentation_models and mmsegmentation within 0.75-2; 0.5 lowered the scores on CamVid.
SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
MIN_SCALE, MAX_SCALE, MAX_SCALES = 0.05, 8.0, 32
MIN_TILE, MAX_TILE = 64, 16_384
AUTO_TILE, MIN_AUTO_TILE = 1024, 256  # pixels; scales above 1 lower it
AUTO_FROM = 1 << 22  # pixels of an image from which `tiles=auto` divides it


class Tta(NamedTuple):
    """Test-time augmentation.

    Attributes:
        scales: Factors of height and width; the class probabilities of all are averaged.
        flip: Also mirror each scaled image.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    @property
    def is_none(self) -> bool:
        """Whether only the image itself is predicted."""
        return self.scales == (1.0,) and not self.flip


NAMED = {
    "none": Tta(),
    "flip": Tta(flip=True),
    "ms": Tta(SCALES),
    "ms_flip": Tta(SCALES, flip=True),
}


def parse_tta(value: Any) -> Tta:
    """Return the test-time augmentation that a config value names.

    Args:
        value: "none", "flip", "ms" (scales 0.75 to 2), "ms_flip", or a mapping with `scales`, `flip` or both.

    Raises:
        ConfigError: It is none of these, or a scale is out of range.

    Example:
        >>> parse_tta({"scales": [0.5, 1], "flip": True})
        Tta(scales=(0.5, 1.0), flip=True)
    """
    if isinstance(value, Tta):
        return value
    if value is None or isinstance(value, str):
        if (found := NAMED.get(value or "none")) is None:
            raise ConfigError(
                f"{argument('tta')}={value}: expected {', '.join(NAMED)} or {{scales: [...], flip: true}}"
                f"{did_you_mean(str(value), NAMED)}. Fix: {argument('tta')}=flip"
            )
        return found
    known = isinstance(value, Mapping) and set(value) <= {"scales", "flip"} and value
    scales = value.get("scales", [1.0]) if known else None
    flip = value.get("flip", False) if known else None
    example = f"Fix: '{argument('tta')}={{scales: [0.75, 1.0, 1.25], flip: true}}'"
    if not isinstance(flip, bool) or not isinstance(scales, list | tuple) or not 1 <= len(scales) <= MAX_SCALES:
        raise ConfigError(
            f"{argument('tta')}={value}: expected {', '.join(NAMED)}, or scales (1 to {MAX_SCALES} numbers) and flip "
            f"(true or false). {example}"
        )
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not MIN_SCALE <= scale <= MAX_SCALE:
            raise ConfigError(
                f"{argument('tta.scales')}: {scale}, expected numbers from {MIN_SCALE} to {MAX_SCALE:g}. {example}"
            )
    return Tta(tuple(float(scale) for scale in scales), flip)


def parse_tiles(value: Any) -> int | str:
    """Return "auto", "off" or the side of a tile in pixels.

    Raises:
        ConfigError: It is none of these, or out of range.
    """
    if value in ("auto", "off") or value is None or value is False:  # YAML reads a bare off as false
        return value or "off"
    if isinstance(value, bool) or not isinstance(value, int) or not MIN_TILE <= value <= MAX_TILE:
        raise ConfigError(
            f"{argument('tiles')}={value}: expected auto, off, or the side of a tile from {MIN_TILE} to {MAX_TILE} "
            f"pixels. Fix: {argument('tiles')}={AUTO_TILE}"
        )
    return value
