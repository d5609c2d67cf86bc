"""Optimizer step with gradient clipping and learning rate multipliers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import keras
import tensorflow as tf

from segtrain.training.precision import loss_scale_variables
from segtrain.training.replicas import Replicas, one_replica


@final
class Updates:
    """Apply an optimizer's step with a factor for each weight's change.

    A factor m gives old + m (new - old). For optimizers whose change is proportional to the learning rate (SGD, Adam,
    AdamW, weight decay included) this is a multiplier of the learning rate.

    Args:
        optimizer: Keras optimizer built on all trainable variables.
        variables: All trainable variables.
        factors: Path of a weight -> its factor, where that is not 1; 0 keeps the weight unchanged.
        clip_norm: Maximum global norm of the gradients; None turns clipping off.
        replicas: Replicas whose gradients add up to those of the batch.

    Attributes:
        variables: The variables to compute gradients for: those with a factor other than 0.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        variables: Sequence[Any],
        factors: Mapping[str, float],
        clip_norm: float | None,
        replicas: Replicas | None = None,
    ) -> None:
        self.variables = [variable for variable in variables if factors.get(variable.path) != 0]
        self._optimizer = optimizer
        self._factors = factors
        self._clip_norm = clip_norm
        self._replicas = replicas or one_replica()

    def apply(self, gradients: Sequence[Any], held: Collection[str] = ()) -> tf.Tensor | None:
        """Apply the gradients of `variables`.

        Args:
            gradients: One gradient for each of `variables`, in their order.
            held: Paths of weights that stay unchanged. The optimizer's moments are still updated, so that the first
                step after unfreezing is not too large.

        Returns:
            The global norm of the gradients before clipping; None without clipping.
        """
        norm = None
        if self._clip_norm is not None:
            # With float16 the gradients are scaled; where they overflow, the optimizer skips the step.
            scale = loss_scale_variables(self._optimizer).get("dynamic_scale", 1.0)
            gradients = self._sums(gradients)
            scaled_norm = tf.linalg.global_norm(gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm * scale, use_norm=scaled_norm)
            norm = scaled_norm / scale
            if self._replicas.count > 1:
                # The optimizer sums the gradients of all replicas again.
                gradients = [None if one is None else one / self._replicas.count for one in gradients]
        weighted = [each for each in self.variables if each.path in held or each.path in self._factors]
        before = [tf.identity(tf.convert_to_tensor(variable)) for variable in weighted]
        self._optimizer.apply(gradients, self.variables)
        for variable, old in zip(weighted, before, strict=True):
            new = old
            if variable.path not in held:
                new = old + self._factors[variable.path] * (tf.convert_to_tensor(variable) - old)
            variable.assign(new)
        return norm

    def _sums(self, gradients: Sequence[Any]) -> list[Any]:
        """Add up the gradients of all replicas; None stays."""
        known = [index for index, gradient in enumerate(gradients) if gradient is not None]
        found = list(gradients)
        sums = self._replicas.sum_over([tf.convert_to_tensor(gradients[index]) for index in known])
        for index, total in zip(known, sums, strict=True):
            found[index] = total
        return found


@contextmanager
def freeze_batch_norm(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Run batch norm layers with their moving statistics, without updating them, while a graph is traced."""
    norms = [one for one in layers if isinstance(one, keras.layers.BatchNormalization) and one.trainable]
    try:
        for layer in norms:
            layer.trainable = False
        yield
    finally:
        for layer in norms:
            layer.trainable = True
