"""ResNet in torchvision's layout, its layers named as keras.applications names its own."""

from typing import Any

import keras

# Blocks of the four stages, by depth; bottlenecks from 50 on (arXiv:1512.03385, table 1).
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def torch_resnet_network(pixels: Any, depth: int) -> keras.Model:
    """Build the network from normalized pixels (B, H, W, 3) to features at stride 32.

    The stride of a bottleneck is in its 3x3, not in its first 1x1 as in keras.applications; convolutions have no bias,
    strided ones are padded alike on all sides, and batch norm's epsilon is 1e-5.
    """
    x = _conv(pixels, 64, 7, 2, "conv1", pad_name="conv1_pad")
    x = keras.layers.ReLU(name="conv1_relu")(x)
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)  # after a ReLU zeros are as good as torch's -inf
    x = keras.layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for stage, count in enumerate(BLOCKS[depth], start=2):
        for block in range(1, count + 1):
            stride = 2 if stage > 2 and block == 1 else 1
            x = _block(x, 64 * 2 ** (stage - 2), stride, f"conv{stage}_block{block}", bottleneck=depth >= 50)
    return keras.Model(keras.utils.get_source_inputs(pixels), x, name=f"torch_resnet{depth}")


def _block(x: Any, channels: int, stride: int, name: str, *, bottleneck: bool) -> Any:
    filters = 4 * channels if bottleneck else channels
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = _conv(x, filters, 1, stride, f"{name}_0")
    layout = [(channels, 1, 1), (channels, 3, stride), (filters, 1, 1)]
    if not bottleneck:
        layout = [(channels, 3, stride), (filters, 3, 1)]
    for index, (channels_out, kernel_size, strides) in enumerate(layout, start=1):
        x = _conv(x, channels_out, kernel_size, strides, f"{name}_{index}")
        if index < len(layout):
            x = keras.layers.ReLU(name=f"{name}_{index}_relu")(x)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _conv(x: Any, filters: int, kernel_size: int, stride: int, name: str, pad_name: str | None = None) -> Any:
    if kernel_size > 1:
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=pad_name or f"{name}_pad")(x)
    x = keras.layers.Conv2D(
        filters, kernel_size, stride, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
