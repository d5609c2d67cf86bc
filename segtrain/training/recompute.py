"""Activation checkpointing: features of early stages are dropped after use and recomputed for their gradient.

The features of a backbone's early stages take most of a step's memory. `tf.recompute_grad` would update batch norm's
moving statistics twice, once per forward pass; here they are updated once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.models.backbones import Backbone
from segtrain.models.layers import BatchNormalization, keep_moving_statistics


def recomputing(model: keras.Model, ends: Sequence[str]) -> Callable[..., Any]:
    """Return a function equal to `model(pixels, training=True)` whose gradients take less memory and more time.

    Args:
        model: A functional network with one input.
        ends: Names of layers that end a stage, from early to deep. Each stage, from the pixels or the previous end, is
            computed twice; the rest of the network is computed once.

    Raises:
        ConfigError: A stage has random layers, or batch norm of another class than segtrain's own.
    """
    stages, rest = _split(model, ends)
    for _, stage, _ in stages:
        for layer in stage.layers:
            _require_repeatable(layer)

    def forward(pixels: Any, training: bool = True) -> Any:
        known = {id(model.input): tf.convert_to_tensor(pixels)}
        for sources, stage, results in stages:
            values = _twice(stage)(*[known[source] for source in sources])
            # TensorFlow unpacks a list of one result.
            known |= dict(zip(results, values if isinstance(values, list | tuple) else [values], strict=True))
        sources, network = rest
        return network([known[source] for source in sources], training=training)

    return forward


def early_stages(model: keras.Model, backbone: Backbone) -> list[str]:
    """Return the last layers of a backbone at strides 4 and 8, where most of its memory is used.

    On ResNet-50 at 512 pixels more or finer stages saved no more memory.
    """
    names = {id(tensor): name for name, tensor in backbone.tensors.items()}
    ends = [names[id(backbone.stages[stride])] for stride in (4, 8) if stride in backbone.stages]
    held = {layer.name for layer in model.layers}
    return [end for end in ends if end in held]


def _split(model: keras.Model, ends: Sequence[str]) -> tuple[list[tuple[list[int], Any, list[int]]], Any]:
    """Split a network after each of `ends` into models that use the same layers.

    Returns:
        For each stage the ids of its input tensors, its model, and the ids of its output tensors; then the input ids
        and the model of the rest.
    """
    operations = [one for one in model.operations if not isinstance(one, keras.layers.InputLayer)]
    part_of: dict[int, int] = {}
    for number, end in enumerate(ends):
        for operation in _behind(model.get_layer(end)):
            part_of.setdefault(id(operation), number)
    last = len(ends)
    reads: list[dict[int, Any]] = [{} for _ in range(last + 1)]
    gives: list[dict[int, Any]] = [{} for _ in range(last + 1)]
    for operation in operations:
        here = part_of.get(id(operation), last)
        for tensor in operation._inbound_nodes[0].input_tensors:
            source = tensor._keras_history.operation
            there = part_of.get(id(source), last) if not isinstance(source, keras.layers.InputLayer) else -1
            if there != here:
                reads[here][id(tensor)] = tensor
                if there >= 0:
                    gives[there][id(tensor)] = tensor
    stages = [
        (list(reads[part]), keras.Model(list(reads[part].values()), list(gives[part].values())), list(gives[part]))
        for part in range(last)
    ]
    return stages, (list(reads[last]), keras.Model(list(reads[last].values()), model.output))


def _behind(layer: Any) -> list[Any]:
    """Return all operations that a layer's output depends on, the layer included."""
    found, waiting = {}, [layer]
    while waiting:
        operation = waiting.pop()
        if id(operation) not in found and not isinstance(operation, keras.layers.InputLayer):
            found[id(operation)] = operation
            waiting += [tensor._keras_history.operation for tensor in operation._inbound_nodes[0].input_tensors]
    return list(found.values())


def _twice(stage: keras.Model) -> Callable[..., Any]:
    """Run a stage without keeping its features, and run it again to compute its gradient."""

    @tf.custom_gradient
    def run(*inputs: Any) -> Any:
        def gradient(*upstream: Any, variables: Sequence[tf.Variable] = ()) -> Any:
            # Wait for the upstream gradient: else the features would be recomputed early and stay in memory.
            with tf.control_dependencies(upstream):
                again = [tf.identity(one) for one in inputs]
            with tf.GradientTape() as tape, keep_moving_statistics():
                tape.watch(again)
                results = stage(again, training=True)
            found = tape.gradient(
                results, [*again, *variables], output_gradients=list(upstream), unconnected_gradients="zero"
            )
            return found[: len(again)], found[len(again) :]

        return stage(list(inputs), training=True), gradient

    return run


def _require_repeatable(layer: keras.layers.Layer) -> None:
    kind = type(layer).__name__
    other_norm = isinstance(layer, keras.layers.BatchNormalization) and (
        not isinstance(layer, BatchNormalization) or layer.synchronized or layer.compute_dtype != "float32"
    )
    if other_norm or getattr(layer, "seed_generator", None) is not None:
        raise ConfigError(
            f"activation_checkpointing=true: layer {layer.name} ({kind}) cannot be computed twice alike, expected "
            f"float32 batch norm "
            f"of one device and no random layers in the backbone's early stages. Fix: activation_checkpointing=false"
        )
