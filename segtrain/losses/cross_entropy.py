"""Cross-entropy of classes: of all pixels alike, of hard ones alone, or the more the harder a pixel is.

B batch, H height, W width, K classes. l_p = -log softmax(logits_p)[y_p] is what pixel p of class y_p costs.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras

from segtrain.limits import DropRate, Exponent, Probability, limited
from segtrain.losses.base import PixelLoss, check_class_weights, check_number, targets


class CrossEntropy(PixelLoss):
    """Softmax cross-entropy: sum_p w[y_p] l_p / sum_p w[y_p], over the pixels that are not void.

    Dividing by the weights' sum keeps the loss on one scale whatever the weights and however many pixels are void.

    With smoothing s, l_p is taken against (1 - s) for the pixel's class plus s / K for each class (arXiv:1512.00567,
    section 7): (1 - s) l_p - s mean_k log softmax(logits_p)[k]. The pixel's weight stays w[y_p].

    Args:
        ignore_class: Labels of this id cost nothing and pull nothing.
        num_classes: K, the logits of a pixel.
        class_weights: One factor a class, for classes that are rare; all 1 where None.
        label_smoothing: s, from 0 to below 1.

    Raises:
        ConfigError: `class_weights` are not K numbers >= 0, at least one of them positive; `label_smoothing` is out of
            its range.
    """

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
    """Cross-entropy of the hard pixels alone: sum_p w[y_p] l_p / sum_p w[y_p], over those that are hard.

    Hard is a pixel whose class has a probability below `threshold`, and in any case the `top_k_fraction` of the
    pixels that
    cost the most, and those that cost as much as the last of them: as PSPNet's and OCNet's trainings mine their
    examples online, but for a share instead of a number. `threshold=0` leaves the share alone: top-k. Weights do not
    decide what is hard.

    On several replicas each takes the share of its own pixels.

    Args:
        ignore_class: Labels of this id cost nothing and are no pixels to take a share of.
        num_classes: K, the logits of a pixel.
        class_weights: One factor a class; all 1 where None.
        threshold: From 0 to below 1.
        top_k_fraction: From 0 to 1, where 1 is plain cross-entropy.

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
        hard = keras.ops.logical_or(costs > self._least, costs >= self._last_of_the_share(costs))
        return losses, weights * keras.ops.cast(keras.ops.logical_and(hard, counted), "float32")

    def _last_of_the_share(self, costs: Any) -> Any:
        """The least cost of the share; infinite where it is of no pixel."""
        ranked = keras.ops.sort(keras.ops.reshape(costs, (-1,)))
        num_counted = keras.ops.sum(keras.ops.cast(ranked >= 0, "int32"))
        kept = keras.ops.cast(keras.ops.ceil(self._top_k_fraction * keras.ops.cast(num_counted, "float32")), "int32")
        size = keras.ops.shape(ranked)[0]
        last = keras.ops.take(ranked, keras.ops.clip(size - kept, 0, size - 1))
        return keras.ops.where(kept > 0, last, math.inf)


class Focal(PixelLoss):
    """Cross-entropy that forgets what is known already: sum_p w[y_p] (1 - q_p)^gamma l_p / sum_p w[y_p].

    q_p = softmax(logits_p)[y_p] (arXiv:1708.02002, equation 5, whose alpha are the weights). The denominator is that of
    CrossEntropy, which this is for gamma = 0.

    Args:
        ignore_class: Labels of this id cost nothing and pull nothing.
        num_classes: K, the logits of a pixel.
        class_weights: One factor a class; all 1 where None.
        gamma: From 0 up.

    Raises:
        ConfigError: An argument is out of its range.
    """

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
        # 1 - exp(-l) without cancellation; the bound keeps the slope of powers below 1 finite at 0.
        unsure = keras.ops.maximum(-keras.ops.expm1(-losses), 1e-7)
        return unsure**self._gamma * losses, weights
