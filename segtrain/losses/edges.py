"""Losses that know where classes meet: of a head that draws the edges, and of classes near them.

B batch, H height, W width.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import keras
import numpy as np

from segtrain.limits import Factor, Limits, limited
from segtrain.losses.base import Loss, PixelLoss, check_class_weights, ratio, targets

Width = Annotated[int, Limits(1, 1000)]  # in pixels


def find_edges(labels: Any, ignore_class: int, width: int) -> tuple[Any, Any]:
    """Find where another class lies within `width` pixels, along rows, columns or both; void makes no edge.

    Args:
        labels: (B, H, W) class ids.
        ignore_class: The id that is void.
        width: In pixels, from 1.

    Returns:
        Two (B, H, W) bool: which pixels count, and which of these are edges.
    """
    counted = keras.ops.not_equal(labels, ignore_class)
    classes = keras.ops.cast(labels, "float32")
    # Two kinds of class lie in a window where its highest id is not its lowest, which is the highest of their
    # negatives; void loses against both.
    highest = keras.ops.where(counted[..., None], keras.ops.stack([classes, -classes], axis=-1), -1e6)
    side = 2 * width + 1
    for window in ((1, side), (side, 1)):
        highest = keras.ops.max_pool(highest, window, strides=1, padding="same", data_format="channels_last")
    return counted, keras.ops.logical_and(counted, highest[..., 0] + highest[..., 1] > 0)


class BoundaryCrossEntropy(PixelLoss):
    """Softmax cross-entropy in which pixels near borders weigh more: sum_p w_p l_p / sum_p w_p.

    w_p is the weight of the pixel's class, times `factor` where another class lies within `width` pixels of it; void
    makes no border. That is U-Net's idea (arXiv:1505.04597, section 3) with a step for its bell, which can be told from
    the labels where they are; distance maps (arXiv:1812.07032) would have to be read with them.

    Args:
        ignore_class: Labels of this id cost nothing and pull nothing.
        num_classes: K, the logits of a pixel.
        class_weights: One factor a class; all 1 where None.
        width: Pixels to either side of a border that are near it.
        factor: From 0 up; 1 is plain cross-entropy.

    Raises:
        ConfigError: An argument is out of its range.
    """

    @limited
    def __init__(
        self,
        ignore_class: int,
        num_classes: int,
        class_weights: Sequence[float] | None = None,
        width: Width = 3,
        factor: Factor = 5.0,
    ) -> None:
        check_class_weights(class_weights, num_classes)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights
        self._width = width
        self._factor = factor

    def pixels(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        classes, weights = targets(labels, self._ignore_class, self._class_weights)
        losses = keras.ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        _, edges = find_edges(labels, self._ignore_class, self._width)
        return losses, weights * keras.ops.where(edges, float(self._factor), 1.0)


class EdgeCrossEntropy(Loss):
    """Sigmoid cross-entropy of edges against none, for a head of its own: half the mean of either kind of pixel.

    A pixel is an edge where another class lies within `width` pixels of it, along rows, columns or both; void pixels
    neither count nor make edges. With n_e edges among the n pixels of a batch that count, l_p = -log sigmoid(z_p) at an
    edge and l_p = -log sigmoid(-z_p) elsewhere: sum_edges l_p / 2 n_e + sum_others l_p / 2 (n - n_e). These are the
    weights of HED (arXiv:1504.06375, equation 2), which CE2P takes over. A batch of one kind alone, or of void alone,
    costs 0 and pulls nowhere.

    Its scores compare logits above 0 with the edges pixel by pixel; one that is off by a pixel is wrong.

    Args:
        ignore_class: The label that is void.
        num_classes: Not asked for: an edge is one logit.
        width: Pixels to either side of a border that are edge.

    Raises:
        ConfigError: `width` is not positive.
    """

    num_logits = 1

    @limited
    def __init__(self, ignore_class: int, num_classes: int, *, width: Width = 1) -> None:
        self._ignore_class = ignore_class
        self._width = width

    def sums(self, labels: Any, logits: Any) -> Any:
        """Return (4,) float32: what edges cost, what the others cost, how many either are."""
        counted, edges = self.targets(labels)
        is_edge = keras.ops.cast(edges, "float32")
        is_other = keras.ops.cast(counted, "float32") - is_edge
        logits = keras.ops.cast(logits[..., 0], "float32")
        losses = keras.ops.binary_crossentropy(is_edge, logits, from_logits=True)
        return keras.ops.stack(
            [keras.ops.sum(each) for each in (losses * is_edge, losses * is_other, is_edge, is_other)]
        )

    def value(self, sums: Any) -> Any:
        has_both = keras.ops.cast(keras.ops.minimum(sums[2], sums[3]) > 0, "float32")
        return has_both * (ratio(sums[0], sums[2]) + ratio(sums[1], sums[3])) / 2

    def targets(self, labels: Any) -> tuple[Any, Any]:
        """Make of labels (B, H, W) two (B, H, W) bool: which pixels count, and which of these are edges."""
        return find_edges(labels, self._ignore_class, self._width)

    def count(self, labels: Any, logits: Any) -> Any:
        """Return (3,) int64: pixels rightly called edge, all called edge, all edges; of the pixels that count."""
        counted, edges = self.targets(labels)
        said = keras.ops.logical_and(counted, logits[..., 0] > 0)
        return keras.ops.stack(
            [keras.ops.sum(keras.ops.cast(each, "int64")) for each in (keras.ops.logical_and(said, edges), said, edges)]
        )

    def scores(self, counts: np.ndarray) -> dict[str, float]:
        """Precision, recall and their harmonic mean, 2 hits / (called edge + edges), from what `count` gives."""
        hits, said, edges = (int(number) for number in counts)
        ratios = {"precision": (hits, said), "recall": (hits, edges), "f1": (2 * hits, said + edges)}
        return {name: part / whole if whole else math.nan for name, (part, whole) in ratios.items()}
