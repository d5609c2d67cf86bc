"""A network's answer to whole photographs, each at its own size."""

from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from segtrain.data.batches import ignore_wait, whole_images
from segtrain.data.dataset import Dataset, Sample
from segtrain.errors import NumericError
from segtrain.losses import HeadLoss, scored


class Prediction(NamedTuple):
    """What the network says of one sample, at the size of the labels.

    Attributes:
        sample: Which it is.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, the truth.
        predicted: (H, W) uint8 class ids.
        loss: Mean over the pixels that are not ignored.
        counts: By name of each further head that is scored, its `Scored.count`.
    """

    sample: Sample
    image: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    loss: float
    counts: Mapping[str, np.ndarray]


# Freezing a graph takes 0.4 to 3 s and makes each answer an eighth faster on a CPU.
FREEZE_FROM = 200


class Predictor:
    """Label every pixel of photographs with one compiled graph for all sizes; its weights may go on training.

    The logits, not the labels, are brought back to the photograph's size, so that borders between classes fall where
    the network saw them. Ties go to the lower class id.

    Args:
        model: From pixels (B, H, W, 3) to logits (B, H, W, K); with `heads` to a dict of these as `logits` and each
            head's own by its name.
        loss: Called with labels and logits.
        resize: Height and width that the network sees; the photograph's own where None.
        heads: By name of each further head, its loss; those that are not `Scored` are not computed.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        loss: Callable[[Any, Any], Any],
        resize: tuple[int, int] | None = None,
        heads: Mapping[str, HeadLoss] = MappingProxyType({}),
    ) -> None:
        judges = scored(heads)
        if heads:
            model = keras.Model(model.input, {name: model.output[name] for name in ("logits", *judges)})

        @tf.function(
            input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8), tf.TensorSpec((1, None, None), tf.uint8)],
            autograph=False,
        )
        def answer(images: tf.Tensor, labels: tf.Tensor) -> tuple[Any, ...]:
            def at_full_size(logits: tf.Tensor) -> tf.Tensor:
                logits = tf.cast(logits, tf.float32)
                return logits if resize is None else tf.image.resize(logits, tf.shape(labels)[1:3])

            seen = images if resize is None else tf.image.resize(images, resize)
            outputs = model(seen, training=False)
            logits = at_full_size(outputs["logits"] if heads else outputs)
            predicted = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
            counts = {name: each.count(labels, at_full_size(outputs[name])) for name, each in judges.items()}
            return predicted, loss(labels, logits), tf.math.is_finite(tf.reduce_sum(logits)), counts

        self._answer = answer

    def predict(
        self, dataset: Dataset, samples: list[Sample], workers: int = 2, poll: Callable[[], None] = ignore_wait
    ) -> Generator[Prediction, None, None]:
        """Answer each sample in turn, read by `workers` threads, which `close` of the generator ends.

        Args:
            dataset: Reads the samples.
            samples: What to answer.
            workers: Threads.
            poll: Called several times a second while a sample is awaited; may raise.

        Raises:
            DataError: A sample cannot be read.
            NumericError: A logit is NaN or infinite.
        """
        answer = self._frozen() if len(samples) >= FREEZE_FROM else self._answer
        with whole_images(dataset, samples, workers, poll) as batches:
            for sample, (images, labels) in zip(samples, batches, strict=True):
                predicted, loss, is_finite, counts = answer(images, labels)
                if not is_finite:
                    raise _not_finite(sample)
                yield Prediction(
                    sample,
                    images.numpy()[0],
                    labels.numpy()[0],
                    predicted.numpy()[0],
                    float(loss),
                    {name: each.numpy() for name, each in counts.items()},
                )

    def _frozen(self) -> Callable[[tf.Tensor, tf.Tensor], tuple[Any, ...]]:
        """Return the graph with today's weights as constants: TensorFlow then folds batch norm into convolutions."""
        graph = self._answer.get_concrete_function()
        frozen = convert_variables_to_constants_v2(graph)
        return lambda images, labels: tf.nest.pack_sequence_as(graph.structured_outputs, frozen(images, labels))


def _not_finite(sample: Sample) -> NumericError:
    return NumericError(
        f"logits for {sample.image}: NaN or infinite, expected finite numbers. Fix: evaluate an earlier checkpoint, or "
        f"train again with a lower optimizer.learning_rate"
    )
