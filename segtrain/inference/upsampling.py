"""Logits at full size in strips of rows, so that large images need no (H, W, K) array.

h, w height and width of a network's last map; H height, W width of the image, K classes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from segtrain.models.layers import ResizeLike, SigmoidLogits

STRIP_BYTES = 1 << 25  # logits of one strip


class Split(NamedTuple):
    """A network without its last upsampling.

    Attributes:
        model: Model from pixels (B, H, W, 3) to the outputs before upsampling.
        align_corners: How the logits are upsampled to the size of the pixels, see `ResizeLike`; None if the network
            does not end with an upsampling to the size of its input, so that `model` is the network itself.
    """

    model: keras.Model
    align_corners: bool | None


def without_upsampling(model: keras.Model) -> Split:
    """Split off the layer that resizes the logits to the size of the input.

    Args:
        model: Model from pixels (B, H, W, 3) to logits (B, H, W, K).
    """
    output = getattr(model, "output", None)
    if not isinstance(output, keras.KerasTensor):  # several outputs, or a subclassed model
        return Split(model, None)
    last, node = _operation(output)
    is_sigmoid = isinstance(last, SigmoidLogits)
    resized = node.arguments.args[0] if is_sigmoid else output
    resize, node = _operation(resized)
    if not isinstance(resize, ResizeLike):
        return Split(model, None)
    features, like = node.arguments.args[0]
    if like is not model.inputs[0]:
        return Split(model, None)
    # Zeros stay zeros under resizing, so that the order of the two layers does not matter.
    logits = last(features) if is_sigmoid else features
    return Split(keras.Model(model.input, logits), resize.align_corners)


def strips(
    maps: np.ndarray, size: tuple[int, int], align_corners: bool = False, rows: int | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Resize a map bilinearly to the size of the image, some rows at a time; the numbers are those of `ResizeLike`.

    Args:
        maps: (h, w, K) float32.
        size: H and W.
        align_corners: See `ResizeLike`.
        rows: Rows of a strip; by default as many as `STRIP_BYTES` hold.

    Yields:
        Rows of the image, and their values (n, W, K) float32.
    """
    height, width = size
    rows = rows or max(1, STRIP_BYTES // (4 * width * maps.shape[-1]))
    lower, upper, fraction = _positions(maps.shape[0], height, align_corners)
    for start in range(0, height, rows):
        chosen = slice(start, min(start + rows, height))
        first, last = lower[chosen][0], upper[chosen][-1] + 1
        # The kernel interpolates along x first: with as many rows as before, that is all it does.
        wide = _resize(maps[first:last], (last - first, width), align_corners)
        above, below = wide[lower[chosen] - first], wide[upper[chosen] - first]
        below -= above
        below *= fraction[chosen, None, None]
        below += above
        yield chosen, below


def _positions(length: int, wanted: int, align_corners: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for each wanted row, the two rows to interpolate between and the weight of the second, as TensorFlow."""
    if align_corners:
        scale = np.float32((length - 1) / (wanted - 1)) if wanted > 1 else np.float32(0)
        position = np.arange(wanted, dtype=np.float32) * scale
    else:
        scale = np.float32(length / np.float32(wanted))
        position = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(position)
    lower = np.maximum(floor.astype(np.int64), 0)
    upper = np.minimum(np.ceil(position).astype(np.int64), length - 1)
    return lower, upper, (position - floor).astype(np.float32)


def _resize(maps: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    if maps.shape[1] == size[1]:
        return maps
    resized = tf.raw_ops.ResizeBilinear(
        images=maps[None], size=size, align_corners=align_corners, half_pixel_centers=not align_corners
    )
    return resized[0].numpy()


def _operation(tensor: Any) -> tuple[Any, Any]:
    """Return the layer that a symbolic tensor comes from, and the node of its call."""
    operation, node_index, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node_index]
