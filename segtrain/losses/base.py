"""What every loss offers, what it shares with the others, and how the replicas of a training add theirs up.

B batch, H height, W width, K classes, C the logits of a pixel.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import numpy as np

from segtrain.errors import ConfigError, argument


class Loss(ABC):
    """A loss that is a function of sums over pixels, so that several devices can tell the one of their common batch.

    Attributes:
        num_logits: C, the logits of a pixel that it takes.
    """

    num_logits: int

    @abstractmethod
    def sums(self, labels: Any, logits: Any) -> Any:
        """Return float32 sums, a tensor or a dict of them; those of two halves of a batch add up to the whole's."""

    @abstractmethod
    def value(self, sums: Any) -> Any:
        """Return the scalar loss that sums amount to, float32."""

    def __call__(self, labels: Any, logits: Any) -> Any:
        """Return the scalar loss of one batch, float32."""
        return self.value(self.sums(labels, logits))


class PixelLoss(Loss):
    """A mean over pixels: sum_p w_p l_p / sum_p w_p, and 0 where the weights' sum is 0.

    Its sums are the numerator and the denominator; the latter has no gradient.
    """

    @abstractmethod
    def pixels(self, labels: Any, logits: Any) -> tuple[Any, Any]:
        """Return each pixel's loss and its weight, (B, H, W) float32 both; the weight of void is 0.

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
    """What a further head on the backbone adds to the number that is minimized.

    Attributes:
        loss: Called with labels and the head's logits.
        weight: Its factor in the sum.
    """

    loss: Callable[[Any, Any], Any]
    weight: float


@runtime_checkable
class Scored(Protocol):
    """A loss that can also tell how good its logits are, over any number of images."""

    def count(self, labels: Any, logits: Any) -> Any:
        """Return (n,) int64 counts of one batch; those of several add up."""

    def scores(self, counts: np.ndarray) -> dict[str, float]:
        """Derive scores by name from added counts; NaN where there is no pixel to tell from."""


def scored(heads: Mapping[str, HeadLoss]) -> dict[str, Scored]:
    """Pick, by name, the losses of those heads that can be scored."""
    losses: dict[str, Any] = {name: head.loss for name, head in heads.items()}
    return {name: loss for name, loss in losses.items() if isinstance(loss, Scored)}


def additive(loss: Callable[[Any, Any], Any]) -> Loss:
    """Give sums to a loss of anybody's making, Keras' own say; of several replicas it is then the mean."""
    return loss if isinstance(loss, Loss) else _Averaged(loss)


def with_own_gradient(sums: Any, total: Any) -> Any:
    """Return the sums over all replicas, with the gradient of one replica's own sums only.

    `loss.value(with_own_gradient(sums, total))` is the loss of the full batch, the same on each replica. Its gradient
    reaches the replica's own pixels only, so that the gradients of all replicas, summed and not averaged, are those of
    the full batch.

    Args:
        sums: What `Loss.sums` gives on this replica.
        total: `sums` added up over the replicas.
    """
    return keras.tree.map_structure(
        lambda own, whole: keras.ops.stop_gradient(whole) + (own - keras.ops.stop_gradient(own)), sums, total
    )


def ratio(part: Any, whole: Any) -> Any:
    """Divide sums that are >= 0; nothing of nothing is 0, and pulls nowhere."""
    return part / keras.ops.where(whole > 0, whole, 1.0)


def targets(labels: Any, ignore_class: int, class_weights: Sequence[float] | None) -> tuple[Any, Any]:
    """Return (B, H, W) int32 class ids, 0 for void, and (B, H, W) float32: each pixel's weight, 0 for void."""
    counted = keras.ops.not_equal(labels, ignore_class)
    classes = keras.ops.where(counted, keras.ops.cast(labels, "int32"), 0)
    weights = keras.ops.cast(counted, "float32")
    if class_weights is not None:
        weights = weights * keras.ops.take(keras.ops.array(class_weights, "float32"), classes)
    return classes, weights


def check_class_weights(class_weights: Sequence[float] | None, num_classes: int) -> None:
    """Refuse what is not one factor a class.

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
    """Refuse a number that is not finite or for which what is expected does not hold.

    Raises:
        ConfigError: It is refused.
    """
    if not (math.isfinite(number) and holds):
        raise ConfigError(f"{argument(name)}={number}: expected {expected}.")


class _Averaged(Loss):
    """A plain call as a loss with sums: its value, and how many of them were added."""

    def __init__(self, loss: Callable[[Any, Any], Any]) -> None:
        self._loss = loss

    def sums(self, labels: Any, logits: Any) -> Any:
        value = keras.ops.cast(self._loss(labels, logits), "float32")
        return keras.ops.stack([value, keras.ops.ones_like(value)])

    def value(self, sums: Any) -> Any:
        return ratio(sums[0], sums[1])
