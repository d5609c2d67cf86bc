"""What a training minimizes, and its gradients, for a whole batch at once or part by part."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.losses import HeadLoss, Sum, additive, with_own_gradient
from segtrain.training.replicas import Replicas, one_replica


class Gradients(NamedTuple):
    """What one batch amounts to.

    Attributes:
        losses: By name as in the logs; `loss` is what is minimized.
        counts: (K, K) int64 confusion matrix, rows the truth.
        gradients: Of `loss`, or of that times its scale, one for each of the variables; None where it does not depend
            on one.
    """

    losses: dict[str, tf.Tensor]
    counts: tf.Tensor
    gradients: list[tf.Tensor | None]


@final
class Objective:
    """The loss of a network and of its further heads as one number with gradients.

    Args:
        forward: Called with pixels (B, H, W, 3) and `training`; gives logits (B, H, W, K), with `heads` a dict.
        loss: Called with labels (B, H, W) and logits (B, H, W, K).
        heads: By name of each further head, what it adds to the loss.
        num_classes: K.
        ignore_class: The label that is not scored.
        scale: Makes of the loss what the gradients are of, as float16 needs; they are those of the loss where None.
        replicas: That each compute a share of the batch. Losses and counts are the whole batch's on all of them; the
            gradients are each one's own, which add up to the whole batch's.

    Attributes:
        names: Of the losses in the logs.
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
                f"heads.{name} and loss.parts.{name}: both would be loss_{name} in the logs, expected names of their "
                f"own. Fix: rename one of them"
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
        """Compute a batch in equal parts, one after another: the features of one part at a time are in memory.

        Each part counts by its share of the batch's pixels that are not void, so a loss that is their mean is that of
        the whole batch. Of other losses (class weights, OHEM, Dice) it is the mean of the parts' by these shares. Batch
        norm sees each part by itself.

        Raises:
            tf.errors.InvalidArgumentError: The batch does not fall into equal parts.
        """
        images, labels = (
            tf.reshape(each, tf.concat([[parts, -1], tf.shape(each)[1:]], axis=0)) for each in (images, labels)
        )
        valid = tf.reduce_sum(tf.cast(labels != self._ignore_class, tf.float32), axis=[1, 2, 3])
        valid = self._replicas.sum_over(valid)
        shares = tf.math.divide_no_nan(valid, tf.reduce_sum(valid))

        def add(part: Any, losses: Any, counts: Any, sums: Any) -> Any:
            found = self.gradients(images[part], labels[part], variables)
            share = shares[part]
            return (
                part + 1,
                {name: losses[name] + share * found.losses[name] for name in self.names},
                counts + found.counts,
                [
                    total if gradient is None else total + share * tf.convert_to_tensor(gradient)
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
            # Replicas cannot meet within a loop of the graph.
            for part in range(parts):
                with tf.control_dependencies(state[3]):
                    state = add(tf.constant(part), *state[1:])
        _, losses, counts, sums = state
        return Gradients(losses, counts, sums)

    def _losses(self, labels: tf.Tensor, logits: tf.Tensor, outputs: Any) -> dict[str, tf.Tensor]:
        total, found = self._together(self._loss, labels, logits)
        if self._heads:
            found["logits"] = total
        for name, head in self._heads.items():
            found[name], _ = self._together(head.loss, labels, outputs[name])
            total += head.weight * found[name]
        return {"loss": total, **{f"loss_{name}": value for name, value in found.items()}}

    def _together(
        self, loss: Callable[[Any, Any], Any], labels: tf.Tensor, logits: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return the loss of all replicas' shares together, and by name what it is the sum of."""
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
        # tf.math.bincount asks the data for its size, which XLA cannot.
        counts = tf.raw_ops.DenseBincount(input=tf.reshape(codes, [-1]), size=size + 1, weights=tf.zeros([0], tf.int32))
        return tf.cast(tf.reshape(counts[:size], (self._num_classes, self._num_classes)), tf.int64)
