"""Number of parameters and multiply-adds of a network, from its layers' shapes."""

import math

import keras

_WITH_KERNELS = (
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


def at_size(model: keras.Model, height: int, width: int) -> keras.Model:
    """Copy a network with free input size to a fixed size, to read its shapes; weights are not copied.

    The layers are cloned because keras.applications built at a known size pads odd sizes differently.
    """
    return keras.models.clone_model(model, input_tensors=keras.Input((height, width, 3)))


def count_parameters(model: keras.Model) -> tuple[int, int]:
    """Count a model's parameters; moving statistics are non-trainable.

    Returns:
        Trainable and non-trainable parameters.
    """
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return trainable, sum(math.prod(weight.shape) for weight in model.weights) - trainable


def count_multiply_adds(model: keras.Model) -> int:
    """Count the multiplications (each with its addition) of all convolutions and dense layers for one image.

    Batch norm, activations and resizing are left out, as is usual. FLOPs in other people's tables are often twice this.

    Args:
        model: Built with a known height and width.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            shape = layer._inbound_nodes[0].input_tensors[0].shape
            for each in layer.layers:
                shape = each.compute_output_shape(shape)
                total += _multiply_adds(each, shape)
        else:
            total += _multiply_adds(layer, layer.output.shape)
    return total


def _multiply_adds(layer: keras.layers.Layer, shape: tuple[int, ...]) -> int:
    """Count the multiply-adds of one layer with output shape (B, H, W, C) or (B, C)."""
    if not isinstance(layer, _WITH_KERNELS):
        return 0
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    return math.prod(shape[1:-1]) * sum(math.prod(kernel.shape) for kernel in kernels)
