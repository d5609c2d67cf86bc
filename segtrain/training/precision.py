"""Mixed precision: 16-bit features where they do, float32 where they must be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

# Flags of /proc/cpuinfo of processors that multiply bfloat16 by themselves.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Give this precision to all layers that are built while open: their weights stay float32.

    Args:
        precision: A name of Keras' policies; `float32` leaves Keras as it is, for float64 networks' sake.
    """
    earlier = keras.config.dtype_policy()
    try:
        if precision != "float32":
            keras.config.set_dtype_policy(precision)
        yield
    finally:
        keras.config.set_dtype_policy(earlier)


def keep_logits_in_float32(model: keras.Model) -> None:
    """Compute each output, from the last layer with weights on, in float32: logits of 8 bits would have many ties."""
    for tensor in keras.tree.flatten(model.output):
        operation = tensor._keras_history.operation
        while isinstance(operation, keras.layers.Layer):
            operation.dtype_policy = "float32"
            if operation.weights:
                break
            operation = operation._inbound_nodes[0].input_tensors[0]._keras_history.operation


def loss_scale_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return, by name, what a float16 training's loss scale depends on; nothing of another training."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return {}
    return {"dynamic_scale": optimizer.dynamic_scale, "step_counter": optimizer.step_counter}


def is_slow_here(precision: str) -> bool:
    """Whether this machine computes a precision slower than float32: no GPU, nor a processor made for it."""
    if precision == "float32" or tf.config.list_physical_devices("GPU"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    return precision != "mixed_bfloat16" or not any(flag in flags for flag in _BFLOAT16_FLAGS)


def compiles_with_xla(jit: str) -> bool:
    """Whether `jit` asks for XLA here: `auto` is on for exactly one GPU."""
    return jit == "on" or (jit == "auto" and len(tf.config.list_logical_devices("GPU")) == 1)
