"""Training loop: one compiled step, validation every few epochs, and Keras callbacks around both."""

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

    Keras' `fit` cannot resume within an epoch, and fails with several workers and with gradient accumulation; this loop
    supports them and calls the same callbacks.

    Args:
        model: Model from pixels (B, H, W, 3) to logits (B, H, W, K); with `heads` to a dict of them as `logits` and of
            each head's logits by its name.
        optimizer: Keras optimizer; built here, so that its state can be restored before the first step.
        loss: Called with labels (B, H, W) and logits (B, H, W, K).
        num_classes: K, number of classes.
        ignore_class: Label of ignored pixels.
        heads: Name of each further head -> its loss and weight.
        forward: Training-mode forward pass, such as from `recomputing`; None uses the model.
        options: Options of a step in addition to the optimizer.
        replicas: Replicas of the run; model and optimizer were built within their `strategy.scope()`.
        directions: Name of each validation score -> whether higher ("max") or lower ("min") is better.

    Attributes:
        averages: The averaged weights; None if averaging is off.
        replicas: See above.
        in_step: Whether a step has started and is not counted in `progress` yet: some variables may be updated.
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
        self._frozen = [layer for layer in model.layers if _is_frozen(layer, options)]
        optimizer.build(model.trainable_variables)
        # Keras' own callbacks (LearningRateScheduler, ReduceLROnPlateau) read it from the model.
        model.optimizer = optimizer
        # tf.function compiles once per trainer; a decorated method would keep the trainer alive in a global cache.
        # A step has no Python control flow over tensors, and searching for it (autograph) takes a second.
        self._train_step = tf.function(self._step_of_all, jit_compile=options.jit or None, autograph=False)

    @property
    def log_names(self) -> list[str]:
        """Names of the training scores in each epoch's logs."""
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
        """Number of training steps done."""
        return self.progress.step

    @property
    def scored_model(self) -> keras.Model:
        """The network to validate: the one with averaged weights if averaging is on."""
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
        """Train from `self.progress` to the end of `epochs`.

        Each epoch's logs hold `loss`, `pixel_accuracy` and `mean_iou` on training crops, `learning_rate`, and, every
        `validate_every` epochs and after the last, the results of `validate`. With further heads `loss` is the weighted
        sum, `loss_logits` the main head's loss and `loss_<head>` each further head's, before its weight; for a `Sum`,
        `loss_<part>` is each part's loss before its weight. With clipping, `gradient_norm` is the mean norm before
        clipping; with a loss scale, `skipped_steps` is the fraction of steps that overflowed. A callback may end the
        run by setting `model.stop_training`.

        Args:
            batches: Batches of (images, labels) of the remaining steps.
            steps_per_epoch: Number of steps per epoch.
            epochs: Number of epochs of the run, those done before resuming included.
            validate: Returns validation scores by name; called between epochs.
            validate_every: Number of epochs between validations.
            callbacks: Keras callbacks; `params["trainer"]` is this trainer.
            name_samples: Returns the names of a step's samples, for messages.

        Raises:
            NumericError: The loss, or the gradient norm with clipping, became NaN or infinite.
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
        # A run that stopped before its epoch was validated has no steps left here.
        for index in range(self.step - epoch * steps_per_epoch, steps_per_epoch):
            hooks.on_train_batch_begin(index)
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
                    f"gradients overflow float16 at step {self.step + 1} at every loss scale, expected finite "
                    f"ones. Fix: precision=mixed_bfloat16"
                )
            self.progress.add_step(losses, counts.numpy())
            self.in_step = False
            hooks.on_train_batch_end(index, {**losses, "mean_iou": scores(self.progress.matrix).mean_iou})
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
        """Stop if a callback of any process asks for it: the other processes would wait for it forever."""
        if self.replicas.num_processes > 1:
            wants = np.array(bool(self.model.stop_training), np.int32)
            self.model.stop_training = bool(self.replicas.total(wants))

    def _step_of_all(
        self, images: tf.Tensor, labels: tf.Tensor, backbone_is_frozen: bool
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Run a step on every replica; return its losses and counts, which are the same on all of them."""
        # Replicas are traced by several threads: layers must be changed outside of all of them.
        with freeze_batch_norm([*self._frozen, *(self._backbone if backbone_is_frozen else ())]):
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


def _is_frozen(layer: keras.layers.Layer, options: StepOptions) -> bool:
    """Whether a layer has trainable weights and all of them have factor 0."""
    weights = layer.trainable_variables
    return bool(weights) and all(options.factors.get(weight.path) == 0 for weight in weights)
