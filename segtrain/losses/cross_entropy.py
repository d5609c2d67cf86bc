"""Cross-entropy of classes: over all pixels, over hard pixels only (OHEM), or weighted by difficulty (focal).

B batch, H height, W width, K classes. l_p = -log softmax(logits_p)[y_p] is the loss of pixel p of class y_p.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras

from segtrain.limits import DropRate, Exponent, Probability, limited
from segtrain.losses.base import PixelLoss, check_class_weights, check_number, targets


class CrossEntropy(PixelLoss):
    """Softmax cross-entropy: sum_p w[y_p] l_p / sum_p w[y_p], over the pixels that are not ignored.

    Dividing by the weights' sum keeps the loss on one scale for any weights and any number of ignored pixels.

    With smoothing s, l_p is taken against (1 - s) for the pixel's class plus s / K for each class (arXiv:1512.00567,
    section 7): (1 - s) l_p - s mean_k log softmax(logits_p)[k]. The pixel's weight stays w[y_p].

    Args:
        ignore_class: Label of ignored pixels: no loss and no gradient.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class, such as higher ones for rare classes; None is 1 for all.
        label_smoothing: s, at least 0 and below 1.

    Raises:
        ConfigError: `class_weights` are not K numbers >= 0, at least one of them positive; `label_smoothing` is out of
            its range.
    """

    adds_up_over_pixels = True

    @limited
    def __init__(
        self,
        ignore_class: int,
        num_classes: int,
        class_weights: Sequence[float] | None = None,
        label_smoothing: DropRate = 0.0,
    ) -> None:
        check_class_weights(class_weights, num_classes)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights
        self._label_smoothing = label_smoothing

    def pixels(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        classes, weights = targets(labels, self._ignore_class, self._class_weights)
        losses = keras.ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        if self._label_smoothing:
            even = -keras.ops.mean(keras.ops.log_softmax(logits, axis=-1), axis=-1)
            losses = (1 - self._label_smoothing) * losses + self._label_smoothing * even
        return losses, weights


class OhemCrossEntropy(PixelLoss):
    """Cross-entropy of the hard pixels only: sum_p w[y_p] l_p / sum_p w[y_p], over those that are hard.

    A pixel is hard if its class has a probability below `threshold`. The `top_k_fraction` of the pixels with the
    highest loss, and those that tie with the last of them, are hard in any case. The training code of PSPNet and OCNet
    does the same with a number of pixels instead of a fraction. `threshold=0` is top-k only. Class weights do not
    decide what is hard.

    With several replicas each takes the fraction of its own pixels.

    Args:
        ignore_class: Label of ignored pixels: no loss, and not counted in the fraction.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class; None is 1 for all.
        threshold: Probability below which a pixel is hard, at least 0 and below 1.
        top_k_fraction: Fraction of the pixels that is hard in any case, 0-1; 1 is plain cross-entropy.

    Raises:
        ConfigError: An argument is out of its range, or no pixel would be hard.
    """

    @limited
    def __init__(
        self,
        ignore_class: int,
        num_classes: int,
        class_weights: Sequence[float] | None = None,
        threshold: DropRate = 0.7,
        top_k_fraction: Probability = 0.1,
    ) -> None:
        check_class_weights(class_weights, num_classes)
        check_number("top_k_fraction", top_k_fraction, "more than 0 where threshold=0", threshold + top_k_fraction > 0)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights
        self._least = -math.log(threshold) if threshold else math.inf
        self._top_k_fraction = top_k_fraction

    def pixels(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        classes, weights = targets(labels, self._ignore_class, self._class_weights)
        losses = keras.ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        counted = keras.ops.not_equal(labels, self._ignore_class)
        costs = keras.ops.where(counted, keras.ops.stop_gradient(losses), -1.0)
        hard = keras.ops.logical_or(costs > self._least, costs >= self._lowest_top_k_loss(costs))
        return losses, weights * keras.ops.cast(keras.ops.logical_and(hard, counted), "float32")

    def _lowest_top_k_loss(self, costs: Any) -> Any:
        """Return the lowest loss of the top-k fraction; infinity where it has no pixel."""
        ranked = keras.ops.sort(keras.ops.reshape(costs, (-1,)))
        num_counted = keras.ops.sum(keras.ops.cast(ranked >= 0, "int32"))
        kept = keras.ops.cast(keras.ops.ceil(self._top_k_fraction * keras.ops.cast(num_counted, "float32")), "int32")
        size = keras.ops.shape(ranked)[0]
        last = keras.ops.take(ranked, keras.ops.clip(size - kept, 0, size - 1))
        return keras.ops.where(kept > 0, last, math.inf)


class Focal(PixelLoss):
    """Focal loss, with less weight on pixels classified well: sum_p w[y_p] (1 - q_p)^gamma l_p / sum_p w[y_p].

    q_p = softmax(logits_p)[y_p] (arXiv:1708.02002, equation 5, whose alpha are the weights). The denominator is that of
    CrossEntropy, to which this is equal for gamma = 0.

    Args:
        ignore_class: Label of ignored pixels: no loss and no gradient.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class; None is 1 for all.
        gamma: Exponent, at least 0.

    Raises:
        ConfigError: An argument is out of its range.
    """

    adds_up_over_pixels = True

    @limited
    def __init__(
        self, ignore_class: int, num_classes: int, class_weights: Sequence[float] | None = None, gamma: Exponent = 2.0
    ) -> None:
        check_class_weights(class_weights, num_classes)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights
        self._gamma = gamma

    def pixels(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        classes, weights = targets(labels, self._ignore_class, self._class_weights)
        losses = keras.ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        # 1 - exp(-l) without cancellation; the bound keeps the gradient of powers below 1 finite at 0.
        unsure = keras.ops.maximum(-keras.ops.expm1(-losses), 1e-7)
        return unsure**self._gamma * losses, weights
