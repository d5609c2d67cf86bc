"""A config node as a call: what a `_target_` may name, and which arguments it takes.

The allow-list keeps a config file from running anything but segtrain's parts, Keras' own and the modules that
the user trusts by name. Hydra's `instantiate` has only a block-list and is not used.
"""

import importlib
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from segtrain import working_folder
from segtrain.errors import ConfigError
from segtrain.keras_limits import beyond_keras_limits
from segtrain.limits import Limits, out_of_range
from segtrain.shell import brief
from segtrain.suggest import did_you_mean

PARTS = ("segtrain.data", "segtrain.models", "segtrain.losses", "segtrain.evaluation", "segtrain.training")
KERAS = ("keras.optimizers", "keras.optimizers.schedules", "keras.losses", "keras.callbacks")
MISSING = "???"
# What YAML may give for a plain annotation; a bool is an int to Python, but not to a reader.
PLAIN: dict[Any, Any] = {
    **{bool: bool, int: int, float: (int, float), str: str, Path: str, list: list, tuple: list, dict: dict},
    **{None: types.NoneType, types.NoneType: types.NoneType},
}


_PLAIN_VALUES = (bool, int, float, str, Path, None, types.NoneType)

_PLAIN_KINDS = (Literal, list, tuple, Sequence, Iterable, Collection)


class Node:
    """Stands in an annotation for a node of its own, such as a schedule in the place of a rate."""


def refusal(target: Any, trusted: Sequence[str], where: str) -> str:
    """Why a `_target_` is not on the allow-list; empty when it is. Imports nothing."""
    module_path, _, _ = str(target).rpartition(".")
    if module_path in (*PARTS, *KERAS) or any(f"{module_path}.".startswith(f"{each}.") for each in trusted):
        return ""
    return (
        f"{where}._target_={target} is refused for safety, expected a part of {', '.join(PARTS)}, a "
        f"Keras optimizer, schedule, loss or callback, or your own. Fix: trusted_modules=[YOUR_MODULE]"
    )


def resolve(target: str, trusted: Sequence[str], where: str) -> Callable[..., Any]:
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


def parameters(call: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Named arguments of a call, and whether it takes any other name as well.

    Keras' optimizers and callbacks hand `**kwargs` on to their base class, so the explicit arguments of the
    bases count as theirs; only a function with `**kwargs` takes any name.
    """
    named: dict[str, inspect.Parameter] = {}
    layers = [call]
    if inspect.isclass(call):
        layers = [vars(base)["__init__"] for base in call.__mro__[:-1] if "__init__" in vars(base)]
    for layer in layers:
        found = _signature(layer).parameters.values()
        for each in found:
            if each.name != "self" and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
                named.setdefault(each.name, each)
        if not any(each.kind is each.VAR_KEYWORD for each in found):
            return named, False
    return named, not inspect.isclass(call)


def _signature(call: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(call, eval_str=True)
    except NameError:  # an annotation that is imported for type checkers only: its value is then not checked
        return inspect.signature(call)


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
                mend = did_you_mean(name, options) or f"; it takes {', '.join(options) or 'none'}"
                yield f"{key}: {node['_target_']} has no argument {name!r}{mend}"
        elif entry := _misfitting_entry(value, _annotation(named[name])):
            inner, expected = entry
            kind = type(value[inner]).__name__
            yield f"{key}.{inner}={brief(repr(value[inner]))} is of type {kind}, expected {expected}"
        elif expected := misfit(value, _annotation(named[name])):
            yield f"{key}={brief(repr(value))} is of type {type(value).__name__}, expected {expected}"
        elif expected := out_of_range(value, named[name].annotation) or beyond_keras_limits(call, name, value):
            yield f"{key}={brief(value)}: expected {expected}"
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in given and name not in facts:
            yield f"{where}.{name} is not given: {node['_target_']} needs it. Fix: +{where}.{name}=..."


def _annotation(parameter: inspect.Parameter) -> Any:
    """An argument's type, by its default where Keras has not annotated it: 0.001 takes a number or null."""
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    for kind, taken in ((bool, bool), ((int, float), float), (str, str)):
        if isinstance(parameter.default, kind):
            return taken | None | Node
    return Any


def misfit(value: Any, annotation: Any) -> str:
    """What the annotation expects where `value` is not it; empty when it fits or cannot be told."""
    return "" if _fits(value, annotation) else _described(annotation)


def _misfitting_entry(value: Any, annotation: Any) -> tuple[Any, str] | None:
    """Find the first key of a mapping whose value does not fit, and what is expected of it."""
    if not isinstance(value, Mapping) or _fits(value, annotation):
        return None
    cases = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else [annotation]
    mappings = [get_args(each)[1] for each in cases if get_origin(each) in (dict, Mapping)]
    wrong = (key for key, each in value.items() if not any(_fits(each, kind) for kind in mappings))
    key = next(wrong, None) if mappings else None
    return None if key is None else (key, " | ".join(map(_described, mappings)))


def _described(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = next((f" {each}" for each in annotation.__metadata__ if isinstance(each, Limits)), "")
        return f"{_described(args[0])}{limits}"
    if origin in (Union, types.UnionType):
        return " | ".join(_described(each) for each in args if each is not Node)
    if origin in (list, Sequence, Iterable, Collection):
        return f"list of {_described(args[0])}"
    if origin is tuple:
        return f"list of {_described(args[0])}" if args[-1] is ... else f"[{', '.join(map(_described, args))}]"
    if origin in (dict, Mapping):
        return f"mapping of {_described(args[0])} to {_described(args[1])}"
    name = annotation.__name__ if inspect.isclass(annotation) and not args else str(annotation)
    return re.sub(r"\b(?:[a-z]\w*\.)+", "", name).replace("NoneType", "null").replace("None", "null")


def _fits(value: Any, annotation: Any) -> bool:
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(value, Mapping) and "_target_" in value:
        # A node of its own: what it returns shows when it is built. No node gives a plain number or text.
        cases = args if origin in (Union, types.UnionType) else args[:1] if origin is Annotated else [annotation]
        return any(each not in _PLAIN_VALUES and get_origin(each) not in _PLAIN_KINDS for each in cases)
    if annotation is Node:
        return False
    if origin is Annotated:
        return _fits(value, args[0])
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in args)
    if origin is Literal:
        return value in args
    if origin in (list, tuple, Sequence, Iterable, Collection):
        if not isinstance(value, list):
            return False
        if origin is tuple and args[-1] is not ...:
            return len(value) == len(args) and all(map(_fits, value, args))
        return all(_fits(each, args[0]) for each in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(_fits(each, args[1]) for each in value.values())
    if annotation in PLAIN:
        return isinstance(value, PLAIN[annotation]) and (annotation is bool or not isinstance(value, bool))
    return True
