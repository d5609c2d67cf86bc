"""The layers and blocks that segtrain's networks share.

B batch, H height, W width, C channels; images are RGB, channels last.
"""

from typing import Any, Literal

import keras
import tensorflow as tf

# ImageNet's mean colour as Caffe's models were trained with it, in B, G, R order.
_CAFFE_MEAN = (103.939, 116.779, 123.68)

PreprocessingMode = Literal["caffe", "tf", "none"]


@keras.saving.register_keras_serializable("segtrain")
class Preprocessing(keras.layers.Layer):
    """Bring raw RGB pixels in 0-255 to what a backbone's weights were trained on.

    Args:
        mode: Keras' own words: "caffe" turns to BGR and takes the mean off, "tf" maps to -1..1, "none" leaves
            the pixels to a backbone that brings its own.
    """

    def __init__(self, mode: PreprocessingMode, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, pixels: Any) -> Any:
        pixels = keras.ops.cast(pixels, self.compute_dtype)
        if self.mode == "caffe":
            return keras.ops.flip(pixels, axis=-1) - keras.ops.array(_CAFFE_MEAN, self.compute_dtype)
        return pixels / 127.5 - 1.0 if self.mode == "tf" else pixels

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("segtrain")
class ResizeLike(keras.layers.Layer):
    """Resize a map bilinearly to the height and width of another, whatever they are when the network runs.

    Keras' own resizing fails on free heights and widths when exported, and under mixed precision with XLA; this one
    works in float32 and hands back its input's dtype. Call it with `[features, like]`.
    """

    def call(self, inputs: list[Any]) -> Any:
        features, like = inputs
        resized = tf.image.resize(tf.cast(features, tf.float32), tf.shape(like)[1:3], method="bilinear")
        return tf.cast(resized, features.dtype)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        features, like = input_shape
        return (features[0], like[1], like[2], features[3])


@keras.saving.register_keras_serializable("segtrain")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, computed by TensorFlow's fused kernel: the same numbers in half the time of a training step.

    Keras 3 spells batch norm out in some twenty operations that each read and write the whole map; on a CPU they took
    two thirds of a MobileNetV2 step. Where the fused kernel does not apply (synchronised or masked statistics, other
    dtypes, other ranks) Keras' own call is used.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        plain = self.synchronized or mask is not None or self.gamma is None or self.beta is None
        if plain or self.axis not in (-1, 3) or inputs.dtype != tf.float32 or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        moving_mean, moving_variance = (
            tf.convert_to_tensor(self.moving_mean),
            tf.convert_to_tensor(self.moving_variance),
        )
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
        # The kernel reports the unbiased variance; Keras 3 keeps the biased one.
        num_values = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        variance = batch.batch_variance * (tf.maximum(num_values - 1.0, 1.0) / num_values)
        self.moving_mean.assign(moving_mean * self.momentum + batch.batch_mean * (1.0 - self.momentum))
        self.moving_variance.assign(moving_variance * self.momentum + variance * (1.0 - self.momentum))
        return batch.y


def with_fused_batch_norm(model: keras.Model) -> keras.Model:
    """Rebuild a functional model on the same inputs with `BatchNormalization` in the place of Keras' own layer."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = BatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, input_tensors=model.input, clone_function=clone)


def conv_block(
    x: Any,
    filters: int,
    kernel_size: int,
    name: str,
    *,
    dilation: int = 1,
    separable: bool = False,
    use_bias: bool = False,
) -> Any:
    """Convolution, batch norm, ReLU; separable ones do so twice, once a channel and once a pixel (arXiv:1802.02611).

    Args:
        x: (B, H, W, C) features.
        filters: Channels of the result.
        kernel_size: Side of the kernel.
        name: Prefix of the layers' names.
        dilation: Distance between the kernel's taps, in pixels.
        separable: Split the kernel into a depthwise and a pointwise convolution.
        use_bias: Give the convolution a bias although batch norm follows.

    Returns:
        (B, H, W, filters) features.
    """
    if separable:
        x = keras.layers.DepthwiseConv2D(
            kernel_size, padding="same", dilation_rate=dilation, use_bias=False, name=f"{name}_depthwise"
        )(x)
        x = BatchNormalization(name=f"{name}_depthwise_bn")(x)
        x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(x)
        kernel_size, dilation = 1, 1
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        dilation_rate=dilation,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def aspp(
    features: Any,
    *,
    channels: int,
    dilations: tuple[int, ...],
    separable: bool,
    pool_bias: bool,
    dropout: float,
) -> Any:
    """Look at each place at several scales at once: atrous spatial pyramid pooling (arXiv:1706.05587, section 3.3).

    Args:
        features: (B, h, w, C) of the backbone.
        channels: Channels of each branch and of the result.
        dilations: One 3x3 branch for each.
        separable: Split the 3x3 kernels.
        pool_bias: Give the pooled branch's convolution a bias, as the keras.io program does.
        dropout: Share of the result set to zero while training.

    Returns:
        (B, h, w, channels) features.
    """
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(features)
    pooled = conv_block(pooled, channels, 1, "aspp_pool", use_bias=pool_bias)
    pooled = ResizeLike(name="aspp_pool_upsampling")([pooled, features])
    branches = [pooled, conv_block(features, channels, 1, "aspp_1x1")]
    for dilation in dilations:
        name = f"aspp_dilation_{dilation}"
        branches.append(conv_block(features, channels, 3, name, dilation=dilation, separable=separable))
    x = keras.layers.Concatenate(name="aspp_concat")(branches)
    x = conv_block(x, channels, 1, "aspp_projection")
    return keras.layers.Dropout(dropout, name="aspp_dropout")(x) if dropout else x
