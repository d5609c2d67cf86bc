"""Batch norm's statistics, counted anew for the weights as they are (arXiv:2105.07576, section 3)."""

from collections.abc import Iterable
from typing import final

import keras
import numpy as np
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models.layers import BatchNormalization, batch_norm_in_training_mode


@final
class PreciseNorm:
    """Set a network's statistics to those of some training batches.

    The moving ones are of weights that have changed since. What is set depends on weights and batches alone, not on the
    statistics before, and no dropout counter moves: a training that is resumed stays exact.

    Args:
        model: The network.

    Raises:
        ConfigError: No layer of it is batch norm that is trained.
    """

    def __init__(self, model: keras.Model) -> None:
        self._norms = [one for one in model.layers if isinstance(one, BatchNormalization) and one.trainable]
        if not self._norms:
            raise ConfigError(
                "precise_bn_batches: the network has no batch norm that is trained. Fix: precise_bn_batches=0"
            )

        @tf.function
        def forward(images: tf.Tensor) -> None:
            momenta = [layer.momentum for layer in self._norms]
            try:
                for layer in self._norms:
                    layer.momentum = 0.0  # the statistics become those of the batch
                with batch_norm_in_training_mode():
                    model(images, training=False)
            finally:
                for layer, momentum in zip(self._norms, momenta, strict=True):
                    layer.momentum = momentum

        self._forward = forward

    def measure(self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> None:
        """Count the statistics of these batches of images and labels, each with the same weight."""
        means = [np.zeros(layer.moving_mean.shape) for layer in self._norms]
        squares = [np.zeros_like(mean) for mean in means]
        number = 0
        for images, _ in batches:
            self._forward(images)
            number += 1
            for layer, mean, square in zip(self._norms, means, squares, strict=True):
                batch_mean, variance = (
                    keras.ops.convert_to_numpy(each).astype(np.float64)
                    for each in (layer.moving_mean, layer.moving_variance)
                )
                mean += batch_mean
                square += variance + batch_mean**2
        for layer, mean, square in zip(self._norms, means, squares, strict=True):
            layer.moving_mean.assign(mean / number)
            layer.moving_variance.assign(square / number - (mean / number) ** 2)
