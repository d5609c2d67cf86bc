"""Networks whose numbers mean something although nobody trained them."""

import keras
import numpy as np


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """(..., 3) raw RGB of noise, float32 in 0-255."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.float32)


def randomise(model: keras.Model, pixels: np.ndarray, seed: int = 0) -> None:
    """Give every variable of a model a number of its own, and batch norm the statistics that these pixels have.

    The gates of squeeze-and-excitation blocks are held constant (kernels of 0, random biases): they see means over the
    whole map, which are taken over other places once a network is dilated.
    """
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        layer, _, name = weight.path.rpartition("/")
        shape = tuple(weight.shape)
        if "squeeze_excite" in layer or "_se_" in layer:
            weight.assign(np.zeros(shape) if name == "kernel" else rng.normal(0, 1, shape))
        elif "kernel" in name:
            depthwise = len(shape) == 4 and shape[3] == 1
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(shape[:2] if depthwise else shape[:-1])), shape))
        elif name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif name in ("bias", "beta"):
            weight.assign(rng.normal(0, 0.5, shape))
    batch_norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in batch_norms]
    for layer in batch_norms:
        layer.momentum = 0
    model(pixels, training=True)
    for layer, momentum in zip(batch_norms, momenta, strict=True):
        layer.momentum = momentum
