"""Images that tell of each pixel where it came from, and generators that give the draw a test wants."""

import numpy as np


def painted(height, width, seed=0):
    """Random ids 0-4 and the image that tells row, column and id of each pixel."""
    labels = np.random.default_rng(seed).integers(0, 5, (height, width), np.uint8)
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, labels], -1).astype(np.uint8), labels


def ramps(height, width):
    """Up to 60 x 60: red is 4 times the column, green 4 times the row, so that a level is a quarter of a pixel."""
    rows, columns = np.indices((height, width), np.uint8)
    return np.stack([4 * columns, 4 * rows, np.full_like(rows, 7)], -1), rows, columns


def keyed(*key):
    return np.random.default_rng(key)


class Highest:
    """Draws the highest number of each range: the largest turn, scale or change. What has a probability happens."""

    def uniform(self, low, high):
        return high

    def random(self):
        return 0.0

    def integers(self, low, high=None, *rest, **options):
        return (low if high is None else high) - 1


class Lowest(Highest):
    """Draws the lowest."""

    def uniform(self, low, high):
        return low

    def integers(self, low, high=None, *rest, **options):
        return 0 if high is None else low
