"""What a network costs: parameters and multiply-adds, counted from its layers' shapes."""

import math

import keras


def at_size(model: keras.Model, height: int, width: int) -> keras.Model:
    """Copy a network of free size onto a known one, for its shapes to be read; the weights are not copied.

    The very layers are kept: keras.applications built anew at a known size pads odd sizes otherwise.
    """
    return keras.models.clone_model(model, input_tensors=keras.Input((height, width, 3)))


def count_parameters(model: keras.Model) -> tuple[int, int]:
    """Count a model's numbers, moving statistics among the second.

    Returns:
        Trainable and non-trainable parameters.
    """
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return trainable, sum(math.prod(weight.shape) for weight in model.weights) - trainable


def count_multiply_adds(model: keras.Model) -> int:
    """Count the multiplications (each with its addition) of all convolutions for one image.

    Batch norm, activations and resizing are left out, as is usual. FLOPs in other people's tables are often twice this.

    Args:
        model: Built with a known height and width.
    """
    total = 0
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            continue
        _, height, width, _ = layer.output.shape
        total += height * width * math.prod(layer.kernel.shape)
    return total
