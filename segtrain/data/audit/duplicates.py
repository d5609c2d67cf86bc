"""Images that are the same or nearly so: by the hash of their pixels, and by what they show.

Pairs are found by sorting, never by comparing all with all: 20,000 images take well below a second.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segtrain.data.audit.record import THUMBNAIL, Record

MOST_BITS = 2  # of 64 that may differ in near duplicates
_THIRDS = 3  # of two hashes that differ in at most two bits, one third of the bits is equal, and one third of the rest
# Gray thumbnails of near duplicates must correlate too: a 64-bit hash alone confuses dark scenes.
_MIN_CORRELATION = 0.98
_MIN_CONTRAST = 4.0  # standard deviation of a miniature in gray levels, below which its hash is noise
# N similar frames have N^2 pairs; more than this would not be read.
MOST_PAIRS = 100_000


class Pair(NamedTuple):
    """Indices of two images in the list that was searched."""

    first: int
    second: int


def same_pixels(records: Sequence[Record]) -> list[list[int]]:
    """Group the indices of records whose images have equal pixels; only groups of two or more."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if record.pixels:
            groups[record.pixels].append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(records: Sequence[Record], *, mirrored: bool = False) -> list[Pair]:
    """Find images that show the same, at another size, quality or brightness, but are not equal.

    Args:
        records: All in which to look.
        mirrored: Find each image's mirror image instead.

    Returns:
        Pairs of indices into `records`, sorted, at most `MOST_PAIRS`.
    """
    miniatures = _miniatures(records)
    usable = miniatures.std(axis=(1, 2)) >= _MIN_CONTRAST
    # One of each group of equals stands for all.
    first_of: dict[str, int] = {}
    for index, record in enumerate(records):
        first_of.setdefault(record.pixels, index)
    indices = np.array(sorted(index for digest, index in first_of.items() if digest and usable[index]), np.int64)
    if len(indices) < 2:
        return []
    hashes = np.array([records[index].difference_hash for index in indices], np.uint64)
    others = _mirrored(hashes) if mirrored else hashes
    candidates = _candidates(hashes, others)
    flat = miniatures[indices].astype(np.float32)
    turned = flat[:, :, ::-1] if mirrored else flat
    alike = _correlations(flat.reshape(len(indices), -1), turned.reshape(len(indices), -1), candidates)
    found = indices[candidates[alike >= _MIN_CORRELATION]]
    pairs = {Pair(int(min(one, other)), int(max(one, other))) for one, other in found if one != other}
    return sorted(pairs)[:MOST_PAIRS]


def _miniatures(records: Sequence[Record]) -> np.ndarray:
    blank = bytes(THUMBNAIL * THUMBNAIL)
    data = b"".join(record.thumbnail or blank for record in records)
    return np.frombuffer(data, np.uint8).reshape(len(records), THUMBNAIL, THUMBNAIL)


def _mirrored(hashes: np.ndarray) -> np.ndarray:
    """Hash of each mirror image: the steps in reverse order, up for down (where no two neighbors are equal)."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8)).reshape(-1, 8, 8)
    return np.packbits(1 - bits[:, :, ::-1]).view(">u8").astype(np.uint64)


def _masks() -> list[np.uint64]:
    """Nine choices of about 35 bits; hashes that differ in at most `MOST_BITS` agree in all bits of one of them."""
    masks = []
    for third in np.array_split(np.arange(64), _THIRDS):
        rest = np.setdiff1d(np.arange(64), third)
        for second in np.array_split(rest, _THIRDS):
            masks.append(np.uint64(sum(1 << int(bit) for bit in (*third, *second))))
    return masks


def _candidates(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of an index into `hashes` and one into `others` whose hashes differ in at most `MOST_BITS` bits."""
    found = [np.zeros((0, 2), np.int64)]
    for mask in _masks():
        keys, other_keys = hashes & mask, others & mask
        order = np.argsort(other_keys, kind="stable")
        ordered = other_keys[order]
        low, high = np.searchsorted(ordered, keys, "left"), np.searchsorted(ordered, keys, "right")
        # Many hashes may have these bits in common, as of plain skies: step by step, so that memory stays bounded.
        for step in range(int((high - low).max())):
            here = np.flatnonzero(low + step < high)
            there = order[low[here] + step]
            near = _num_bits(hashes[here] ^ others[there]) <= MOST_BITS
            found.append(np.stack([here[near], there[near]], axis=1))
            if sum(map(len, found)) > 4 * MOST_PAIRS:
                break
    return np.unique(np.concatenate(found), axis=0)


def _num_bits(words: np.ndarray) -> np.ndarray:
    """Count the ones in each of (n,) uint64; NumPy's own bitwise_count is not in 1.26."""
    return np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)


def _correlations(one: np.ndarray, other: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Correlation of the miniatures (n, pixels) of each pair, 1 where they differ by brightness and contrast alone."""
    found = []
    for part in np.array_split(pairs, max(1, len(pairs) // 10_000)):
        left, right = one[part[:, 0]], other[part[:, 1]]
        left = left - left.mean(axis=1, keepdims=True)
        right = right - right.mean(axis=1, keepdims=True)
        scale = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
        found.append((left * right).sum(axis=1) / np.maximum(scale, 1e-6))
    return np.concatenate(found)
