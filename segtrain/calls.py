"""A config node as a call: what a `_target_` may name, and which arguments it takes.

The allow-list is the boundary that keeps a config file from running anything but segtrain's parts, Keras' own and
the modules that the user trusts by name; Hydra's `instantiate` has a block-list only and is not used.
"""

import difflib
import importlib
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from segtrain.errors import ConfigError

KERAS = ("keras.optimizers", "keras.optimizers.schedules", "keras.losses", "keras.callbacks")
# Modules of segtrain that are the command itself, not parts of a network or of its training.
NOT_PARTS = ("segtrain.cli", "segtrain.config", "segtrain.calls", "segtrain.schema", "segtrain.commands")
MISSING = "???"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean learning_rate?`, or nothing when no known name is near. `lr` is near learning_rate."""
    names = list(known)
    last = {name: name.rpartition(".")[2] for name in names}
    near = [name for name in names if "".join(part[:1] for part in last[name].split("_")) == word != ""]
    near += difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    leaf = word.rpartition(".")[2]
    near += [name for name in names if leaf in difflib.get_close_matches(leaf, [last[name]], cutoff=0.8) or leaf == last[name]]
    unique = list(dict.fromkeys(near))[:3]
    return f"; did you mean {' or '.join(unique)}?" if unique else ""


def resolve(target: str, trusted: Sequence[str], where: str) -> Callable[..., Any]:
    """Import what a `_target_` names.

    Args:
        target: Dotted path of a class or function.
        trusted: Modules outside segtrain and Keras that may be named.
        where: Key of the node, for messages.

    Raises:
        ConfigError: The target is not on the allow-list, or there is no such name.
    """
    module_path, _, name = target.rpartition(".")
    if not _allowed(module_path, name, trusted):
        raise ConfigError(
            f"{where}._target_={target} is refused for safety: expected a part of segtrain, of {', '.join(KERAS)}, "
            f"or of a trusted module. Fix: if the code is yours, add trusted_modules=[{target.split('.')[0]}]"
        )
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"{where}._target_={target}: no module named {error.name}") from error
    found = getattr(module, name, None)
    public = [each for each in vars(module) if not each.startswith("_") and callable(getattr(module, each))]
    if not callable(found):
        raise ConfigError(f"{where}._target_={target}: {module_path} has no {name}{did_you_mean(name, public)}")
    # An imported module or function is reachable as an attribute too: segtrain.data.files.imwrite would be cv2's.
    home = getattr(found, "__module__", None) or ""
    package = module_path.split(".")[0]
    if not _within(home, (package,)) or any(_within(home, (each,)) for each in NOT_PARTS):
        raise ConfigError(f"{where}._target_={target} is refused for safety: it belongs to {home or 'no module'}")
    return found


def _within(path: str, packages: Iterable[str]) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in packages)


def _allowed(module_path: str, name: str, trusted: Sequence[str]) -> bool:
    if not module_path or any(part.startswith("_") or not part for part in [*module_path.split("."), name]):
        return False
    return (
        module_path in KERAS
        or (_within(module_path, ["segtrain"]) and not _within(module_path, NOT_PARTS))
        or _within(module_path, trusted)
    )


def parameters(call: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Named arguments of a call, and whether it takes any other name as well.

    Keras' optimizers, losses and callbacks hand `**kwargs` on to their base class, so the explicit arguments of the
    bases count as theirs; only a function with `**kwargs` takes any name.
    """
    named: dict[str, inspect.Parameter] = {}
    layers = [call]
    if inspect.isclass(call):
        layers = [vars(base)["__init__"] for base in call.__mro__[:-1] if "__init__" in vars(base)]
    for layer in layers:
        found = inspect.signature(layer, eval_str=True).parameters.values()
        for parameter in found:
            if parameter.name != "self" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                named.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
            return named, False
    return named, not inspect.isclass(call)


def problems(call: Callable[..., Any], node: Mapping[str, Any], facts: Collection[str], where: str) -> Iterator[str]:
    """All that keeps `node` from being a call: unknown, missing and mistyped arguments, one sentence each."""
    named, any_name = parameters(call)
    given = {name: value for name, value in node.items() if name != "_target_"}
    for name, value in given.items():
        key = f"{where}.{name}"
        if name in facts:
            if value != MISSING:
                yield f"{key}={value}: this comes from the dataset or the run, not from a key. Fix: remove it"
        elif value == MISSING:
            yield f"{key} is not given. Fix: {key}=..."
        elif name not in named:
            if not any_name:
                options = [each for each in named if each not in facts]
                yield (
                    f"{key}: {node['_target_']} has no argument {name!r}{did_you_mean(name, options)}"
                    f" It takes {', '.join(options) or 'none'}"
                )
        elif expected := misfit(value, named[name].annotation):
            yield f"{key}={value!r} is of type {type(value).__name__}, expected {expected}"
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in given and name not in facts:
            yield f"{where}.{name} is not given: {node['_target_']} needs it. Fix: +{where}.{name}=..."


def misfit(value: Any, annotation: Any) -> str:
    """What the annotation expects where `value` is not it; empty when it fits or cannot be told."""
    return "" if _fits(value, annotation) else str(getattr(annotation, "__name__", annotation)).replace("NoneType", "null")


def _fits(value: Any, annotation: Any) -> bool:
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(value, Mapping) and "_target_" in value:
        return True  # a node of its own: what it returns shows when it is built
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in args)
    if origin is Literal:
        return value in args
    if origin in (list, tuple, Sequence, Iterable, Collection):
        if not isinstance(value, list):
            return False
        if origin is tuple and args and args[-1] is not ...:
            return len(value) == len(args) and all(_fits(each, kind) for each, kind in zip(value, args, strict=True))
        return not args or all(_fits(each, args[0]) for each in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and (not args or all(_fits(each, args[1]) for each in value.values()))
    if annotation in (None, types.NoneType):
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation in (str, Path):
        return isinstance(value, str)
    if annotation in (list, tuple):
        return isinstance(value, list)
    if annotation is dict:
        return isinstance(value, Mapping)
    return True
