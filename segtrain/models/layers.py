"""Layers of segtrain's networks.

B batch, H height, W width, C channels; images are RGB, channels last.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import keras
import tensorflow as tf

# ImageNet's mean color as Caffe's models were trained with it, in B, G, R order.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
# And as torch's were, with the deviations, in R, G, B order and of pixels in 0-1.
_TORCH_MEAN, _TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PreprocessingMode = Literal["caffe", "tf", "torch", "mean", "none"]


@keras.saving.register_keras_serializable("segtrain")
class Preprocessing(keras.layers.Layer):
    """Convert raw RGB pixels in 0-255 to the input range that a backbone's weights were trained with.

    Args:
        mode: Keras' modes: "caffe" converts to BGR and subtracts the mean, "tf" maps to -1..1, "torch" subtracts the
            mean and divides by the standard deviation. Further ones: "mean" subtracts the mean in RGB, for TF-slim's
            ResNets; "none" passes the pixels to a backbone with its own preprocessing.
    """

    def __init__(self, mode: PreprocessingMode, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, pixels: Any) -> Any:
        pixels = keras.ops.cast(pixels, self.compute_dtype)
        if self.mode == "caffe":
            return keras.ops.flip(pixels, axis=-1) - keras.ops.array(_CAFFE_MEAN, self.compute_dtype)
        if self.mode == "mean":
            return pixels - keras.ops.array(_CAFFE_MEAN[::-1], self.compute_dtype)
        if self.mode == "torch":
            mean, deviation = keras.ops.array(_TORCH_MEAN), keras.ops.array(_TORCH_DEVIATION)
            return (pixels - keras.ops.cast(255 * mean, self.compute_dtype)) / keras.ops.cast(
                255 * deviation, self.compute_dtype
            )
        return pixels / 127.5 - 1.0 if self.mode == "tf" else pixels

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("segtrain")
class ResizeLike(keras.layers.Layer):
    """Resize a map bilinearly to the height and width of another, which may vary between calls.

    Keras' own resizing fails on free heights and widths when exported, and under mixed precision with XLA. This layer
    computes in float32 (float64 for float64 features) and returns its input's dtype. Call it with `[features, like]`.

    Args:
        align_corners: Align the centers of the outermost pixels of both maps, as some torch networks do, instead of
            their outer borders.
    """

    def __init__(self, align_corners: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.align_corners = align_corners

    def call(self, inputs: list[Any]) -> Any:
        features, like = inputs
        size = tf.shape(like)[1:3]
        if features.dtype == tf.float64:  # TensorFlow's resize kernels always return float32
            rows, columns = (self._weights(tf.shape(features)[axis], size[axis - 1]) for axis in (1, 2))
            return tf.einsum("yh,xw,bhwc->byxc", rows, columns, features)
        if self.align_corners:
            resized = tf.raw_ops.ResizeBilinear(images=tf.cast(features, tf.float32), size=size, align_corners=True)
        else:
            resized = tf.image.resize(tf.cast(features, tf.float32), size, method="bilinear")
        return tf.cast(resized, features.dtype)

    def _weights(self, length: Any, wanted: Any) -> Any:
        """Return interpolation weights from `length` to `wanted` positions, (wanted, length)."""
        lengths = [tf.cast(each, tf.float64) for each in (length, wanted)]
        positions = [tf.range(each) for each in lengths]
        if self.align_corners:
            centers = positions[1] * (lengths[0] - 1) / tf.maximum(lengths[1] - 1, 1)
        else:
            centers = tf.clip_by_value((positions[1] + 0.5) * lengths[0] / lengths[1] - 0.5, 0, lengths[0] - 1)
        return tf.maximum(1 - tf.abs(centers[:, None] - positions[0]), 0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "align_corners": self.align_corners}

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        features, like = input_shape
        return (features[0], like[1], like[2], features[3])


_keeps_moving_statistics: ContextVar[bool] = ContextVar("keep_moving_statistics", default=False)


@contextmanager
def keep_moving_statistics() -> Iterator[None]:
    """Do not update moving statistics of segtrain's batch norm while a graph is traced: for a second forward pass."""
    token = _keeps_moving_statistics.set(True)
    try:
        yield
    finally:
        _keeps_moving_statistics.reset(token)


_trains_batch_norm_only: ContextVar[bool] = ContextVar("norms_alone", default=False)


@contextmanager
def batch_norm_in_training_mode() -> Iterator[None]:
    """Run only segtrain's batch norm in training mode while a graph is traced; dropout stays in inference mode."""
    token = _trains_batch_norm_only.set(True)
    try:
        yield
    finally:
        _trains_batch_norm_only.reset(token)


@keras.saving.register_keras_serializable("segtrain")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, computed by TensorFlow's fused kernel: the same numbers in half the time of a training step.

    Keras 3 computes batch norm in about twenty operations that each read and write the full map; on a CPU they took
    two thirds of a MobileNetV2 step. Where the fused kernel does not apply (synchronized or masked statistics, other
    dtypes, other ranks) Keras' own call is used.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        training = training or _trains_batch_norm_only.get()
        if self.synchronized and training and self.trainable and mask is None and self.axis in (-1, 3):
            context = tf.distribute.get_replica_context()
            if context is not None and context.num_replicas_in_sync > 1:
                return self._of_all_devices(inputs, context)
        plain = mask is not None or self.beta is None
        if plain or self.axis not in (-1, 3) or inputs.dtype != tf.float32 or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        beta, moving_mean, moving_variance = (
            tf.convert_to_tensor(variable) for variable in (self.beta, self.moving_mean, self.moving_variance)
        )
        gamma = tf.ones_like(beta) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        if not (training and self.trainable):
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=moving_mean,
                variance=moving_variance,
                epsilon=self.epsilon,
                is_training=False,
            ).y
        empty = tf.zeros([0])
        batch = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=self.epsilon, is_training=True
        )
        if _keeps_moving_statistics.get():
            return batch.y
        # The kernel reports the unbiased variance; Keras 3 keeps the biased one.
        num_values = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        variance = batch.batch_variance * (tf.maximum(num_values - 1.0, 1.0) / num_values)
        self.moving_mean.assign(moving_mean * self.momentum + batch.batch_mean * (1.0 - self.momentum))
        self.moving_variance.assign(moving_variance * self.momentum + variance * (1.0 - self.momentum))
        return batch.y

    def _of_all_devices(self, inputs: Any, context: Any) -> Any:
        """Normalize by the statistics of all replicas' features with one all-reduce, where Keras uses three."""
        moving_mean, moving_variance = (tf.convert_to_tensor(one) for one in (self.moving_mean, self.moving_variance))
        features = tf.cast(inputs, tf.float32)
        # Sums around a value near the mean lose less to rounding; the moving one is the same on all devices.
        features -= moving_mean
        axes = list(range(len(inputs.shape) - 1))
        number = tf.cast(tf.size(features) // tf.shape(features)[-1], tf.float32)
        sums = tf.stack([tf.reduce_sum(features, axes), tf.reduce_sum(features**2, axes)])
        own = tf.concat([sums, tf.fill([2, 1], number)], axis=1)
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
        off, squares = tf.unstack(total[:, :-1] / total[:, -1:])
        variance = tf.maximum(squares - off**2, 0.0)
        self.moving_mean.assign(moving_mean + off * (1.0 - self.momentum))
        self.moving_variance.assign(moving_variance * self.momentum + variance * (1.0 - self.momentum))
        beta, gamma = (None if one is None else tf.convert_to_tensor(one) for one in (self.beta, self.gamma))
        normal = tf.nn.batch_normalization(features, off, variance, beta, gamma, self.epsilon)
        return tf.cast(normal, inputs.dtype)


@keras.saving.register_keras_serializable("segtrain")
class GroupNormalization(keras.layers.GroupNormalization):
    """Keras' layer with the call signature of batch norm, so that it can replace it."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs)


@keras.saving.register_keras_serializable("segtrain")
class LayerScale(keras.layers.Layer):
    """Multiply each channel by a trained number, as ConvNeXt's blocks end (arXiv:2103.17239).

    Keras' own layer does not name its weight, so that Keras numbers the name per process.
    """

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initial = keras.initializers.Constant(self.init_values)
        self.gamma = self.add_weight(name="gamma", shape=(self.projection_dim,), initializer=initial)

    def call(self, inputs: Any) -> Any:
        return inputs * self.gamma

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "init_values": self.init_values, "projection_dim": self.projection_dim}


@keras.saving.register_keras_serializable("segtrain")
class SigmoidLogits(keras.layers.Layer):
    """Turn one logit z into the logits 0 and z of two classes: their softmax is 1 - sigmoid(z) and sigmoid(z)."""

    def call(self, logits: Any) -> Any:
        return tf.concat([tf.zeros_like(logits), logits], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2)
