"""The allow-list: which parts a `_target_` may name, and how one is imported.

It keeps a config file from running anything but segtrain's parts, Keras' own and the modules that the user trusts by
name. Hydra's `instantiate` has only a block-list and is not used.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from segtrain.errors import ConfigError
from segtrain.process import working_folder
from segtrain.suggest import did_you_mean

PARTS = ("segtrain.data", "segtrain.models", "segtrain.losses", "segtrain.evaluation", "segtrain.training")
KERAS = ("keras.optimizers", "keras.optimizers.schedules", "keras.losses", "keras.callbacks")


def refusal(target: Any, trusted: Sequence[str], where: str) -> str:
    """Why a `_target_` is not on the allow-list; empty when it is. Imports nothing."""
    module_path, _, _ = str(target).rpartition(".")
    if module_path in (*PARTS, *KERAS) or any(f"{module_path}.".startswith(f"{each}.") for each in trusted):
        return ""
    return (
        f"{where}._target_={target} is refused for safety, expected a part of {', '.join(PARTS)}, a "
        f"Keras optimizer, schedule, loss or callback, or your own. Fix: trusted_modules=[YOUR_MODULE]"
    )


def find_target(target: str, trusted: Sequence[str], where: str) -> Callable[..., Any]:
    """Import what a `_target_` names.

    Args:
        target: Dotted path of a class or function.
        trusted: Modules outside segtrain and Keras that may be named.
        where: Key of the node, for messages.

    Raises:
        ConfigError: The target is not on the allow-list, or there is no such name.
    """
    if refused := refusal(target, trusted, where):
        raise ConfigError(refused)
    module_path, _, name = target.rpartition(".")
    is_trusted = module_path not in (*PARTS, *KERAS)
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            if error.name is not None and working_folder.is_module_of(error.name, working_folder.current()):
                named = ",".join([*trusted, error.name.partition(".")[0]])
                raise ConfigError(
                    f"{where}._target_={target}: it imports {error.name}, which is in the working folder and not in "
                    f"trusted_modules. Fix: trusted_modules=[{named}]"
                ) from error
            raise
        raise ConfigError(f"{where}._target_={target}: there is no module {error.name}") from error
    members = {each: getattr(module, each) for each in dir(module)}  # dir: some names are imported when asked for
    public = {each: value for each, value in members.items() if is_trusted or _is_own(value, module_path)}
    if not callable(found := public.get(name)):
        near = did_you_mean(name, [each for each, value in public.items() if callable(value)])
        raise ConfigError(f"{where}._target_={target}: {module_path} has no part {name}{near}")
    return found


def _is_own(value: Any, module_path: str) -> bool:
    """Whether a module defines the class or function itself or below, or has only imported it.

    What is imported is an attribute too: without this, segtrain.losses would lend all of Keras to a config.
    """
    if module_path in KERAS:
        return inspect.isclass(value) and value.__module__.startswith("keras.")
    home = f"{getattr(value, '__module__', '')}."
    return (inspect.isclass(value) or inspect.isfunction(value)) and home.startswith(f"{module_path}.")
