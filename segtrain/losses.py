"""Losses. Each is built with `ignore_class` and called with labels (B, H, W) and logits (B, H, W, K)."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from segtrain.errors import ConfigError


class CrossEntropy:
    """Softmax cross-entropy: -sum_p w[y_p] log softmax(logits_p)[y_p] / sum_p w[y_p], over the pixels not ignored.

    Dividing by the weights' sum keeps the loss on one scale whatever the weights and however many pixels are void; a
    batch of void alone costs 0.

    Args:
        ignore_class: Labels of this id cost nothing and pull nothing.
        num_classes: K, to check the weights against.
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
