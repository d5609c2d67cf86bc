"""Inference on full-size images: from pixels to logits or class ids.

B batch, H height, W width, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# Number of images from which a graph is frozen: that takes 0.4 to 3 s and saves an eighth of the time per image on CPU.
FREEZE_FROM = 200


@final
class Predictor:
    """Map images to logits with one compiled graph for all sizes; weights may change between calls.

    Logits, not class ids, are resized to the size of the image, which keeps class borders smooth.

    Args:
        model: Model from pixels (B, H, W, 3) to logits (B, H, W, K); with further heads to a dict of logits, those of
            the main head as `logits`.
        resize: Height and width to resize images to, in pixels; None keeps the image's size.
        heads: Names of further heads to compute.

    Example:
        >>> import keras, numpy as np
        >>> pixels = keras.Input((None, None, 3))
        >>> model = keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels))
        >>> Predictor(model).predict(np.zeros((4, 6, 3), np.uint8)).shape
        (4, 6)
    """

    def __init__(self, model: keras.Model, *, resize: tuple[int, int] | None = None, heads: Sequence[str] = ()) -> None:
        if isinstance(getattr(model, "output", None), dict):  # a subclassed model has none
            model = keras.Model(model.input, {name: model.output[name] for name in ("logits", *heads)})

        @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)], autograph=False)
        def compute(images: tf.Tensor) -> dict[str, tf.Tensor]:
            def at_full_size(logits: tf.Tensor) -> tf.Tensor:
                logits = tf.cast(logits, tf.float32)
                return logits if resize is None else tf.image.resize(logits, tf.shape(images)[1:3])

            seen = images if resize is None else tf.image.resize(images, resize)
            outputs = model(seen, training=False)
            outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
            return {name: at_full_size(outputs[name]) for name in ("logits", *heads)}

        self._compute = compute

    def outputs(self, num_images: int = 1) -> Callable[[Any], dict[str, tf.Tensor]]:
        """Return a function from (1, H, W, 3) uint8 to float32 (1, H, W, C) by name, `logits` and the heads.

        Args:
            num_images: Number of images it will be called with. From `FREEZE_FROM` on the current weights become
                constants, so that TensorFlow folds batch norm into convolutions.
        """
        if num_images < FREEZE_FROM:
            return self._compute
        graph = self._compute.get_concrete_function()
        frozen = convert_variables_to_constants_v2(graph)
        return lambda images: tf.nest.pack_sequence_as(graph.structured_outputs, frozen(images))

    def logits(self, image: np.ndarray) -> np.ndarray:
        """Compute the logits of one image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (H, W, K) float32.

        Raises:
            ValueError: The image has another shape or type.
        """
        if getattr(image, "ndim", None) != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
            seen = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
            raise ValueError(f"image: {seen}, expected (H, W, 3) uint8 RGB")
        return np.asarray(self._compute(tf.convert_to_tensor(image[None]))["logits"])[0]

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Label every pixel of one image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (H, W) uint8 class ids; of equal logits the lower id.

        Raises:
            ValueError: The image has another shape or type.
        """
        return self.logits(image).argmax(axis=-1).astype(np.uint8)
