"""Compiled forward passes of a network."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


@tf.function(input_signature=[tf.TensorSpec((None, None, None), tf.float32)], autograph=False)
def reduce_logits(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return class ids (H, W) uint8, confidence (H, W) float32, and whether all logits are finite, for (H, W, K)."""
    labels = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
    confidence = 1.0 / tf.reduce_sum(tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True)), axis=-1)
    return labels, confidence, tf.math.is_finite(tf.reduce_sum(logits))


def graph_of(model: keras.Model) -> Callable[[Any], tf.Tensor]:
    """Compile the forward pass from (1, H, W, 3) float32 pixels to float32 outputs."""

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)], autograph=False)
    def forward(pixels: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(pixels, training=False), tf.float32)

    return forward


def labeling(compute: Callable[[Any], dict[str, tf.Tensor]]) -> Callable[[Any], tuple[tf.Tensor, ...]]:
    """Compile one graph from (1, H, W, 3) uint8 to class ids, confidence, and whether all logits are finite."""

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)], autograph=False)
    def label(images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return reduce_logits(compute(images)["logits"][0])

    return label


def frozen(function: Any) -> Callable[[Any], Any]:
    """Return a function with the current weights as constants."""
    graph = function.get_concrete_function()
    frozen = convert_variables_to_constants_v2(graph)
    return lambda images: tf.nest.pack_sequence_as(graph.structured_outputs, frozen(images))


def logits_of(graph: Callable[[Any], tf.Tensor], image: np.ndarray) -> np.ndarray:
    """Return the outputs of a graph from `graph_of` for one image (H, W, 3)."""
    return graph(tf.cast(image[None], tf.float32))[0].numpy()
