"""Large images in overlapping tiles, blended with weights that fall off linearly towards a tile's borders.

H height, W width, K classes. A cell is what one score stands for: a pixel, or a square of pixels.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

# Tiles begin at multiples of it: a network's coarsest features then lie as in the complete image.
ALIGNMENT = 32

Span = tuple[int, int]


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Return first pixel and end of each tile along one side; all of them are about `tile` pixels long.

    Args:
        length: Pixels of the side.
        tile: Pixels of a tile, a multiple of `ALIGNMENT`.
        overlap: Pixels that neighbors share at least, a multiple of `ALIGNMENT` and less than a tile.

    Example:
        >>> spans(200, tile=96, overlap=32)  # the last one begins at a multiple of 32 and reaches the end
        [(0, 96), (64, 160), (96, 200)]
    """
    if length <= tile:
        return [(0, length)]
    last = (length - tile) // ALIGNMENT * ALIGNMENT
    return [*((start, start + tile) for start in range(0, last, tile - overlap)), (last, length)]


def blend(
    image: np.ndarray, scores: Callable[[np.ndarray], np.ndarray], tile: int, overlap: int, cell: int = 1
) -> Iterator[np.ndarray]:
    """Score tile by tile, and yield the blended scores from top to bottom; memory holds one row of tiles.

    Args:
        image: (H, W, 3).
        scores: From a tile (h, w, 3) to its scores, float32 (h / cell, w / cell, K), rounded as the network does.
        tile: Side of a tile in pixels, see `spans`.
        overlap: Pixels that neighbors share, see `spans`.
        cell: Side of a cell in pixels, a divisor of `ALIGNMENT`.

    Yields:
        (n, W / cell, K) float32, H / cell rows in all.
    """
    height, width = image.shape[:2]
    rows, columns = spans(height, tile, overlap), spans(width, tile, overlap)
    carried: tuple[np.ndarray, np.ndarray] | None = None
    for index, (top, bottom) in enumerate(rows):
        total, weight = _row_of_tiles(image[top:bottom], scores, columns, (rows, index), cell)
        if carried is not None:
            total[: len(carried[0])] += carried[0]
            weight[: len(carried[1])] += carried[1]
        done = (rows[index + 1][0] - top) // cell if index + 1 < len(rows) else len(total)
        yield total[:done] / weight[:done]
        carried = total[done:], weight[done:]


def numbered(blocks: Iterator[np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield each block with its rows."""
    top = 0
    for block in blocks:
        yield slice(top, top + len(block)), block
        top += len(block)


def _row_of_tiles(
    band: np.ndarray,
    scores: Callable[[np.ndarray], np.ndarray],
    columns: Sequence[Span],
    row: tuple[Sequence[Span], int],
    cell: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted sum of the scores of tiles side by side, and the sum of the weights."""
    total = weight = np.zeros(0, np.float32)
    end = 0
    for index, (left, right) in enumerate(columns):
        part = scores(band[:, left:right])
        height, width, channels = part.shape
        if index == 0:
            widest = -(-band.shape[1] // cell) + 1  # the last tile may have one cell more or less
            total = np.zeros((height, widest, channels), np.float32)
            weight = np.zeros((height, widest, 1), np.float32)
        weights = (_weights(*row, cell, height)[:, None] * _weights(columns, index, cell, width))[..., None]
        end = left // cell + width
        total[:, left // cell : end] += part * weights
        weight[:, left // cell : end] += weights
    return total[:, :end], weight[:, :end]


def _weights(tiles: Sequence[Span], index: int, cell: int, count: int) -> np.ndarray:
    """Return the weights of a tile's `count` cells along one side: 1, falling linearly where a neighbor overlaps."""
    start, end = tiles[index]
    weights = np.ones(count, np.float32)
    if index:
        shared = (tiles[index - 1][1] - start) // cell
        weights[:shared] = (np.arange(shared, dtype=np.float32)[:count] + 0.5) / shared
    if index + 1 < len(tiles):
        shared = (end - tiles[index + 1][0]) // cell
        fall = (np.arange(shared, dtype=np.float32)[::-1] + 0.5) / shared
        weights[-shared:] = np.minimum(weights[-shared:], fall)
    return weights
