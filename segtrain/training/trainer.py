"""The training loop: one compiled step, validation when it is due, and Keras callbacks around both."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from segtrain.errors import NumericError
from segtrain.losses import HeadLoss
from segtrain.metrics import scores


class Trainer:
    """Train one network step by step.

    Keras' `fit` cannot go on in the middle of an epoch, breaks on several workers and under gradient accumulation; this
    loop does neither more nor less than segtrain needs, and drives the same callbacks.

    Args:
        model: From pixels (B, H, W, 3) to logits (B, H, W, K); with `heads` to a dict of these as `logits` and each
            head's own by its name.
        optimizer: A Keras optimizer; built here, so that its state can be restored before the first step.
        loss: Called with labels (B, H, W) and logits (B, H, W, K).
        num_classes: K.
        ignore_class: The label that is not scored.
        heads: By name of each further head, what it adds to the loss.
        forward: Computes what the model does while training, as `recomputing` does; the model itself where None.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: Callable[[Any, Any], Any],
        num_classes: int,
        ignore_class: int,
        *,
        heads: Mapping[str, HeadLoss] = MappingProxyType({}),
        forward: Callable[..., Any] | None = None,
    ) -> None:
        self.model = model
        self._forward = forward or model
        self.optimizer = optimizer
        self.step = 0
        self._loss = loss
        self._num_classes = num_classes
        self._ignore_class = ignore_class
        self._heads = heads
        optimizer.build(model.trainable_variables)
        # Where Keras' own callbacks (LearningRateScheduler, ReduceLROnPlateau) look for it.
        model.optimizer = optimizer
        # tf.function compiles once per trainer; a method would keep the trainer alive in a global cache.
        self._train_step = tf.function(self._one_step)

    def run(
        self,
        batches: Iterable[tuple[tf.Tensor, tf.Tensor]],
        *,
        steps_per_epoch: int,
        epochs: int,
        validate: Callable[[], dict[str, float]],
        validate_every: int,
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        """Train from `self.step` to the end of `epochs`.

        Each epoch's logs hold `loss`, `pixel_accuracy` and `mean_iou` of what was trained on, `learning_rate`, and,
        every `validate_every` epochs and after the last, what `validate` returns. With further heads `loss` is the
        weighted sum, `loss_logits` the network's own part of it and `loss_<head>` each head's, before its weight. A
        callback may end the run by setting `model.stop_training`.

        Raises:
            NumericError: The loss became NaN or infinite.
        """
        hooks = keras.callbacks.CallbackList(
            callbacks, model=self.model, epochs=epochs, steps=steps_per_epoch, trainer=self
        )
        self.model.stop_training = False
        hooks.on_train_begin()
        stream = iter(batches)
        for epoch in range(self.step // steps_per_epoch, epochs):
            hooks.on_epoch_begin(epoch)
            logs = self._train_epoch(stream, epoch, steps_per_epoch, hooks)
            if (epoch + 1) % validate_every == 0 or epoch + 1 == epochs:
                logs |= validate()
            hooks.on_epoch_end(epoch, logs)
            if self.model.stop_training:
                break
        hooks.on_train_end()

    def _train_epoch(self, stream: Any, epoch: int, steps_per_epoch: int, hooks: Any) -> dict[str, float]:
        matrix = np.zeros((self._num_classes, self._num_classes), np.int64)
        steps: list[dict[str, float]] = []
        for place in range(self.step % steps_per_epoch, steps_per_epoch):
            hooks.on_train_batch_begin(place)
            tensors, counts = self._train_step(*next(stream))
            losses = {name: float(tensor) for name, tensor in tensors.items()}
            if not math.isfinite(losses["loss"]):
                seen = ", ".join(f"{name}={loss}" for name, loss in losses.items())
                raise NumericError(
                    f"{seen} at step {self.step + 1} (epoch {epoch + 1}), expected a finite number. Fix: lower "
                    f"optimizer.learning_rate, or set optimizer.global_clipnorm=1"
                )
            self.step += 1
            steps.append(losses)
            matrix += counts.numpy()
            hooks.on_train_batch_end(place, {**losses, "mean_iou": scores(matrix).mean_iou})
            if self.model.stop_training:
                break
        found = scores(matrix)
        return {
            **{name: float(np.mean([losses[name] for losses in steps])) for name in steps[0]},
            "pixel_accuracy": found.pixel_accuracy,
            "mean_iou": found.mean_iou,
            "learning_rate": float(keras.ops.convert_to_numpy(self.optimizer.learning_rate)),
        }

    def _one_step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = self._forward(images, training=True)
            logits = outputs["logits"] if self._heads else outputs
            losses = self._losses(labels, logits, outputs)
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(losses["loss"], variables), variables)
        return losses, self._count(labels, tf.argmax(logits, axis=-1, output_type=tf.int32))

    def _losses(self, labels: tf.Tensor, logits: tf.Tensor, outputs: Any) -> dict[str, tf.Tensor]:
        total = own = self._loss(labels, logits)
        if not self._heads:
            return {"loss": total}
        parts = {name: head.loss(labels, outputs[name]) for name, head in self._heads.items()}
        for name, part in parts.items():
            total += self._heads[name].weight * part
        return {"loss": total, "loss_logits": own, **{f"loss_{name}": part for name, part in parts.items()}}

    def _count(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        """Return the (K, K) confusion matrix of one batch."""
        size = self._num_classes**2
        labels = tf.cast(labels, tf.int32)
        codes = tf.where(labels == self._ignore_class, size, labels * self._num_classes + predicted)
        counts = tf.math.bincount(tf.reshape(codes, [-1]), minlength=size + 1, maxlength=size + 1)
        return tf.cast(tf.reshape(counts[:size], (self._num_classes, self._num_classes)), tf.int64)
