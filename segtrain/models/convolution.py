"""Faster dilated convolutions, and symmetric padding for strided ones."""

import functools
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("segtrain")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, with the direct kernel for dilation and optional symmetric padding under strides.

    Keras computes a dilated convolution by space-to-batch, which moves the full map twice and pads it to multiples
    of the dilation: 2 to 13 times slower on a CPU than oneDNN's own dilated kernel (ASPP at 32x32, dilations 6-18).
    Where that kernel has no gradient (oneDNN off) Keras' implementation is used.

    Args:
        symmetric: Where padding is "same" and there is a stride: pad alike on all sides, half the kernel each, as torch
            does; TensorFlow pads an even-sized map on the right and at the bottom only.
    """

    def __init__(self, *args: Any, symmetric: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.symmetric = symmetric

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if self.symmetric and self.padding == "same" and max(self.strides) > 1:
            height, width = (side // 2 for side in self.kernel_size)
            padded = tf.pad(inputs, [[0, 0], [height, height], [width, width], [0, 0]])
            return tf.nn.conv2d(padded, kernel, self.strides, "VALID")
        dilated = max(self.dilation_rate) > 1 and self.data_format == "channels_last" and self.groups == 1
        if dilated and inputs.dtype == tf.float32 and _dilation_has_a_gradient():
            return tf.nn.conv2d(inputs, kernel, 1, self.padding.upper(), dilations=self.dilation_rate)
        return super().convolution_op(inputs, kernel)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "symmetric": self.symmetric}


@keras.saving.register_keras_serializable("segtrain")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras' layer, without the pixels that a far dilated kernel takes from outside of a small map.

    Keras' way, space-to-batch, pads a map by the dilation on all sides: at 16x16 and a dilation of 36 to thirty times
    its area, zeros all of them. Where the dilation comes near the map's side (7/8 was measured) or exceeds it, the few
    products that are left are summed one by one. TensorFlow's own dilated depthwise kernel is not used: its gradient
    is wrong.
    """

    def call(self, inputs: Any) -> Any:
        height, width = inputs.shape[1:3]
        (dilation, other), (rows, columns) = self.dilation_rate, self.kernel_size
        plain = self.strides != (1, 1) or self.padding != "same" or self.use_bias or self.depth_multiplier != 1
        if plain or height is None or width is None or dilation != other or 8 * dilation < 7 * max(height, width):
            return super().call(inputs)
        kernel, result = tf.cast(self.kernel, inputs.dtype)[..., 0], None
        for row in range(rows):
            for column in range(columns):
                down, right = (row - rows // 2) * dilation, (column - columns // 2) * dilation
                if abs(down) >= height or abs(right) >= width:
                    continue
                seen = inputs[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
                padding = [[0, 0], [max(-down, 0), max(down, 0)], [max(-right, 0), max(right, 0)], [0, 0]]
                product = tf.pad(seen * kernel[row, column], padding)
                result = product if result is None else result + product
        return result


@functools.cache
def _dilation_has_a_gradient() -> bool:
    """Whether this machine's direct kernel for dilated convolutions can be trained: try it on a few numbers."""
    options = {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [1, 2, 2, 1]}
    # Out of a graph that may be in the making. No tape records in here, so the gradient's own kernels are called.
    with tf.init_scope():
        features, kernel = tf.ones((1, 5, 5, 1)), tf.ones((3, 3, 1, 1))
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=[1, 5, 5, 1], filter=kernel, out_backprop=features, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=features, filter_sizes=[3, 3, 1, 1], out_backprop=features, **options)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True
