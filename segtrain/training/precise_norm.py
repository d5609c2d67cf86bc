"""Batch norm statistics recomputed for the current weights (arXiv:2105.07576, section 3)."""

from collections.abc import Iterable
from typing import final

import keras
import numpy as np
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models.layers import BatchNormalization, batch_norm_in_training_mode


@final
class PreciseNorm:
    """Set the batch norm statistics of a network to those of some training batches.

    Moving averages mix in statistics of older weights. The result depends only on the weights and batches, not on
    earlier statistics, and no dropout counter advances: a resumed run stays bit-exact.

    Args:
        model: Network with at least one trainable batch norm layer.

    Raises:
        ConfigError: The network has no trainable batch norm layer.
    """

    def __init__(self, model: keras.Model) -> None:
        self._norms = [one for one in model.layers if isinstance(one, BatchNormalization) and one.trainable]
        if not self._norms:
            raise ConfigError(
                "precise_bn_batches: found no trainable batch norm in the network. Fix: precise_bn_batches=0"
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
        """Compute the statistics of batches of (images, labels), each with the same weight."""
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
