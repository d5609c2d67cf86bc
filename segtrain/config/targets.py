"""The allow-list: which parts a `_target_` may name, and how one is imported.

It keeps a config file from running anything but segtrain's parts, Keras' own and the modules that the user trusts by
name. Hydra's `instantiate` has only a block-list and is not used.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import segtrain
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
    if public := _public_path(str(target)):
        return (
            f"{where}._target_={target} is refused for safety, expected its public path. Fix: {where}._target_={public}"
        )
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
        ConfigError: The target is not on the allow-list, or the name does not exist.
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
        raise ConfigError(f"{where}._target_={target}: module {error.name} not found") from error
    members = {each: getattr(module, each) for each in dir(module)}  # dir: some names are imported when asked for
    public = {each: value for each, value in members.items() if is_trusted or _is_own(value, module_path)}
    if not callable(found := public.get(name)):
        if home := "" if is_trusted else _defining_module(module_path, name):
            raise ConfigError(
                f"{where}._target_={target}: {home} defines {name}, but {module_path} does not export it. "
                f"Fix: add 'from {home} import {name}' to {module_path.replace('.', '/')}/__init__.py"
            )
        near = did_you_mean(name, [each for each, value in public.items() if callable(value)])
        raise ConfigError(f"{where}._target_={target}: {module_path} has no part {name}{near}")
    return found


def _public_path(target: str) -> str:
    """Return the path that exports what a module inside one of `PARTS` defines; empty for any other target."""
    module_path, _, name = target.rpartition(".")
    package = next((each for each in PARTS if module_path.startswith(f"{each}.")), "")
    return f"{package}.{name}" if package and _defining_module(package, name) == module_path else ""


def _defining_module(package: str, name: str) -> str:
    """Return the module of a segtrain package whose source defines a class or function; empty if not found."""
    root = Path(segtrain.__file__).parent
    definition = re.compile(rf"^(class|def) {re.escape(name)}\b", re.MULTILINE)
    for path in sorted(root.joinpath(*package.split(".")[1:]).rglob("*.py")):
        if package in PARTS and not name.startswith("_") and definition.search(path.read_text(encoding="utf-8")):
            return ".".join([root.name, *path.relative_to(root).with_suffix("").parts])
    return ""


def _is_own(value: Any, module_path: str) -> bool:
    """Whether a module defines the class or function itself or below, or has only imported it.

    What is imported is an attribute too: without this, segtrain.losses would lend all of Keras to a config.
    """
    if module_path in KERAS:
        return inspect.isclass(value) and value.__module__.startswith("keras.")
    home = f"{getattr(value, '__module__', '')}."
    return (inspect.isclass(value) or inspect.isfunction(value)) and home.startswith(f"{module_path}.")
