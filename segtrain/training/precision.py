"""Mixed precision: 16-bit features, float32 weights and logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

# Flags in /proc/cpuinfo of processors with bfloat16 instructions.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Build layers with a dtype policy while the context is open; their weights stay float32.

    Args:
        precision: Name of a Keras dtype policy; `float32` keeps Keras' current policy, which may be float64.
    """
    earlier = keras.config.dtype_policy()
    try:
        if precision != "float32":
            keras.config.set_dtype_policy(precision)
        yield
    finally:
        keras.config.set_dtype_policy(earlier)


def keep_logits_in_float32(model: keras.Model) -> None:
    """Compute the outputs in float32 from the last layer with weights on: bfloat16 logits would have many ties."""
    for tensor in keras.tree.flatten(model.output):
        operation = tensor._keras_history.operation
        while isinstance(operation, keras.layers.Layer):
            operation.dtype_policy = "float32"
            if operation.weights:
                break
            operation = operation._inbound_nodes[0].input_tensors[0]._keras_history.operation


def loss_scale_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return the variables of a float16 optimizer's loss scale by name; an empty dict for other optimizers."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return {}
    return {"dynamic_scale": optimizer.dynamic_scale, "step_counter": optimizer.step_counter}


def is_slow_here(precision: str) -> bool:
    """Whether this machine has neither a GPU nor CPU instructions for a precision, so that float32 is faster."""
    if precision == "float32" or tf.config.list_physical_devices("GPU"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    return precision != "mixed_bfloat16" or not any(flag in flags for flag in _BFLOAT16_FLAGS)


def compiles_with_xla(jit: str) -> bool:
    """Whether `jit` selects XLA on this machine: `auto` does for exactly one GPU."""
    return jit == "on" or (jit == "auto" and len(tf.config.list_logical_devices("GPU")) == 1)
