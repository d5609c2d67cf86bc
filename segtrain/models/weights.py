"""Load weights from ImageNet through Keras, or from a file. Reads arrays only; no code of a file is ever run.

An array is identified by its variable's path, such as `conv1_conv/kernel`.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors

from segtrain.errors import CheckpointError, ConfigError, argument
from segtrain.models.backbones import Backbone
from segtrain.models.convert import from_torch
from segtrain.models.taps import stable_names
from segtrain.models.weight_files import read_h5, read_safetensors
from segtrain.reading import require_regular

_SHOWN = 5
# h5py raises any of these on damaged files.
_UNREADABLE = (OSError, KeyError, RuntimeError, TypeError, ValueError, MemoryError, safetensors.SafetensorError)


def load_backbone_weights(model: keras.Model, backbone: Backbone) -> None:
    """Load the weights named by a backbone's `weights` into the network's backbone layers.

    Raises:
        CheckpointError: The weights cannot be fetched or read, or lack a layer. No variable is changed then.
    """
    source = backbone.source
    if source.weights is None and source.values is None:
        return
    variables = {path: one for path, one in _variables(model).items() if path.split("/")[0] in backbone.tensors}
    key = f"{argument('weights')}={source.weights}"
    if source.weights is None:
        arrays = dict(source.values or {})
    elif source.weights != "imagenet":
        arrays = read_weights(Path(source.weights).expanduser(), model, key)
    elif source.stock is None:
        raise ConfigError(
            f"{key}: found no ImageNet weights for this layout. Fix: {argument('weights')}=null, or the path of a "
            "torch state dict"
        )
    else:
        arrays = _imagenet(source.stock, model)
    _assign(variables, arrays, key, partial_weights=source.partial_weights, extra_allowed=lambda path: True)


def load_network_weights(
    model: keras.Model,
    arrays: Mapping[str, np.ndarray],
    key: str,
    *,
    reset_classifier: bool,
    further_heads: tuple[str, ...] = (),
) -> None:
    """Load weights into all layers of a network.

    Args:
        model: The network.
        arrays: Path of a variable -> its value.
        key: Name of the source in messages, `weights=PATH`.
        reset_classifier: Leave the classifiers, which depend on the number of classes, as they are.
        further_heads: Names of heads in addition to the main one; heads missing from the arrays stay unchanged.

    Raises:
        CheckpointError: A variable is missing, unexpected or of another shape. No variable is changed then.
    """
    variables = _variables(model)
    if reset_classifier:
        variables = {path: one for path, one in variables.items() if not _is_classifier(path)}
    for head in further_heads:
        if not any(path.startswith(f"{head}_") for path in arrays):
            variables = {path: one for path, one in variables.items() if not path.startswith(f"{head}_")}
    extra_allowed = _is_classifier if reset_classifier else lambda path: False
    _assign(variables, arrays, key, partial_weights=False, extra_allowed=extra_allowed)


def read_weights(path: Path, model: keras.Model, key: str) -> dict[str, np.ndarray]:
    """Read a file of weights: Keras' `.weights.h5` or `.h5`, safetensors, or a torch state dict (safetensors or .pth).

    Args:
        path: The file.
        model: Model that the weights are for, to map names of layers (Keras) and of modules (torch) to variables.
        key: Name of the file in messages.

    Returns:
        Path of a variable -> its value, including variables that the model lacks.

    Raises:
        CheckpointError: The file cannot be read.
    """
    num_bytes = sum(math.prod(weight.shape) for weight in model.weights) * 4
    try:
        if path.suffix == ".safetensors":
            arrays = read_safetensors(path, num_bytes)
        elif path.suffix in (".pth", ".pt"):
            arrays = _read_pth(path, key)
        else:
            return _by_path(read_h5(path, num_bytes), model)
    except _UNREADABLE as error:
        seen = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{key}: {seen or 'more memory than the network takes'}, expected weights as .weights.h5, .h5 or "
            f".safetensors. Fix: correct the path, or fetch the file again if it is damaged"
        ) from error
    if arrays and not any("/" in name for name in arrays):  # torch puts dots where Keras has slashes
        return from_torch(arrays, model, key)
    # segtrain's checkpoints also hold the optimizer; averaged weights are preferred, as the run was scored with them.
    prefix = "ema/" if any(name.startswith("ema/") for name in arrays) else "model/"
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return {name: array for name, array in (own or arrays).items() if not name.startswith("counter/")}


def _variables(model: keras.Model) -> dict[str, Any]:
    return {weight.path: weight for weight in model.weights}


def _is_classifier(path: str) -> bool:
    return path.split("/")[0].endswith("classifier")


def _imagenet(stock: Callable[[], keras.Model], model: keras.Model) -> dict[str, np.ndarray]:
    try:
        source = stock()
    except Exception as error:  # noqa: BLE001  Keras raises bare Exception when a download fails.
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
        raise CheckpointError(
            f"{argument('weights')}=imagenet: {' '.join(str(error).split())[:300]}. Fix: {argument('weights')}=null "
            f"starts from random weights; or put that file, under its own name, into {folder}"
        ) from error
    names = stable_names(source)
    stored = {names.get(layer.name, layer.name): layer.get_weights() for layer in _leaves(source.layers)}
    return _by_path(stored, model)


def _read_pth(path: Path, key: str) -> dict[str, np.ndarray]:
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]  # an extra, never installed with segtrain itself
    except ImportError as error:
        raise CheckpointError(
            f"{key}: a .pth file is read by torch, which is not installed. Fix: pip install 'segtrain-keras[torch]', "
            f"or save the state dict as .safetensors"
        ) from error
    require_regular(path)
    try:
        # Tensors only: torch refuses a file that would run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float().numpy() for name, tensor in state.get("state_dict", state).items()}
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  any error of torch about the file
        raise CheckpointError(
            f"{key}: torch refuses it ({' '.join(str(error).split())[:150]}), expected a state dict of tensors alone. "
            f"Fix: save it with torch.save(model.state_dict(), PATH)"
        ) from error


def _by_path(stored: dict[str, list[np.ndarray]], model: keras.Model) -> dict[str, np.ndarray]:
    arrays = {}
    layers = {layer.name: layer for layer in _leaves(model.layers)}
    for name, values in stored.items():
        weights = layers[name].weights if name in layers else []
        for index, value in enumerate(values):
            arrays[weights[index].path if index < len(weights) else f"{name}/{index}"] = value
    return arrays


def _leaves(layers: list[keras.layers.Layer]) -> Iterator[keras.layers.Layer]:
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer.layers)
        else:
            yield layer


def _assign(
    variables: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    key: str,
    *,
    partial_weights: bool,
    extra_allowed: Callable[[str], bool],
) -> None:
    missing = [f"{path} {tuple(variables[path].shape)}" for path in variables if path not in arrays]
    extra = [f"{path} {arrays[path].shape}" for path in arrays if path not in variables and not extra_allowed(path)]
    differing = [
        f"{path} {arrays[path].shape}, expected {tuple(variable.shape)}"
        for path, variable in variables.items()
        if path in arrays and arrays[path].shape != tuple(variable.shape)
    ]
    refused = {"missing": [] if partial_weights else missing, "extra": extra, "differing": differing}
    if any(refused.values()) or len(missing) == len(variables):
        counts = (
            f"{len(missing)} of {len(variables)} variables are missing, {len(extra)} extra, {len(differing)} differ"
        )
        lines = [
            f"  {kind:<10}{shown}"
            for kind, found in {"missing": missing, "extra": extra, "differing": differing}.items()
            for shown in [*found[:_SHOWN], *(["..."] if len(found) > _SHOWN else [])]
        ]
        fix = "Fix: give weights of the same network"
        if key.startswith(argument("weights")):
            fix += f", or keep random values where weights are missing with {argument('partial_weights')}=true"
        elif differing and not missing and not extra and all(_is_classifier(each) for each in differing):
            fix = "Fix: reset_classifier=true, which keeps all but the classifier"
        raise CheckpointError("\n".join([f"{key}: {counts}. {fix}", *lines]))
    for path, variable in variables.items():
        if path in arrays:
            variable.assign(arrays[path].astype("float32"))
