"""Findings about sizes, in themselves and against the training crop."""

from collections.abc import Iterator

import numpy as np

from segtrain.data.audit.finding import Case, Evidence, Finding, images

_TINY = 16  # pixels: the usual output stride, at which a network computes a single position
_LONG = 5.0  # sides to each other
_VARYING = 4.0  # the largest image's longer side to the smallest's
_SMALL_CROP = 0.05  # of the image's area
_MANY_SMALLER = 0.25


def tiny_images(evidence: Evidence) -> Iterator[Finding]:
    """Images that a deep network reduces to a single position."""
    for split, records in evidence.records.items():
        found = [each for each in records if each.image_size and min(each.image_size) < _TINY]
        if found:
            yield Finding(
                "image-tiny",
                "warning",
                f"images with a side below {_TINY} pixels",
                "look at them; they may be thumbnails or cut-outs that went wrong",
                split,
                tuple(Case(each.image, _shown(each.image_size)) for each in found),
            )


def long_images(evidence: Evidence) -> Iterator[Finding]:
    """Extreme aspect ratios, such as strips."""
    for split, records in evidence.records.items():
        sized = [(each, each.image_size) for each in records if each.image_size]
        if found := [(each, size) for each, size in sized if max(size) > _LONG * min(size) and min(size) >= _TINY]:
            yield Finding(
                "aspect-extreme",
                "warning",
                f"images more than {_LONG:g} times as long as wide",
                "look at them; cut them into pieces if they are right",
                split,
                tuple(Case(each.image, _shown(size)) for each, size in found),
            )


def varying_sizes(evidence: Evidence) -> Iterator[Finding]:
    """Images of very different sizes, in which the same things have very different sizes too."""
    sized = [(max(each.image_size), each.image) for each in evidence.every_record if each.image_size]
    if sized and max(sized)[0] > _VARYING * min(sized)[0]:
        (small, smallest), (large, largest) = min(sized), max(sized)
        yield Finding(
            "sizes-vary",
            "note",
            f"longer sides from {small} to {large} pixels",
            "resize the images to one longer side if the same things differ as much in size",
            cases=(Case(smallest, f"{small} pixels"), Case(largest, f"{large} pixels")),
        )


def crop_against_images(evidence: Evidence) -> Iterator[Finding]:
    """Crops that are mostly padding, or see next to nothing of an image."""
    sizes = np.array([each.image_size for each in evidence.records.get("train", ()) if each.image_size])
    if evidence.crop_size is None or not len(sizes):
        return
    crop = np.array(evidence.crop_size)
    written = f"crop_size {crop[0]}x{crop[1]}"
    padding = 1 - np.minimum(sizes, crop).prod(axis=1) / crop.prod()
    median = np.median(sizes, axis=0).astype(int)
    smaller = int((sizes < crop).any(axis=1).sum())
    fix = f"crop_size=[{median[0]},{median[1]}] is the median image"
    if np.median(padding) > 0.5:
        yield Finding(
            "crop-mostly-padding",
            "warning",
            f"{written} is {np.median(padding):.0%} padding around the median image ({_shown(tuple(median))})",
            fix,
            "train",
        )
    elif smaller >= _MANY_SMALLER * len(sizes):
        yield Finding(
            "crop-larger",
            "note",
            f"{written} reaches beyond {smaller} of {images(len(sizes))} (at scale 1)",
            f"{fix}; padding costs time and teaches nothing",
            "train",
        )
    if np.median(crop.prod() / sizes.prod(axis=1)) < _SMALL_CROP:
        yield Finding(
            "crop-small",
            "note",
            f"{written} shows {np.median(crop.prod() / sizes.prod(axis=1)):.1%} of the median image "
            f"({_shown(tuple(median))})",
            "a larger crop, or smaller scales in the augmentation, if things need their surroundings",
            "train",
        )


def _shown(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]} (HxW)" if size else ""
