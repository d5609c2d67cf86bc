"""A network's answer to whole photographs, each at its own size."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from segtrain.data.batches import whole_images
from segtrain.data.dataset import Dataset, Sample
from segtrain.errors import NumericError


class Prediction(NamedTuple):
    """What the network says of one sample, at the size of the labels.

    Attributes:
        sample: Which it is.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, the truth.
        predicted: (H, W) uint8 class ids.
        loss: Mean over the pixels that are not ignored.
    """

    sample: Sample
    image: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    loss: float


class Predictor:
    """Label every pixel of photographs with one compiled graph for all sizes; its weights may go on training.

    The logits, not the labels, are brought back to the photograph's size, so that borders between classes fall where
    the network saw them. Ties go to the lower class id.

    Args:
        model: From pixels (B, H, W, 3) to logits (B, H, W, K).
        loss: Called with labels and logits.
        resize: Height and width that the network sees; the photograph's own where None.
    """

    def __init__(
        self, model: keras.Model, *, loss: Callable[[Any, Any], Any], resize: tuple[int, int] | None = None
    ) -> None:
        @tf.function(
            input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8), tf.TensorSpec((1, None, None), tf.uint8)]
        )
        def answer(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            seen = images if resize is None else tf.image.resize(images, resize)
            logits = tf.cast(model(seen, training=False), tf.float32)
            if resize is not None:
                logits = tf.image.resize(logits, tf.shape(labels)[1:3])
            predicted = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
            return predicted, loss(labels, logits), tf.math.is_finite(tf.reduce_sum(logits))

        self._answer = answer

    def predict(self, dataset: Dataset, samples: list[Sample], workers: int = 2) -> Iterator[Prediction]:
        """Answer each sample in turn, read by `workers` threads.

        Raises:
            DataError: A sample cannot be read.
            NumericError: A logit is NaN or infinite.
        """
        for sample, (images, labels) in zip(samples, whole_images(dataset, samples, workers), strict=True):
            predicted, loss, is_finite = self._answer(images, labels)
            if not is_finite:
                raise NumericError(
                    f"logits for {sample.image}: NaN or infinite, expected finite numbers. Fix: evaluate an earlier "
                    f"checkpoint, or train again with a lower optimizer.learning_rate"
                )
            yield Prediction(sample, images.numpy()[0], labels.numpy()[0], predicted.numpy()[0], float(loss))
