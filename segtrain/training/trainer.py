"""The training loop: one compiled step, validation when it is due, and Keras callbacks around both."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from segtrain.errors import NumericError
from segtrain.evaluation import Direction, scores
from segtrain.losses import HeadLoss
from segtrain.training.objective import Objective
from segtrain.training.progress import Progress
from segtrain.training.replicas import Replicas, one_replica
from segtrain.training.step_options import StepOptions
from segtrain.training.updates import Updates, freeze_batch_norm
from segtrain.training.weight_ema import WeightEma

_PLAIN = StepOptions()


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
        options: What a step does beside that of the optimizer.
        replicas: That train together; model and optimizer were built within their `strategy.scope()`.
        directions: By name of each validation score, whether higher ("max") or lower ("min") is better.

    Attributes:
        averages: The averaged weights; None where there are none.
        replicas: See above.
        in_step: Whether a step has begun and is not counted in `progress`: variables may be those of either.
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
        options: StepOptions = _PLAIN,
        replicas: Replicas | None = None,
        directions: Mapping[str, Direction] = MappingProxyType({}),
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.progress = Progress(num_classes)
        self.averages = WeightEma(model, options.ema_decay) if options.ema_decay else None
        self.replicas = replicas or one_replica()
        self.in_step = False
        self._directions = directions
        self._options = options
        self._is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        scale = optimizer.scale_loss if self._is_scaled else None
        self._objective = Objective(forward or model, loss, heads, num_classes, ignore_class, scale, self.replicas)
        self._updates = Updates(optimizer, model.trainable_variables, options.factors, options.clip_norm, self.replicas)
        self._backbone = [layer for layer in model.layers if layer.name in options.backbone]
        self._still = [layer for layer in model.layers if _is_still(layer, options)]
        optimizer.build(model.trainable_variables)
        # Where Keras' own callbacks (LearningRateScheduler, ReduceLROnPlateau) look for it.
        model.optimizer = optimizer
        # tf.function compiles once per trainer; a method would keep the trainer alive in a global cache.
        # Nothing in a step is control flow of Python over tensors, and looking for it takes a second.
        self._train_step = tf.function(self._step_of_all, jit_compile=options.jit or None, autograph=False)

    @property
    def log_names(self) -> list[str]:
        """Names of what each epoch's logs hold of the training images."""
        names = [*self._objective.names, "pixel_accuracy", "mean_iou", "learning_rate"]
        if self._is_scaled:
            return [*names, "skipped_steps"]
        return [*names, "gradient_norm"] if self._options.clip_norm is not None else names

    def direction(self, name: str) -> Direction:
        """Return whether a higher or a lower value of a reported score is better."""
        if name in self._directions:
            return self._directions[name]
        return "min" if name.startswith(("loss", "val_loss", "gradient_norm", "skipped_steps")) else "max"

    @property
    def step(self) -> int:
        """How many training steps are done."""
        return self.progress.step

    @property
    def scored_model(self) -> keras.Model:
        """The network to validate: of the averaged weights where there are any."""
        return self.model if self.averages is None else self.averages.model

    def run(
        self,
        batches: Iterable[tuple[tf.Tensor, tf.Tensor]],
        *,
        steps_per_epoch: int,
        epochs: int,
        validate: Callable[[], dict[str, float]],
        validate_every: int,
        callbacks: list[keras.callbacks.Callback],
        name_samples: Callable[[int], list[str]] | None = None,
    ) -> None:
        """Train from where `self.progress` stands to the end of `epochs`.

        Each epoch's logs hold `loss`, `pixel_accuracy` and `mean_iou` of what was trained on, `learning_rate`, and,
        every `validate_every` epochs and after the last, what `validate` returns. With further heads `loss` is the
        weighted sum, `loss_logits` the network's own part of it and `loss_<head>` each head's, before its weight; of a
        loss that is a `Sum`, `loss_<part>` is each part's before its weight. Where gradients are clipped,
        `gradient_norm` is the mean of what they were before; under a loss scale `skipped_steps` is the share of steps
        that overflowed. A callback may end the run by setting `model.stop_training`.

        Args:
            batches: Those of the steps that are left.
            steps_per_epoch: Steps of an epoch.
            epochs: Epochs of the whole run.
            validate: Scores the network; called between two epochs.
            validate_every: Epochs from one validation to the next.
            callbacks: Keras callbacks; `params["trainer"]` is this one.
            name_samples: Names the samples of a step, for messages.

        Raises:
            NumericError: The loss, or the norm of gradients that are to be clipped, became NaN or infinite.
        """
        hooks = keras.callbacks.CallbackList(
            callbacks, model=self.model, epochs=epochs, steps=steps_per_epoch, trainer=self
        )
        self.model.stop_training = False
        hooks.on_train_begin()
        stream = iter(batches)
        for epoch in range(self.progress.epochs_done, epochs):
            if self.model.stop_training:
                break
            hooks.on_epoch_begin(epoch)
            logs = self._train_epoch(stream, epoch, steps_per_epoch, hooks, name_samples)
            if (epoch + 1) % validate_every == 0 or epoch + 1 == epochs:
                logs |= validate()
            self.progress.end_epoch(logs)
            hooks.on_epoch_end(epoch, logs)
            self._agree_to_stop()
        hooks.on_train_end()

    def _train_epoch(
        self,
        stream: Any,
        epoch: int,
        steps_per_epoch: int,
        hooks: Any,
        name_samples: Callable[[int], list[str]] | None,
    ) -> dict[str, float]:
        # A run that stopped before its epoch was validated has no step left here.
        for place in range(self.step - epoch * steps_per_epoch, steps_per_epoch):
            hooks.on_train_batch_begin(place)
            images, labels = next(stream)
            self.in_step = True
            tensors, counts = self._train_step(images, labels, epoch < self._options.freeze_backbone_epochs)
            del images, labels
            losses = {name: float(tensor) for name, tensor in tensors.items()}
            if not all(math.isfinite(losses[name]) for name in ("loss", "gradient_norm") if name in losses):
                seen = ", ".join(f"{name}={loss}" for name, loss in losses.items())
                samples = "" if name_samples is None else f" on {', '.join(name_samples(self.step))}"
                raise NumericError(
                    f"{seen} at step {self.step + 1} (epoch {epoch + 1}){samples}, expected a finite number. Fix: "
                    f"lower the learning rate, or set clip_norm=1"
                )
            if losses.get("skipped_steps") and float(self.optimizer.dynamic_scale) < 1:
                raise NumericError(
                    f"gradients overflow float16 at step {self.step + 1} whatever the loss scale, expected finite "
                    f"ones. Fix: precision=mixed_bfloat16"
                )
            self.progress.add_step(losses, counts.numpy())
            self.in_step = False
            hooks.on_train_batch_end(place, {**losses, "mean_iou": scores(self.progress.matrix).mean_iou})
            self._agree_to_stop()
            if self.model.stop_training:
                break
        found = scores(self.progress.matrix)
        return {
            **self.progress.mean_losses,
            "pixel_accuracy": found.pixel_accuracy,
            "mean_iou": found.mean_iou,
            "learning_rate": float(keras.ops.convert_to_numpy(self.optimizer.learning_rate)),
        }

    def _agree_to_stop(self) -> None:
        """Stop where a callback of any process wants it: a process that went on alone would wait for the others."""
        if self.replicas.num_processes > 1:
            wants = np.array(bool(self.model.stop_training), np.int32)
            self.model.stop_training = bool(self.replicas.total(wants))

    def _step_of_all(
        self, images: tf.Tensor, labels: tf.Tensor, backbone_is_frozen: bool
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """A step of every replica; returns what is the same on all of them."""
        # Replicas are traced in turns by threads: what changes the layers has to surround them all.
        with freeze_batch_norm([*self._still, *(self._backbone if backbone_is_frozen else ())]):
            return self.replicas.run(self._one_step, images, labels, backbone_is_frozen)

    def _one_step(
        self, images: tf.Tensor, labels: tf.Tensor, backbone_is_frozen: bool
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        variables, parts = self._updates.variables, self._options.gradient_accumulation_steps
        images, labels = (self.replicas.own_part(each, parts) for each in (images, labels))
        if parts == 1:
            found = self._objective.gradients(images, labels, variables)
        else:
            found = self._objective.gradients_in_parts(images, labels, variables, parts)
        held = {weight.path for layer in self._backbone for weight in layer.weights} if backbone_is_frozen else ()
        before = tf.convert_to_tensor(self.optimizer.iterations) if self._is_scaled else None
        norm = self._updates.apply(found.gradients, held)
        if self.averages is not None:
            self.averages.update(self.optimizer.iterations)
        logs = dict(found.losses)
        if self._is_scaled:
            logs["skipped_steps"] = tf.cast(tf.equal(before, self.optimizer.iterations), tf.float32)
        elif norm is not None:
            logs["gradient_norm"] = norm
        return logs, found.counts


def _is_still(layer: keras.layers.Layer, options: StepOptions) -> bool:
    """Whether a layer has weights to train and none of them ever moves."""
    weights = layer.trainable_variables
    return bool(weights) and all(options.factors.get(weight.path) == 0 for weight in weights)
