"""Weights of a backbone: from ImageNet through Keras, or from a file. Arrays only; no file's code is ever run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras

from segtrain.errors import CheckpointError


def load_backbone_weights(
    taps: keras.Model, application: Callable[..., keras.Model], arguments: dict[str, Any], weights: str
) -> None:
    """Fill a backbone that was built up to its taps.

    Args:
        taps: The backbone, its layers named as in `application`.
        application: The builder in keras.applications.
        arguments: What it was called with beside `weights` and `include_top`.
        weights: "imagenet", or the path of an `.h5` file written by Keras, whole or in part.

    Raises:
        CheckpointError: The file cannot be fetched or read, or lacks a layer of `taps`. Nothing was changed then.
    """
    if weights == "imagenet":
        _copy_imagenet(taps, application, arguments)
    else:
        _load_file(taps, Path(weights).expanduser())


def _copy_imagenet(taps: keras.Model, application: Callable[..., keras.Model], arguments: dict[str, Any]) -> None:
    try:
        # At the weights' own size: Keras warns about every other.
        source = application(include_top=False, weights="imagenet", input_shape=(224, 224, 3), **arguments)
    except Exception as error:  # noqa: BLE001  Keras raises bare Exception when a download fails.
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
        raise CheckpointError(
            f"backbone.weights=imagenet: {' '.join(str(error).split())[:300]}. Fix: put that file, under its own name, "
            f"into {folder}, or start from random weights with backbone.weights=null"
        ) from error
    names = {layer.name for layer in source.layers}
    for layer in taps.layers:
        if layer.name in names and layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def _load_file(taps: keras.Model, path: Path) -> None:
    wanted = {layer.name: layer for layer in taps.layers if layer.weights}
    try:
        with h5py.File(path, "r") as file:
            stored = _arrays_by_layer(file, set(wanted))
    except OSError as error:
        raise CheckpointError(
            f"backbone.weights={path}: {error}, expected a file of Keras weights (.h5). Fix: correct the path, or use "
            f"backbone.weights=imagenet or backbone.weights=null"
        ) from error
    missing = sorted(name for name in wanted if name not in stored)
    if missing:
        raise CheckpointError(
            f"backbone.weights={path}: {len(missing)} of {len(wanted)} layers are missing, first "
            f"{', '.join(missing[:3])}. Fix: give weights of this backbone, or move backbone.high to an earlier layer"
        )
    for name, layer in wanted.items():
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if [array.shape for array in stored[name]] != shapes:
            raise CheckpointError(
                f"backbone.weights={path}: layer {name} holds {[array.shape for array in stored[name]]}, expected "
                f"{shapes}. Fix: give weights of this very backbone"
            )
    for name, layer in wanted.items():
        layer.set_weights(stored[name])


def _arrays_by_layer(file: h5py.File, wanted: set[str]) -> dict[str, list[Any]]:
    """Read the arrays of the wanted layers from Keras' `.h5` layout, in the order of the layer's weights."""
    root = file.get("model_weights", file)
    stored = {}
    for name in wanted & set(root):
        group = root[name]
        order = group.attrs.get("weight_names", [])
        paths = [item.decode() if isinstance(item, bytes) else item for item in order]
        stored[name] = [group[path][()] for path in paths]
    return stored
