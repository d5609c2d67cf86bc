"""Training loss and its gradients, for a batch at once or in micro-batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import HeadLoss, Sum, additive, with_own_gradient
from segtrain.training.replicas import Replicas, one_replica


class Gradients(NamedTuple):
    """Losses, confusion matrix and gradients of one batch.

    Attributes:
        losses: Name in the logs -> scalar; `loss` is the one that is minimized.
        counts: (K, K) int64 confusion matrix, rows the true class.
        gradients: Gradient of `loss`, or of the scaled loss, for each variable; None where it does not depend on one.
    """

    losses: dict[str, tf.Tensor]
    counts: tf.Tensor
    gradients: list[tf.Tensor | None]


@final
class Objective:
    """Training loss of a network and its further heads, with gradients.

    Args:
        forward: Called with pixels (B, H, W, 3) and `training`; returns logits (B, H, W, K), with `heads` a dict.
        loss: Called with labels (B, H, W) and logits (B, H, W, K).
        heads: Name of each further head -> its loss and weight.
        num_classes: K, number of classes.
        ignore_class: Label of ignored pixels.
        scale: Scales the loss before differentiation, for float16; None leaves it unscaled.
        replicas: Replicas that each compute a part of the batch. Losses and counts are those of the full batch on every
            replica; gradients are per replica and add up to those of the full batch.

    Attributes:
        names: Names of the losses in the logs.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        loss: Callable[[Any, Any], Any],
        heads: Mapping[str, HeadLoss],
        num_classes: int,
        ignore_class: int,
        scale: Callable[[Any], Any] | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        self._scale = scale
        self._replicas = replicas or one_replica()
        self._forward = forward
        self._loss = loss
        self._heads = heads
        self._num_classes = num_classes
        self._ignore_class = ignore_class
        parts = loss.names if isinstance(loss, Sum) else []
        if both := heads.keys() & set(parts):
            name = min(both)
            raise ConfigError(
                f"heads.{name} and loss.parts.{name}: both would be loss_{name} in the logs, expected different "
                f"names. Fix: rename one of them"
            )
        own = ["loss_logits"] if heads else []
        self.names = ["loss", *own, *(f"loss_{name}" for name in (*parts, *heads))]

    def gradients(self, images: tf.Tensor, labels: tf.Tensor, variables: Sequence[Any]) -> Gradients:
        """Compute a batch at once."""
        with tf.GradientTape() as tape:
            outputs = self._forward(images, training=True)
            logits = outputs["logits"] if self._heads else outputs
            losses = self._losses(labels, logits, outputs)
            cost = losses["loss"] if self._scale is None else self._scale(losses["loss"])
        gradients = tape.gradient(cost, variables)
        counts = self._replicas.sum_over(self._count(labels, tf.argmax(logits, axis=-1, output_type=tf.int32)))
        return Gradients(losses, counts, gradients)

    def gradients_in_parts(
        self, images: tf.Tensor, labels: tf.Tensor, variables: Sequence[Any], parts: int
    ) -> Gradients:
        """Compute a batch in equal micro-batches, so that only one's features are in memory at a time.

        Each part is weighted by its fraction of the batch's pixels that are not ignored, so a loss that is their mean
        is that of the full batch. For other losses (class weights, OHEM, Dice) the result is the weighted mean over the
        parts. Batch norm computes its statistics per part.

        Raises:
            tf.errors.InvalidArgumentError: The batch cannot be split into equal parts.
        """
        images, labels = (
            tf.reshape(each, tf.concat([[parts, -1], tf.shape(each)[1:]], axis=0)) for each in (images, labels)
        )
        valid = tf.reduce_sum(tf.cast(labels != self._ignore_class, tf.float32), axis=[1, 2, 3])
        valid = self._replicas.sum_over(valid)
        fractions = tf.math.divide_no_nan(valid, tf.reduce_sum(valid))

        def add(part: Any, losses: Any, counts: Any, sums: Any) -> Any:
            found = self.gradients(images[part], labels[part], variables)
            fraction = fractions[part]
            return (
                part + 1,
                {name: losses[name] + fraction * found.losses[name] for name in self.names},
                counts + found.counts,
                [
                    total if gradient is None else total + fraction * tf.convert_to_tensor(gradient)
                    for total, gradient in zip(sums, found.gradients, strict=True)
                ],
            )

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
        counts = tf.zeros((self._num_classes, self._num_classes), tf.int64)
        state = (tf.constant(0), dict.fromkeys(self.names, tf.constant(0.0)), counts, zeros)
        if self._replicas.count == 1:
            state = tf.while_loop(
                lambda part, *_: part < parts, add, state, parallel_iterations=1, maximum_iterations=parts
            )
        else:
            # Collective operations do not work within a while loop of the graph.
            for part in range(parts):
                with tf.control_dependencies(state[3]):
                    state = add(tf.constant(part), *state[1:])
        _, losses, counts, sums = state
        return Gradients(losses, counts, sums)

    def _losses(self, labels: tf.Tensor, logits: tf.Tensor, outputs: Any) -> dict[str, tf.Tensor]:
        total, found = self._over_replicas(self._loss, labels, logits)
        if self._heads:
            found["logits"] = total
        for name, head in self._heads.items():
            found[name], _ = self._over_replicas(head.loss, labels, outputs[name])
            total += head.weight * found[name]
        return {"loss": total, **{f"loss_{name}": value for name, value in found.items()}}

    def _over_replicas(
        self, loss: Callable[[Any, Any], Any], labels: tf.Tensor, logits: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return the loss over all replicas, and the parts of a `Sum` by name."""
        known = additive(loss)
        sums = known.sums(labels, logits)
        if self._replicas.count > 1:
            sums = with_own_gradient(sums, self._replicas.sum_over(sums))
        if isinstance(known, Sum):
            values = known.values(sums)
            return known.weighted(values), values
        return known.value(sums), {}

    def _count(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        """Return the (K, K) confusion matrix of one batch."""
        size = self._num_classes**2
        labels = tf.cast(labels, tf.int32)
        codes = tf.where(labels == self._ignore_class, size, labels * self._num_classes + predicted)
        # tf.math.bincount has a size that depends on the data, which XLA does not support.
        counts = tf.raw_ops.DenseBincount(input=tf.reshape(codes, [-1]), size=size + 1, weights=tf.zeros([0], tf.int32))
        return tf.cast(tf.reshape(counts[:size], (self._num_classes, self._num_classes)), tf.int64)
