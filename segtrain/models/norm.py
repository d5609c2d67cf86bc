"""Normalization of a network: train, freeze or synchronize batch norm, or replace it with group norm."""

import keras

from segtrain.limits import Channels, Epsilon, InnerFraction, limited
from segtrain.models.backbones import Backbone
from segtrain.models.layers import BatchNormalization, GroupNormalization


@limited
def trained_norm(
    model: keras.Model, backbone: Backbone, *, momentum: InnerFraction = 0.95, epsilon: Epsilon = 1e-3
) -> keras.Model:
    """Train batch norm everywhere, from each batch's own statistics.

    Args:
        model: The network.
        backbone: Backbone of the network.
        momentum: Momentum of the moving statistics of every layer, 0-1. MobileNetV2's own 0.999 needs thousands of
            steps before inference works.
        epsilon: Constant added to the variance, in the layers after the backbone; the backbone keeps the value that its
            weights were trained with.

    Raises:
        ConfigError: `momentum` is not within 0..1 or `epsilon` not positive.
    """
    for layer in _batch_norms(model):
        layer.momentum = momentum
        if layer.name not in backbone.tensors:
            layer.epsilon = epsilon
    return model


@limited
def frozen_norm(
    model: keras.Model, backbone: Backbone, *, momentum: InnerFraction = 0.95, epsilon: Epsilon = 1e-3
) -> keras.Model:
    """Freeze the backbone's batch norm, statistics included: for batches of a few images.

    Batch norm after the backbone is trained. For the arguments see `trained_norm`.
    """
    model = trained_norm(model, backbone, momentum=momentum, epsilon=epsilon)
    for layer in _batch_norms(model):
        if layer.name in backbone.tensors:
            layer.trainable = False
    return model


@limited
def synchronized_norm(
    model: keras.Model, backbone: Backbone, *, momentum: InnerFraction = 0.95, epsilon: Epsilon = 1e-3
) -> keras.Model:
    """Train batch norm with statistics over the batches of all devices. For the arguments see `trained_norm`."""
    model = trained_norm(model, backbone, momentum=momentum, epsilon=epsilon)
    for layer in _batch_norms(model):
        layer.synchronized = True
    return model


def synchronize(model: keras.Model) -> None:
    """Synchronize the statistics of trainable batch norm over all devices.

    Without it each device has its own statistics, and the saved network those of the first.
    """
    for layer in _batch_norms(model):
        layer.synchronized = layer.synchronized or layer.trainable


@limited
def group_norm(
    model: keras.Model, backbone: Backbone, *, groups: Channels = 32, epsilon: Epsilon = 1e-5
) -> keras.Model:
    """Replace every batch norm with group norm (arXiv:1803.08494): no statistics, any batch size.

    The backbone's scales and offsets still fit, its statistics are ignored; expect to train longer.

    Args:
        model: The network.
        backbone: Backbone of the network.
        groups: Number of groups of channels; the next lower divisor where it does not divide a layer's channels.
        epsilon: Constant added to the variance.

    Returns:
        A new model on the same input.

    Raises:
        ConfigError: `groups` or `epsilon` is not positive.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, keras.layers.BatchNormalization):
            return type(layer).from_config(layer.get_config())
        channels = layer.output.shape[-1]
        fitting = next(count for count in range(min(groups, channels), 0, -1) if channels % count == 0)
        return GroupNormalization(fitting, epsilon=epsilon, center=layer.center, scale=layer.scale, name=layer.name)

    return keras.models.clone_model(model, input_tensors=model.input, clone_function=clone)


def _batch_norms(model: keras.Model) -> list[BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
