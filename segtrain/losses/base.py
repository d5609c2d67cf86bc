"""Base classes of losses, sums over replicas, and checks of arguments.

B batch, H height, W width, K classes, C logits per pixel.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import numpy as np

from segtrain.errors import ConfigError, argument


class Loss(ABC):
    """A loss that is a function of sums over pixels, so that several devices can compute that of their common batch.

    Attributes:
        num_logits: C, number of logits per pixel.
        adds_up_over_pixels: Whether sums of parts of an image add up to the image's: not where neighbors or ranks
            of pixels matter. Large images are then scored in strips.
    """

    num_logits: int
    adds_up_over_pixels = False

    @abstractmethod
    def sums(self, labels: Any, logits: Any) -> Any:
        """Return float32 sums, a tensor or a dict of them; the sums of two halves of a batch add up to the batch's."""

    @abstractmethod
    def value(self, sums: Any) -> Any:
        """Return the scalar loss computed from sums, float32."""

    def __call__(self, labels: Any, logits: Any) -> Any:
        """Return the scalar loss of one batch, float32."""
        return self.value(self.sums(labels, logits))


class PixelLoss(Loss):
    """A mean over pixels: sum_p w_p l_p / sum_p w_p, and 0 where the weights' sum is 0.

    Its sums are the numerator and the denominator; the latter has no gradient.
    """

    @abstractmethod
    def pixels(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        """Return each pixel's loss and its weight, (B, H, W) float32 both; the weight of ignored pixels is 0.

        Args:
            labels: (B, H, W) class ids.
            logits: (B, H, W, C) float32.
        """

    def sums(self, labels: Any, logits: Any) -> Any:
        losses, weights = self.pixels(labels, keras.ops.cast(logits, "float32"))
        return keras.ops.stack([keras.ops.sum(losses * weights), keras.ops.sum(weights)])

    def value(self, sums: Any) -> Any:
        return ratio(sums[0], sums[1])


class HeadLoss(NamedTuple):
    """Weighted loss of a further head.

    Attributes:
        loss: Called with labels (B, H, W) and the head's logits (B, H, W, C).
        weight: Factor of the loss in the training loss.
    """

    loss: Callable[[Any, Any], Any]
    weight: float


@runtime_checkable
class Scored(Protocol):
    """A loss that also computes scores of its logits over any number of images."""

    def count(self, labels: Any, logits: Any) -> Any:
        """Return (n,) int64 counts of one batch; those of several add up."""

    def scores(self, counts: np.ndarray) -> dict[str, float]:
        """Compute scores by name from summed counts; NaN where no pixel was counted."""


def scored(heads: Mapping[str, HeadLoss]) -> dict[str, Scored]:
    """Return the losses of the heads that can be scored, by name of the head."""
    losses: dict[str, Any] = {name: head.loss for name, head in heads.items()}
    return {name: loss for name, loss in losses.items() if isinstance(loss, Scored)}


def additive(loss: Callable[[Any, Any], Any]) -> Loss:
    """Wrap any callable, such as a Keras loss, as a `Loss`; over several replicas it is their mean."""
    return loss if isinstance(loss, Loss) else _CallableLoss(loss)


def with_own_gradient(sums: Any, total: Any) -> Any:
    """Return the sums over all replicas, with the gradient of one replica's own sums only.

    `loss.value(with_own_gradient(sums, total))` is the loss of the full batch, the same on each replica. Its gradient
    reaches the replica's own pixels only, so that the gradients of all replicas, summed and not averaged, are those of
    the full batch.

    Args:
        sums: Result of `Loss.sums` on this replica.
        total: `sums` added up over the replicas.
    """
    return keras.tree.map_structure(
        lambda own, full: keras.ops.stop_gradient(full) + (own - keras.ops.stop_gradient(own)), sums, total
    )


def ratio(part: Any, total: Any) -> Any:
    """Divide sums that are >= 0; 0 / 0 is 0, with no gradient."""
    return part / keras.ops.where(total > 0, total, 1.0)


def targets(labels: Any, ignore_class: int, class_weights: Sequence[float] | None) -> tuple[Any, Any]:
    """Return class ids, (B, H, W) int32, and pixel weights, (B, H, W) float32; both are 0 for ignored pixels."""
    counted = keras.ops.not_equal(labels, ignore_class)
    classes = keras.ops.where(counted, keras.ops.cast(labels, "int32"), 0)
    weights = keras.ops.cast(counted, "float32")
    if class_weights is not None:
        weights = weights * keras.ops.take(keras.ops.array(class_weights, "float32"), classes)
    return classes, weights


def check_class_weights(class_weights: Sequence[float] | None, num_classes: int) -> None:
    """Refuse class weights that are not one factor per class.

    Raises:
        ConfigError: `class_weights` are not K finite numbers >= 0, at least one of them positive.
    """
    if class_weights is None:
        return
    usable = all(math.isfinite(weight) and weight >= 0 for weight in class_weights)
    if len(class_weights) != num_classes or not usable or not any(class_weights):
        raise ConfigError(
            f"{argument('class_weights')}={list(class_weights)}: {len(class_weights)} numbers, expected {num_classes} "
            "(one a class), each >= 0 and not all 0"
        )


def check_number(name: str, number: float, expected: str, holds: bool) -> None:
    """Refuse a number that is not finite or does not meet a condition.

    Raises:
        ConfigError: The number is not finite, or `holds` is False.
    """
    if not (math.isfinite(number) and holds):
        raise ConfigError(f"{argument(name)}={number}: expected {expected}.")


class _CallableLoss(Loss):
    """A callable as a loss with sums: its value, and the number of values added."""

    def __init__(self, loss: Callable[[Any, Any], Any]) -> None:
        self._loss = loss

    def sums(self, labels: Any, logits: Any) -> Any:
        value = keras.ops.cast(self._loss(labels, logits), "float32")
        return keras.ops.stack([value, keras.ops.ones_like(value)])

    def value(self, sums: Any) -> Any:
        return ratio(sums[0], sums[1])
