"""Backbones from any functional Keras model, such as one with nested models or attention."""

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, final

import keras

from segtrain.errors import ConfigError
from segtrain.models.backbones import Backbone, WeightSource
from segtrain.models.dilation import clone_layer
from segtrain.models.layers import Preprocessing, PreprocessingMode
from segtrain.models.taps import stable_names


def backbone_from(
    model: keras.Model,
    taps: Mapping[int, str],
    *,
    preprocessing: PreprocessingMode = "none",
    weights: str | None = None,
    partial_weights: bool = False,
) -> Backbone:
    """Make a backbone of a functional Keras model that is not in keras.applications.

    The layers are copied, those of nested models included, so that freezing, learning rate multipliers and
    normalization reach each of them. Strides stay as they are: nothing is dilated, and `output_stride` is the stride of
    the deepest tap.

    Args:
        model: Functional model from (B, H, W, 3) pixels of any height and width to features. Custom layers need
            `get_config`.
        taps: Stride (input pixels per feature, such as 4, 8, 16, 32) -> name of the layer that returns the features at
            it, (B, H/stride, W/stride, C). Layer `b` of a nested model `a` is `a_b`; a layer without a name of its own
            is `conv2d_0`, `conv2d_1` in the order of the model. The heads of this package read the deepest one and, for
            details, the one at stride 4 (the finest one if no tap has stride 4).
        preprocessing: Conversion of raw RGB pixels in 0-255 to the model's input, see `Preprocessing`; "none" passes
            them unchanged.
        weights: Path of a file of weights; None keeps the values that `model` has.
        partial_weights: Keep the initial values of variables that the file lacks instead of raising an error.

    Raises:
        ConfigError: The model is not functional, takes images of one size only or has a layer that cannot be copied;
            or a tap is not a layer, returns no map, or has another stride.

    Example:
        >>> import keras
        >>> x = pixels = keras.Input((None, None, 3))
        >>> for stride in (2, 4, 8):
        ...     x = keras.layers.Conv2D(stride, 3, strides=2, padding="same", name=f"stage_{stride}")(x)
        >>> backbone = backbone_from(keras.Model(pixels, x), {4: "stage_4", 8: "stage_8"}, preprocessing="tf")
        >>> backbone.output_stride, backbone.high_tap, backbone.high.shape
        (8, 'stage_8', (None, None, None, 8))
    """
    _require_any_size(model)
    pixels = keras.Input((None, None, 3), name="pixels")
    copies = _Copies()
    outputs = copies.call(model, Preprocessing(preprocessing, name="preprocessing")(pixels))
    network = keras.Model(pixels, outputs, name=model.name)
    tensors = {one.name: one._inbound_nodes[-1].output_tensors[0] for one in network.operations}
    taps = {stride: copies.names.get(name, name) for stride, name in taps.items()}
    _require_taps(taps, tensors, network)
    values = {
        new.path: keras.ops.convert_to_numpy(old)
        for layer, copy in copies.pairs.values()
        for old, new in zip(getattr(layer, "weights", ()), getattr(copy, "weights", ()), strict=True)
    }
    stages = {stride: tensors[taps[stride]] for stride in sorted(taps)}
    deepest, fine = max(taps), 4 if 4 in taps else min(taps)
    source = WeightSource(weights, partial_weights, None, values)
    return Backbone(
        *(pixels, stages[deepest], stages[fine], taps[deepest], taps[fine]), stages, deepest, tensors, source
    )


def _require_any_size(model: Any) -> None:
    shape = getattr(model, "input_shape", None) if hasattr(model, "_run_through_graph") else None
    if shape is None:
        raise ConfigError(
            f"backbone_from: {type(model).__name__} found, expected a functional model with one input. Fix: wrap it in "
            "keras.Model(inputs, outputs)"
        )
    if tuple(shape) != (None, None, None, 3):
        raise ConfigError(
            f"backbone_from: model {model.name} takes input of shape {shape}, expected (None, None, None, 3). Fix: "
            "build it on keras.Input((None, None, 3))"
        )


@final
class _Copies:
    """Copies of the layers of a model and of the models nested in it.

    Attributes:
        pairs: Id of a layer -> the layer and its copy; a layer that is called twice has one copy.
        names: Name of a layer (behind those of the models that it is nested in) -> name of its copy.
    """

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[Any, Any]] = {}
        self.names: dict[str, str] = {}

    def call(self, model: Any, inputs: Any, old_prefix: str = "", prefix: str = "") -> Any:
        """Call the copies one by one on other symbolic inputs, and return the outputs."""
        names = stable_names(model)

        def copy_of(operation: Any) -> Callable[..., Any]:
            old_name, name = old_prefix + operation.name, prefix + names[operation.name]
            # A Sequential keeps its graph in a functional model inside.
            nested = getattr(operation, "_functional", None) or operation
            if hasattr(nested, "_run_through_graph"):
                return lambda *args, **kwargs: self.call(nested, args[0], f"{old_name}_", f"{name}_")
            if id(operation) not in self.pairs:
                self.names[old_name] = name
                self.pairs[id(operation)] = operation, _copied(operation, name)
            found: Callable[..., Any] = self.pairs[id(operation)][1]
            return found

        return model._run_through_graph(inputs, operation_fn=copy_of)


def _copied(layer: Any, name: str) -> Any:
    try:
        return clone_layer(layer, {}, name)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(
            f"backbone_from: layer {layer.name} ({type(layer).__name__}) cannot be copied from its get_config() "
            f"({' '.join(str(error).split())[:150]}). Fix: return each argument of __init__ from get_config"
        ) from error


def _require_taps(taps: Mapping[int, str], tensors: Mapping[str, Any], network: keras.Model) -> None:
    maps = [name for name, tensor in tensors.items() if len(tensor.shape) == 4]
    for stride, name in taps.items():
        if name not in maps:
            seen = f"returns {tensors[name].shape}, expected (B, H, W, C)" if name in tensors else "found no such layer"
            near = difflib.get_close_matches(name, maps, n=3, cutoff=0.4) or maps[-3:]
            raise ConfigError(f"backbone_from: taps[{stride}]={name}: {seen}. Fix: take one of {', '.join(near)}")
    if not taps:
        raise ConfigError(
            f"backbone_from: taps is empty, expected at least one stride. Fix: name a layer, such as {maps[-1]}"
        )
    side = 8 * math.lcm(*taps)
    probe = keras.Model(network.input, {str(stride): tensors[name] for stride, name in taps.items()})
    shapes = probe.compute_output_spec(keras.KerasTensor((1, side, side, 3)))
    for stride, name in taps.items():
        rows, columns = shapes[str(stride)].shape[1:3]
        if (rows, columns) != (side // stride, side // stride):
            raise ConfigError(
                f"backbone_from: taps[{stride}]={name}: {rows} x {columns} features for {side} x {side} pixels, "
                f"expected {side // stride} x {side // stride}. Fix: taps={{{_stride(side, rows)}: {name!r}}}"
            )


def _stride(side: int, rows: int | None) -> str:
    return str(round(side / rows)) if rows else "STRIDE"
