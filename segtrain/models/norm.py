"""What becomes of a network's batch norm: one choice for the whole network, made when it stands."""

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
        backbone: The one it stands on.
        momentum: How slowly the statistics used outside of training follow, on every layer. MobileNetV2's own 0.999
            needs thousands of steps before the network is any good outside of training.
        epsilon: Added to the variance, in the layers behind the backbone; the backbone keeps what its weights were
            trained with.

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
    """Keep the backbone's batch norm as its weights came, statistics and all: for batches of a few images.

    The layers behind the backbone have nothing to keep and are trained. Arguments as of `trained_norm`.
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
    """Take the statistics over the batches of all devices together. Arguments as of `trained_norm`."""
    model = trained_norm(model, backbone, momentum=momentum, epsilon=epsilon)
    for layer in _batch_norms(model):
        layer.synchronized = True
    return model


def synchronize(model: keras.Model) -> None:
    """Let all batch norm that is trained take its statistics over all devices.

    Without it each device has statistics of its own, and the network that is saved those of the first.
    """
    for layer in _batch_norms(model):
        layer.synchronized = layer.synchronized or layer.trainable


@limited
def group_norm(
    model: keras.Model, backbone: Backbone, *, groups: Channels = 32, epsilon: Epsilon = 1e-5
) -> keras.Model:
    """Put group norm (arXiv:1803.08494) in the place of every batch norm: no statistics, any batch size.

    The backbone's scales and offsets still fit, its statistics are left out; expect to train longer.

    Args:
        model: The network.
        backbone: The one it stands on.
        groups: How many groups the channels of a layer fall into; the next lower divisor where it does not divide them.
        epsilon: Added to the variance.

    Returns:
        Another model on the same input.

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
