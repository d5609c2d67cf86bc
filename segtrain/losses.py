"""Losses. Each is built with `ignore_class` and `num_classes` and called with labels (B, H, W) and logits (B, H, W, C).

B batch, H height, W width, C the logits of a pixel: `num_logits` of the loss.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import numpy as np

from segtrain.errors import ConfigError


class HeadLoss(NamedTuple):
    """What a further head on the backbone adds to the number that is minimised.

    Attributes:
        loss: Called with labels and the head's logits.
        weight: Its factor in the sum.
    """

    loss: Callable[[Any, Any], Any]
    weight: float


@runtime_checkable
class Scored(Protocol):
    """A loss that can also tell how good its logits are, over any number of photographs."""

    def count(self, labels: Any, logits: Any) -> Any:
        """Return (n,) int64 counts of one batch; those of several add up."""

    def scores(self, counts: np.ndarray) -> dict[str, float]:
        """Derive scores by name from added counts; NaN where there is no pixel to tell from."""


def scored(heads: Mapping[str, HeadLoss]) -> dict[str, Scored]:
    """Pick, by name, the losses of those heads that can be scored."""
    losses: dict[str, Any] = {name: head.loss for name, head in heads.items()}
    return {name: loss for name, loss in losses.items() if isinstance(loss, Scored)}


class CrossEntropy:
    """Softmax cross-entropy: -sum_p w[y_p] log softmax(logits_p)[y_p] / sum_p w[y_p], over the pixels not ignored.

    Dividing by the weights' sum keeps the loss on one scale whatever the weights and however many pixels are void; a
    batch of void alone costs 0.

    Args:
        ignore_class: Labels of this id cost nothing and pull nothing.
        num_classes: K, the logits of a pixel.
        class_weights: One factor a class, for classes that are rare; all 1 where None.

    Raises:
        ConfigError: `class_weights` are not K numbers >= 0, at least one of them positive.
    """

    def __init__(self, ignore_class: int, num_classes: int, class_weights: Sequence[float] | None = None) -> None:
        if class_weights is not None:
            usable = all(math.isfinite(weight) and weight >= 0 for weight in class_weights)
            if len(class_weights) != num_classes or not usable or not any(class_weights):
                raise ConfigError(
                    f"loss.class_weights={list(class_weights)}: {len(class_weights)} numbers, expected {num_classes} "
                    f"(one a class), each >= 0 and not all 0"
                )
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights

    def __call__(self, labels: Any, logits: Any) -> Any:
        """Return the scalar loss of one batch, float32."""
        counted = keras.ops.not_equal(labels, self._ignore_class)
        classes = keras.ops.where(counted, keras.ops.cast(labels, "int32"), 0)
        losses = keras.ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        weights = keras.ops.cast(counted, losses.dtype)
        if self._class_weights is not None:
            weights = weights * keras.ops.take(keras.ops.array(self._class_weights, losses.dtype), classes)
        return keras.ops.sum(losses * weights) / keras.ops.maximum(keras.ops.sum(weights), 1e-12)


class EdgeCrossEntropy:
    """Sigmoid cross-entropy of edges against none, the rarer weighing as much: sum_p w_p l_p / sum_p w_p.

    A pixel is an edge where another class lies within `width` pixels of it, along rows, columns or both; void pixels
    neither count nor make edges. With n_e edges among the n pixels of a batch that count, l_p = -log sigmoid(z_p) and
    w_p = 1 - n_e / n at an edge, l_p = -log sigmoid(-z_p) and w_p = n_e / n elsewhere: the weights of HED
    (arXiv:1504.06375, equation 2), which CE2P takes over. So edges and the rest cost half each, and a batch of one
    kind alone, or of void alone, costs 0 and pulls nowhere.

    Its scores compare logits above 0 with the edges pixel by pixel; one that is off by a pixel is wrong.

    Args:
        ignore_class: The label that is void.
        num_classes: Not asked for: an edge is one logit.
        width: Pixels to either side of a border that are edge.

    Raises:
        ConfigError: `width` is not positive.
    """

    num_logits = 1

    def __init__(self, ignore_class: int, num_classes: int, *, width: int = 1) -> None:
        if width < 1:
            raise ConfigError(f"loss.width={width}: expected at least 1, in pixels")
        self._ignore_class = ignore_class
        self._width = width

    def __call__(self, labels: Any, logits: Any) -> Any:
        """Return the scalar loss of one batch, float32."""
        counted, edges = (keras.ops.cast(each, logits.dtype) for each in self.targets(labels))
        losses = keras.ops.binary_crossentropy(edges, logits[..., 0], from_logits=True)
        share = keras.ops.sum(edges) / keras.ops.maximum(keras.ops.sum(counted), 1)
        weights = edges * (1 - share) + (counted - edges) * share
        return keras.ops.sum(losses * weights) / keras.ops.maximum(keras.ops.sum(weights), 1e-12)

    def targets(self, labels: Any) -> tuple[Any, Any]:
        """Make of labels (B, H, W) what they say of edges.

        Returns:
            Two (B, H, W) bool: which pixels count, and which of these are edges.
        """
        counted = keras.ops.not_equal(labels, self._ignore_class)
        classes = keras.ops.cast(labels, "float32")
        # Two kinds of class lie in a window where its highest id is not its lowest, which is the highest of their
        # negatives; void loses against both.
        highest = keras.ops.where(counted[..., None], keras.ops.stack([classes, -classes], axis=-1), -1e6)
        side = 2 * self._width + 1
        for window in ((1, side), (side, 1)):
            highest = keras.ops.max_pool(highest, window, strides=1, padding="same", data_format="channels_last")
        return counted, keras.ops.logical_and(counted, highest[..., 0] + highest[..., 1] > 0)

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
