"""Losses of class borders: for a head that predicts edges, and cross-entropy with more weight near borders.

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
    """Find pixels with another class within `width` pixels, along rows, columns or both; ignored pixels make no edge.

    Args:
        labels: (B, H, W) class ids.
        ignore_class: Label of ignored pixels.
        width: Distance in pixels, at least 1.

    Returns:
        Two (B, H, W) bool tensors: pixels that are not ignored, and those of them that are edges.
    """
    counted = keras.ops.not_equal(labels, ignore_class)
    classes = keras.ops.cast(labels, "float32")
    # A window holds two classes where its highest id differs from its lowest, which is computed as the maximum of the
    # negated ids. Ignored pixels are -1e6 in both maxima.
    highest = keras.ops.where(counted[..., None], keras.ops.stack([classes, -classes], axis=-1), -1e6)
    side = 2 * width + 1
    for window in ((1, side), (side, 1)):
        highest = keras.ops.max_pool(highest, window, strides=1, padding="same", data_format="channels_last")
    return counted, keras.ops.logical_and(counted, highest[..., 0] + highest[..., 1] > 0)


class BoundaryCrossEntropy(PixelLoss):
    """Softmax cross-entropy in which pixels near borders weigh more: sum_p w_p l_p / sum_p w_p.

    w_p is the weight of the pixel's class, times `factor` where another class lies within `width` pixels; ignored
    pixels make no border. This follows U-Net (arXiv:1505.04597, section 3) with a step function instead of a Gaussian,
    which can be computed from the labels on the fly; distance maps (arXiv:1812.07032) would have to be precomputed.

    Args:
        ignore_class: Label of ignored pixels: no loss and no gradient.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class; None is 1 for all.
        width: Distance in pixels on either side of a border, at least 1.
        factor: Factor of the weight near borders, at least 0; 1 is plain cross-entropy.

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
    """Balanced sigmoid cross-entropy of edge pixels against all others, for an edge head.

    A pixel is an edge where another class lies within `width` pixels, along rows, columns or both; ignored pixels
    neither count nor make edges. With n_e edges among the n pixels of a batch that count, l_p = -log sigmoid(z_p) at an
    edge and l_p = -log sigmoid(-z_p) elsewhere: sum_edges l_p / 2 n_e + sum_others l_p / 2 (n - n_e). These are the
    weights of HED (arXiv:1504.06375, equation 2), which CE2P uses too. A batch without edges, or with edges only, has
    loss 0 and no gradient.

    Scores compare logits above 0 with the edges pixel by pixel; a prediction that is off by one pixel is wrong.

    Args:
        ignore_class: Label of ignored pixels.
        num_classes: Unused: an edge is one logit.
        width: Distance in pixels on either side of a border that counts as edge, at least 1.

    Raises:
        ConfigError: `width` is not positive.
    """

    num_logits = 1

    @limited
    def __init__(self, ignore_class: int, num_classes: int, *, width: Width = 1) -> None:
        self._ignore_class = ignore_class
        self._width = width

    def sums(self, labels: Any, logits: Any) -> Any:
        """Return (4,) float32: summed loss of edges, summed loss of other pixels, and the number of either."""
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
        """Return two (B, H, W) bool tensors: pixels that are not ignored, and those of them that are edges."""
        return find_edges(labels, self._ignore_class, self._width)

    def count(self, labels: Any, logits: Any) -> Any:
        """Return (3,) int64: correctly predicted edges, predicted edges, true edges; without ignored pixels."""
        counted, edges = self.targets(labels)
        predicted = keras.ops.logical_and(counted, logits[..., 0] > 0)
        hits = keras.ops.logical_and(predicted, edges)
        return keras.ops.stack([keras.ops.sum(keras.ops.cast(each, "int64")) for each in (hits, predicted, edges)])

    def scores(self, counts: np.ndarray) -> dict[str, float]:
        """Return precision, recall and F1 = 2 hits / (predicted + edges) from the result of `count`."""
        hits, predicted, edges = (int(number) for number in counts)
        ratios = {"precision": (hits, predicted), "recall": (hits, edges), "f1": (2 * hits, predicted + edges)}
        return {name: part / total if total else math.nan for name, (part, total) in ratios.items()}
