"""How gradients become a step: clipped by their norm, applied, and weighted layer by layer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import keras
import tensorflow as tf

from segtrain.training.precision import loss_scale_variables
from segtrain.training.replicas import Replicas, one_replica


@final
class Updates:
    """One step of an optimizer, with a factor to each weight's change.

    A factor m leaves old + m (new - old). Where an optimizer's change is proportional to the learning rate, as of SGD,
    Adam and AdamW with their weight decay, that is a learning rate of its own; it is m times the change in any case.

    Args:
        optimizer: Built on all trainable variables.
        variables: These.
        factors: By path of a weight, its factor where that is not 1; 0 leaves a weight alone.
        clip_norm: The global norm that gradients are scaled down to; never where None.
        replicas: Whose gradients add up to the batch's.

    Attributes:
        variables: Those that gradients are wanted of.
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
            gradients: In the order of `variables`.
            held: Paths of weights that stay where they are; the optimizer's moments of them follow their gradients, or
                they would leap when they are let go.

        Returns:
            The global norm of the gradients before clipping, where they are clipped.
        """
        norm = None
        if self._clip_norm is not None:
            # A float16 training's gradients are scaled; where they overflow, the optimizer passes over the step.
            scale = loss_scale_variables(self._optimizer).get("dynamic_scale", 1.0)
            gradients = self._sums(gradients)
            scaled_norm = tf.linalg.global_norm(gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm * scale, use_norm=scaled_norm)
            norm = scaled_norm / scale
            if self._replicas.count > 1:
                # The optimizer adds up those of all replicas once more.
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
        known = [place for place, gradient in enumerate(gradients) if gradient is not None]
        found = list(gradients)
        sums = self._replicas.sum_over([tf.convert_to_tensor(gradients[place]) for place in known])
        for place, total in zip(known, sums, strict=True):
            found[place] = total
        return found


@contextmanager
def freeze_batch_norm(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Let batch norm among the layers use its statistics and leave them alone, while a graph is traced."""
    norms = [one for one in layers if isinstance(one, keras.layers.BatchNormalization) and one.trainable]
    try:
        for layer in norms:
            layer.trainable = False
        yield
    finally:
        for layer in norms:
            layer.trainable = True
