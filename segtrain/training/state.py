"""Convert the state of a run to arrays by name, and restore it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from segtrain.errors import CheckpointError, NumericError
from segtrain.training.precision import loss_scale_variables
from segtrain.training.progress import Progress
from segtrain.training.replicas import Replicas
from segtrain.training.weight_ema import WeightEma


def snapshot(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, averages: WeightEma | None = None
) -> dict[str, np.ndarray]:
    """Copy every variable that the next step depends on.

    Returns:
        `model/...`: weights, statistics and dropout counters; `optimizer/...`: its state; `ema/...`: averaged weights.
    """
    variables = _model_variables(model) | _optimizer_variables(optimizer)
    if averages is not None:
        variables |= _averaged_variables(averages)
    # Not np.ascontiguousarray: it turns the 0-d step counter into an array of shape (1,).
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in variables.items()}


def count_bytes(model: keras.Model, optimizer: keras.optimizers.Optimizer, averages: WeightEma | None = None) -> int:
    """Count the bytes of the arrays of a `snapshot`."""
    variables = _model_variables(model) | _optimizer_variables(optimizer)
    if averages is not None:
        variables |= _averaged_variables(averages)
    return sum(math.prod(each.shape) * np.dtype(str(each.dtype)).itemsize for each in variables.values())


def require_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse a state with NaN or infinite numbers, which no run can continue from.

    Raises:
        NumericError: A variable holds NaN or infinity.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NumericError(
                f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} numbers are NaN or infinite, "
                f"expected finite weights; no checkpoint was written of them. Fix: lower the learning rate, or "
                f"set clip_norm=1"
            )


def restore(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    arrays: Mapping[str, np.ndarray],
    averages: WeightEma | None = None,
) -> None:
    """Set every variable of `snapshot`; other arrays of the checkpoint are ignored.

    Averages missing from the checkpoint start from its weights; averages that are not used are ignored.

    Raises:
        CheckpointError: A name or shape differs. Nothing was changed then.
    """
    variables = _model_variables(model) | _optimizer_variables(optimizer)
    prefixes: tuple[str, ...] = ("model/", "optimizer/")
    is_averaged = averages is not None and any(name.startswith("ema/") for name in arrays)
    if averages is not None and is_averaged:
        variables |= _averaged_variables(averages)
        prefixes += ("ema/",)
    _assign(variables, {name: array for name, array in arrays.items() if name.startswith(prefixes)})
    if averages is not None and not is_averaged:
        averages.start()


def restore_model(model: keras.Model, arrays: Mapping[str, np.ndarray], *, averaged: bool = True) -> None:
    """Set only the variables of a model, from a `snapshot`.

    Args:
        model: The network.
        arrays: Arrays of the snapshot by name.
        averaged: Whether to use the averaged weights if the snapshot has them, instead of those of the last step.

    Raises:
        CheckpointError: A name or shape differs. Nothing was changed then.
    """
    # Averages have no dropout counters; those of the trained network are used, as inference does not read them.
    averages = {f"model/{name[4:]}": array for name, array in arrays.items() if name.startswith("ema/")}
    own = {name: array for name, array in arrays.items() if name.startswith("model/")}
    _assign(_model_variables(model), own | averages if averaged else own)


def broadcast_state(
    replicas: Replicas,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    averages: WeightEma | None,
    progress: Progress,
) -> None:
    """Copy the chief's state to every process: only the chief reads weights and checkpoints."""
    message = b""
    if replicas.is_chief:
        arrays = {**snapshot(model, optimizer, averages), **progress.arrays()}
        header = {"step": str(progress.step), "progress": json.dumps(progress.metadata())}
        message = safetensors.numpy.save(arrays, metadata=header)
    message = replicas.broadcast(message)
    if not replicas.is_chief:
        size = int.from_bytes(message[:8], "little")
        header = json.loads(message[8 : 8 + size])["__metadata__"]
        arrays = safetensors.numpy.load(message)
        restore(model, optimizer, arrays, averages)
        progress.restore(int(header["step"]), arrays, json.loads(header["progress"]))


def _model_variables(model: keras.Model) -> dict[str, Any]:
    named = {f"model/{weight.path}": weight for weight in model.weights}
    known = {id(weight) for weight in model.weights}
    # Keras numbers the counters of dropout layers per process, so their paths change between runs.
    counters = [variable for variable in model.variables if id(variable) not in known]
    return named | {f"model/counter/{index}": variable for index, variable in enumerate(counters)}


def _averaged_variables(averages: WeightEma) -> dict[str, Any]:
    return {f"ema/{path}": average for path, average in averages.variables.items()}


def _optimizer_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        scale = {f"optimizer/loss_scale/{name}": variable for name, variable in loss_scale_variables(optimizer).items()}
        return scale | _optimizer_variables(optimizer.inner_optimizer)
    # The first part of the path is the optimizer's name, which Keras also numbers per process.
    return {f"optimizer/{variable.path.split('/', 1)[-1]}": variable for variable in optimizer.variables}


def _assign(variables: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    missing, extra = sorted(variables.keys() - arrays.keys()), sorted(arrays.keys() - variables.keys())
    differing = [
        f"{name} {arrays[name].shape} instead of {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    if missing or extra or differing:
        raise CheckpointError(
            f"the checkpoint is of another network: {len(missing)} variables missing {missing[:2]}, {len(extra)} "
            f"unexpected {extra[:2]}, {len(differing)} of another shape {differing[:2]}. Fix: give the run's own "
            f"model, backbone and optimizer"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
