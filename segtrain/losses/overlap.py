"""Region losses: overlap of the predicted and the true pixels of each class (Dice, Tversky, Lovasz).

B batch, H height, W width, K classes, P the B x H x W pixels. q_pc = softmax(logits_p)[c] is the predicted probability
of class c at pixel p, g_pc is 1 where c is the true class and else 0; sums are over the pixels that are not ignored. A
class is present if the batch has a pixel of it. The classes' losses are averaged by weight:
sum_c w_c loss_c / sum_c w_c.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import keras

from segtrain.limits import Factor, Limits, limited
from segtrain.losses.base import Loss, check_class_weights, check_number, ratio


class Dice(Loss):
    """1 - (2 sum_p q g + smooth) / (sum_p q + sum_p g + smooth) of each class, averaged over the classes.

    `squared` takes the squares of q and g in the denominator, as V-Net does (arXiv:1606.04797, section 3). The sums go
    over the batch, not each image, and over all replicas: large and small regions of a class count together.

    Args:
        ignore_class: Label of ignored pixels, which are in no sum.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class, 0 for classes to leave out; None is 1 for all.
        smooth: Pixels added to numerator and denominator, at least 0; lowers the loss of tiny regions.
        squared: Whether to square q and g in the denominator, see above.
        absent: Whether absent classes count. Their loss is sum_p q / (sum_p q + smooth), which has a gradient only with
            `smooth` above 0.

    Raises:
        ConfigError: An argument is out of its range.
    """

    adds_up_over_pixels = True

    @limited
    def __init__(
        self,
        ignore_class: int,
        num_classes: int,
        class_weights: Sequence[float] | None = None,
        smooth: Factor = 0.0,
        squared: bool = False,
        absent: bool = False,
    ) -> None:
        check_class_weights(class_weights, num_classes)
        check_number("smooth", smooth, "more than 0 where absent=true", smooth > 0 or not absent)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights
        self._smooth = smooth
        self._squared = squared
        self._absent = absent

    def sums(self, labels: Any, logits: Any) -> Any:
        """Return (3, K) float32 of each class: sum q g, sum |q - g| or its square, sum g."""
        is_class, errors = _errors(labels, logits, self._ignore_class, self.num_logits)
        hits = _over_pixels(keras.ops.where(is_class, 1.0 - errors, 0.0))
        misses = _over_pixels(errors**2 if self._squared else errors)
        return keras.ops.stack([hits, misses, _over_pixels(keras.ops.cast(is_class, "float32"))])

    def per_class(self, sums: Any) -> Any:
        """Return (K,) float32: the loss of each class."""
        # sum q + sum g = sum |q - g| + 2 sum q g, and likewise with squares, as g is 0 or 1: avoids cancellation.
        return ratio(sums[1], sums[1] + 2.0 * sums[0] + self._smooth)

    def value(self, sums: Any) -> Any:
        counted = keras.ops.ones_like(sums[2]) if self._absent else keras.ops.cast(sums[2] > 0, "float32")
        return _mean(self.per_class(sums), counted, self._class_weights)


class Tversky(Loss):
    """(1 - T_c)^gamma averaged over the present classes, T_c = hits / (hits + alpha false + beta missed).

    hits = sum_p q g, false = sum_p q (1 - g), missed = sum_p (1 - q) g (arXiv:1706.05721, equation 2). beta > alpha
    favors recall, alpha > beta precision; both 1/2 is Dice, both 1 the soft Jaccard index. The sums are over the batch
    and all replicas.

    Args:
        ignore_class: Label of ignored pixels, which are in no sum.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class, 0 for classes to leave out; None is 1 for all.
        alpha: Weight of false positive pixels, at least 0.
        beta: Weight of missed pixels, at least 0.
        gamma: Exponent, above 0. Focal Tversky (arXiv:1810.07842) uses 3/4, written 1/gamma there: a smaller gradient
            for classes with low overlap, a larger one for those with high overlap.

    Raises:
        ConfigError: An argument is out of its range.
    """

    adds_up_over_pixels = True

    @limited
    def __init__(
        self,
        ignore_class: int,
        num_classes: int,
        class_weights: Sequence[float] | None = None,
        alpha: Factor = 0.3,
        beta: Factor = 0.7,
        gamma: Annotated[float, Limits(0, 100, above=True)] = 1.0,
    ) -> None:
        check_class_weights(class_weights, num_classes)
        check_number("beta", beta, "more than 0 where alpha=0", alpha + beta > 0)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights
        self._alpha = alpha
        self._beta = beta
        self._gamma = gamma

    def sums(self, labels: Any, logits: Any) -> Any:
        """Return (3, K) float32 of each class: hits, false, missed."""
        is_class, errors = _errors(labels, logits, self._ignore_class, self.num_logits)
        return keras.ops.stack(
            [
                _over_pixels(keras.ops.where(is_class, 1.0 - errors, 0.0)),
                _over_pixels(keras.ops.where(is_class, 0.0, errors)),
                _over_pixels(keras.ops.where(is_class, errors, 0.0)),
            ]
        )

    def per_class(self, sums: Any) -> Any:
        """Return (K,) float32: the loss of each class."""
        wrong = self._alpha * sums[1] + self._beta * sums[2]
        losses = ratio(wrong, sums[0] + wrong)
        # The bound keeps the gradient of powers below 1 finite at 0.
        return losses if self._gamma == 1 else keras.ops.maximum(losses, 1e-7) ** self._gamma

    def value(self, sums: Any) -> Any:
        present = keras.ops.cast(sums[0] + sums[2] > 0, "float32")
        return _mean(self.per_class(sums), present, self._class_weights)


class Lovasz(Loss):
    """Lovasz-softmax: the Jaccard index' loss, extended to errors between 0 and 1 (arXiv:1705.08790, equations 8, 9).

    For each present class the pixels' errors |q - g| are ranked from the largest, e_1 >= e_2 >= ...; the loss is
    sum_i e_i (J_i - J_{i-1}), where J_i is the loss of the index with the first i pixels wrong. The classes' losses are
    averaged.

    Ranking is per replica: the loss of several replicas is their mean, weighted by the pixels that count. It sorts P
    numbers K times and holds about 8 arrays of the logits' size.

    Args:
        ignore_class: Label of ignored pixels: no loss and no gradient.
        num_classes: K, number of classes and of logits per pixel.
        class_weights: One factor >= 0 per class, 0 for classes to leave out; None is 1 for all.

    Raises:
        ConfigError: `class_weights` are not K numbers >= 0, at least one of them positive.
    """

    def __init__(self, ignore_class: int, num_classes: int, class_weights: Sequence[float] | None = None) -> None:
        check_class_weights(class_weights, num_classes)
        self.num_logits = num_classes
        self._ignore_class = ignore_class
        self._class_weights = class_weights

    def sums(self, labels: Any, logits: Any) -> Any:
        """Return (2,) float32: the batch's loss times the number of counted pixels, and that number."""
        _, errors = _errors(labels, logits, self._ignore_class, self.num_logits)
        errors = keras.ops.reshape(keras.ops.moveaxis(errors, -1, 0), (self.num_logits, -1))  # (K, P)
        # Computed from the labels again: TensorFlow warns about transposing bool tensors on most CPUs.
        classes = keras.ops.arange(self.num_logits, dtype="int32")[:, None]
        is_class = keras.ops.equal(keras.ops.reshape(keras.ops.cast(labels, "int32"), (1, -1)), classes)
        is_class = keras.ops.logical_and(is_class, keras.ops.not_equal(classes, self._ignore_class))
        # Ignored pixels have error 0: they add 0 at any rank, and so do the pixels of error 0 that they shift.
        order = keras.ops.argsort(-keras.ops.stop_gradient(errors), axis=-1)
        order = order + keras.ops.cast(classes, order.dtype) * keras.ops.cast(keras.ops.shape(errors)[1], order.dtype)
        steps = _jaccard_steps(keras.ops.take(keras.ops.reshape(is_class, (-1,)), order))
        losses = keras.ops.sum(keras.ops.take(keras.ops.reshape(errors, (-1,)), order) * steps, axis=-1)
        present = keras.ops.cast(keras.ops.any(is_class, axis=-1), "float32")
        counted = keras.ops.sum(keras.ops.cast(keras.ops.not_equal(labels, self._ignore_class), "float32"))
        return keras.ops.stack([_mean(losses, present, self._class_weights) * counted, counted])

    def value(self, sums: Any) -> Any:
        return ratio(sums[0], sums[1])


def _errors(labels: Any, logits: Any, ignore_class: int, num_classes: int) -> tuple[Any, Any]:
    """Return (B, H, W, K) bool g, and (B, H, W, K) float32 |q - g|, 0 for ignored pixels."""
    counted = keras.ops.not_equal(labels, ignore_class)[..., None]
    labels = keras.ops.cast(labels, "int32")[..., None]
    is_class = keras.ops.logical_and(keras.ops.equal(labels, keras.ops.arange(num_classes, dtype="int32")), counted)
    probabilities = keras.ops.softmax(keras.ops.cast(logits, "float32"), axis=-1)
    return is_class, keras.ops.where(is_class, 1.0 - probabilities, keras.ops.where(counted, probabilities, 0.0))


def _over_pixels(each: Any) -> Any:
    """Sum (B, H, W, K) to (K,), in three steps: float32 cannot count a batch's pixels one by one."""
    return keras.ops.sum(keras.ops.sum(keras.ops.sum(each, axis=2), axis=1), axis=0)


def _jaccard_steps(is_class: Any) -> Any:
    """Return (K, P) float32 J_i - J_{i-1} of pixels in rank order, from (K, P) bool: pixels of the class.

    With n pixels of the class and, up to rank i, h_i of them and m_i others, J_i = 1 - (n - h_i) / (n + m_i). So the
    step is 1 / (n + m_i) at a pixel of the class, else (n - h_i) / ((n + m_i) (n + m_i - 1)), without cancellation.
    """
    of_class = keras.ops.cumsum(keras.ops.cast(is_class, "int32"), axis=-1)
    others = keras.ops.cumsum(keras.ops.cast(keras.ops.logical_not(is_class), "int32"), axis=-1)
    num_class = of_class[:, -1:]
    union = keras.ops.cast(num_class + others, "float32")
    left = keras.ops.cast(num_class - of_class, "float32")
    return keras.ops.where(is_class, 1.0, left / keras.ops.maximum(union - 1.0, 1.0)) / keras.ops.maximum(union, 1.0)


def _mean(losses: Any, counted: Any, class_weights: Sequence[float] | None) -> Any:
    """Average (K,) losses over the classes that count, by weight; 0 if no class counts."""
    weights = counted if class_weights is None else counted * keras.ops.array(class_weights, "float32")
    return ratio(keras.ops.sum(losses * weights), keras.ops.sum(weights))
