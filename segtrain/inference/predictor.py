"""Inference on images of any size: from pixels to logits, class ids or probabilities.

B batch, H height, W width, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, final

import keras
import numpy as np
import tensorflow as tf

from segtrain.errors import NumericError
from segtrain.inference import tiles as tiling
from segtrain.inference.graphs import frozen, graph_of, labeling, logits_of, reduce_logits
from segtrain.inference.modes import mean_probabilities
from segtrain.inference.options import AUTO_FROM, AUTO_TILE, MIN_AUTO_TILE, Tta, parse_tiles, parse_tta
from segtrain.inference.upsampling import strips, without_upsampling

# Number of images from which a graph is frozen: that takes 0.4 to 3 s and saves an eighth of the time per image on CPU.
FREEZE_FROM = 200
MAX_LOGIT_BYTES = 1 << 28  # logits of an image that are computed at once
_PROBE = 64  # pixels; a multiple of every output stride

Strip = tuple[slice, np.ndarray]


class Labeled(NamedTuple):
    """Prediction of one image.

    Attributes:
        labels: (H, W) uint8 class ids; of equal logits the lower id.
        confidence: (H, W) float32, 0-1: softmax probability of the predicted class.
    """

    labels: np.ndarray
    confidence: np.ndarray


@final
class Predictor:
    """Map images to logits with one compiled graph for all sizes; weights may change between calls.

    Logits, not class ids, are resized to the size of the image, which keeps class borders smooth. Logits of a large
    image are computed in strips of rows, so that memory is bounded.

    Args:
        model: Model from pixels (B, H, W, 3) to logits (B, H, W, K); with further heads to a dict of logits, those of
            the main head as `logits`.
        resize: Height and width to resize images to, in pixels; None keeps the image's size.
        heads: Names of further heads to compute.
        tta: Test-time augmentation: none, flip, ms, ms_flip, or a mapping with `scales` and `flip`.
        tiles: Side of the tiles that a larger image is divided into, in pixels; "auto" is 1024 for images above 4
            megapixels, "off" divides none. Resized images are not divided.
        flip_pairs: Ids of (left, right) classes, exchanged in mirrored images.

    Raises:
        ConfigError: `tta` or `tiles` is out of range.

    Example:
        >>> import keras, numpy as np
        >>> pixels = keras.Input((None, None, 3))
        >>> model = keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels))
        >>> Predictor(model, tta="flip").predict(np.zeros((4, 6, 3), np.uint8)).shape
        (4, 6)
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        resize: tuple[int, int] | None = None,
        heads: Sequence[str] = (),
        tta: Any = "none",
        tiles: int | str = "off",
        flip_pairs: Sequence[Sequence[int]] = (),
    ) -> None:
        if isinstance(getattr(model, "output", None), dict):  # a subclassed model has none
            main = keras.Model(model.input, model.output["logits"])
            model = keras.Model(model.input, {name: model.output[name] for name in ("logits", *heads)})
        else:
            main = model
        self._resize = resize
        self._tta: Tta = parse_tta(tta)
        self._tiles = parse_tiles(tiles) if resize is None else "off"
        self._flip_pairs = flip_pairs
        low, align_corners = without_upsampling(main)
        self._align_corners = bool(align_corners)
        self._cell: int | None = None if align_corners is False else 1

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
        self._label = labeling(compute)
        self._main = graph_of(main)
        self._low = graph_of(low)
        # Logits without a known number of classes, of a subclassed model, always come in strips.
        self._num_classes = getattr(main, "output", np.zeros((1, 1 << 20))).shape[-1]

    @property
    def is_plain(self) -> bool:
        """Whether every image is predicted once, as a single piece."""
        return self._tta.is_none and self._tiles == "off"

    def outputs(self, num_images: int = 1) -> Callable[[Any], dict[str, tf.Tensor]]:
        """Return a function from (1, H, W, 3) uint8 to float32 (1, H, W, C) by name, `logits` and the heads.

        It computes the complete image in one piece, without test-time augmentation.

        Args:
            num_images: Number of images it will be called with. From `FREEZE_FROM` on the current weights become
                constants, so that TensorFlow folds batch norm into convolutions.
        """
        return self._compute if num_images < FREEZE_FROM else frozen(self._compute)

    def freeze(self, num_images: int) -> None:
        """Fix the current weights if `num_images` are enough to gain by it: `label` and `strips` then run faster."""
        if num_images >= FREEZE_FROM:
            self._label, self._main, self._low = map(frozen, (self._label, self._main, self._low))

    def needs_strips(self, image: np.ndarray) -> bool:
        """Return whether an image is divided, augmented, or too large for its logits to be computed at once."""
        is_large = 4 * image.shape[0] * image.shape[1] * self._num_classes > MAX_LOGIT_BYTES
        return is_large or not self._tta.is_none or self._tile(image) is not None

    def strips(self, image: np.ndarray) -> Iterator[Strip]:
        """Compute the logits of an image in strips, from top to bottom.

        With test-time augmentation they are logarithms of the mean probabilities.

        Args:
            image: (H, W, 3) uint8 RGB.

        Yields:
            Rows of the image, and their logits (n, W, K) float32.
        """
        size = image.shape[:2]
        tile = self._tile(image)
        if not self._tta.is_none:
            seen = image if self._resize is None else tf.image.resize(image, self._resize).numpy()
            blocks = self._in_tiles(seen, tile, self._mean_probabilities, 1)
            rows = tiling.numbered(blocks) if self._resize is None else strips(np.concatenate(list(blocks)), size)
            yield from ((chosen, np.log(np.maximum(block, np.float32(1e-38)))) for chosen, block in rows)
        elif self._resize is not None:
            seen = tf.image.resize(image, self._resize).numpy()
            yield from strips(logits_of(self._main, seen), size)
        elif tile is not None and self._cell_size() == 1:
            yield from tiling.numbered(self._in_tiles(image, tile, lambda part: logits_of(self._main, part), 1))
        else:
            blocks = self._in_tiles(image, tile, lambda part: logits_of(self._low, part), self._cell_size())
            yield from strips(np.concatenate(list(blocks)), size, self._align_corners)

    def logits(self, image: np.ndarray) -> np.ndarray:
        """Compute the logits of one image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (H, W, K) float32.

        Raises:
            ValueError: The image has another shape or type.
        """
        require_rgb(image)
        if self._tta.is_none and self._tile(image) is None:
            return np.asarray(self._compute(tf.convert_to_tensor(image[None]))["logits"])[0]
        return np.concatenate([block for _, block in self.strips(image)])

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Compute the class probabilities of one image, the softmax of its logits.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (H, W, K) float32, 0-1, each pixel's sum 1.

        Raises:
            ValueError: The image has another shape or type.
            NumericError: A logit is NaN or infinite.
        """
        found = tf.nn.softmax(self.logits(image)).numpy()
        if not np.isfinite(found.sum()):
            raise not_finite()
        return found

    def label(self, image: np.ndarray) -> Labeled:
        """Label every pixel of one image, with the confidence in it.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ValueError: The image has another shape or type.
            NumericError: A logit is NaN or infinite.
        """
        require_rgb(image)
        if self.needs_strips(image):
            found = [reduce_logits(block) for _, block in self.strips(image)]
        else:
            found = [self._label(tf.convert_to_tensor(image[None]))]
        if not all(bool(is_finite) for _, _, is_finite in found):
            raise not_finite()
        return Labeled(*(np.concatenate([each[index].numpy() for each in found]) for index in (0, 1)))

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Label every pixel of one image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (H, W) uint8 class ids; of equal logits the lower id.

        Raises:
            ValueError: The image has another shape or type.
            NumericError: A logit is NaN or infinite.
        """
        return self.label(image).labels

    def _tile(self, image: np.ndarray) -> int | None:
        """Return the side of the tiles that an image is divided into; None for an image in one piece."""
        height, width = image.shape[:2]
        if self._tiles == "auto":
            # The network sees a tile at the largest scale of the augmentation.
            scale = max(1.0, *self._tta.scales)
            return max(MIN_AUTO_TILE, int(AUTO_TILE / scale)) if height * width * scale**2 > AUTO_FROM else None
        tile = 0 if isinstance(self._tiles, str) else self._tiles
        return tile if tile and max(height, width) > tile else None

    def _in_tiles(
        self, image: np.ndarray, tile: int | None, scores: Callable[[np.ndarray], np.ndarray], cell: int
    ) -> Iterator[np.ndarray]:
        if tile is None:
            return iter([scores(image)])
        side = -(-tile // tiling.ALIGNMENT) * tiling.ALIGNMENT
        overlap = max(tiling.ALIGNMENT, side // 4 // tiling.ALIGNMENT * tiling.ALIGNMENT)
        return tiling.blend(image, scores, side, overlap, cell)

    def _mean_probabilities(self, image: np.ndarray) -> np.ndarray:
        return mean_probabilities(self._main, image, self._tta, self._flip_pairs)

    def _cell_size(self) -> int:
        """Return the pixels along one side that a logit before upsampling stands for; 1 if that is no integer."""
        if self._cell is None:
            number = self._low(tf.zeros((1, _PROBE, _PROBE, 3))).shape[1]
            cell = _PROBE // number
            fits = cell * number == _PROBE and tiling.ALIGNMENT % cell == 0
            self._cell = cell if fits else 1
        return self._cell


def require_rgb(image: np.ndarray) -> None:
    """Refuse what is not an image of bytes.

    Raises:
        ValueError: The image is not (H, W, 3) uint8.
    """
    if getattr(image, "ndim", None) != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        seen = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise ValueError(f"image: {seen}, expected (H, W, 3) uint8 RGB")


def not_finite(image: Any = "an image") -> NumericError:
    """Return the error for logits that are NaN or infinite."""
    return NumericError(
        f"logits for {image}: NaN or infinite, expected finite numbers. Fix: evaluate an earlier checkpoint, or train "
        f"again with a lower learning rate"
    )
