"""Pooling that Keras lacks: dilated pooling, and adaptive average pooling."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("segtrain")
class DilatedPooling2D(keras.layers.Layer):
    """Maximum or mean over a window whose elements are `dilation` pixels apart: replaces strided pooling in a dilated
    backbone. The map keeps its size; pixels outside of it do not count.

    Args:
        kind: "max" or "mean".
        pool_size: Height and width of the window, in elements.
        dilation: Distance between the elements, in pixels.
    """

    def __init__(self, kind: Literal["max", "mean"], pool_size: tuple[int, int], dilation: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.pool_size = tuple(pool_size)
        self.dilation = dilation

    def call(self, inputs: Any) -> Any:
        if self.kind == "max":
            return self._over_window(inputs, inputs.dtype.min, tf.maximum)
        total = self._over_window(inputs, 0, tf.add)
        return total / self._over_window(tf.ones_like(inputs[:1, :, :, :1]), 0, tf.add)

    def _over_window(self, x: Any, outside: Any, join: Callable[[Any, Any], Any]) -> Any:
        for axis, length_of_window in enumerate(self.pool_size, start=1):
            padding = [[0, 0]] * 4
            padding[axis] = [(length_of_window - 1) // 2 * self.dilation, length_of_window // 2 * self.dilation]
            padded, length = tf.pad(x, padding, constant_values=outside), tf.shape(x)[axis]
            firsts = [index * self.dilation for index in range(length_of_window)]
            shifted = [
                padded[:, first : first + length] if axis == 1 else padded[:, :, first : first + length]
                for first in firsts
            ]
            x = functools.reduce(join, shifted)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "pool_size": self.pool_size, "dilation": self.dilation}


@keras.saving.register_keras_serializable("segtrain")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Mean over each cell of a square grid laid over a map of any size.

    Cell i of n covers rows floor(i H / n) to ceil((i + 1) H / n), as torch cuts them: neighbors overlap by a row where
    n does not divide H, and a map smaller than the grid repeats its rows. Likewise for columns.

    Args:
        size: Cells per side, n.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, features: Any) -> Any:
        batch, height, width = tf.unstack(tf.shape(features)[:3])
        channels = features.shape[-1]
        # Sums of many numbers need float32 at least.
        x = tf.cast(features, tf.float32) if features.dtype.size < 4 else features
        # Two products on the map as it lies in memory: 11 times faster than einsum, which transposes it (32x32x1024).
        x = tf.matmul(_cell_means(height, self.size, x.dtype), tf.reshape(x, (batch, height, width * channels)))
        x = tf.reshape(x, (batch, self.size, width, channels))
        return tf.cast(tf.matmul(_cell_means(width, self.size, x.dtype), x), features.dtype)  # (B, n, n, C)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.size, self.size, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def _cell_means(length: Any, size: int, dtype: Any) -> Any:
    """Weights (size, length) that take the mean of a line over each cell."""
    cells, positions = tf.range(size)[:, None], tf.range(length)
    start, end = cells * length // size, ((cells + 1) * length + size - 1) // size
    inside = tf.logical_and(positions >= start, positions < end)
    return tf.cast(inside, dtype) / tf.cast(end - start, dtype)
