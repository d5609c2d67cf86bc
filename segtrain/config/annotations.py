"""The signature of a part: which arguments it takes, and which values of a YAML fit their annotations."""

import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from segtrain.limits import Limits

# What YAML may give for a plain annotation; a bool is an int to Python, but not to a reader.
PLAIN: dict[Any, Any] = {
    **{bool: bool, int: int, float: (int, float), str: str, Path: str, list: list, tuple: list, dict: dict},
    **{None: types.NoneType, types.NoneType: types.NoneType},
}


_PLAIN_VALUES = (bool, int, float, str, Path, None, types.NoneType)

_PLAIN_KINDS = (Literal, list, tuple, Sequence, Iterable, Collection)


class Node:
    """Stands in an annotation for a node of its own, such as a schedule instead of a rate."""


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


def annotation_of(parameter: inspect.Parameter) -> Any:
    """An argument's type, by its default where Keras has not annotated it: 0.001 takes a number or null."""
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    for kind, taken in ((bool, bool), ((int, float), float), (str, str)):
        if isinstance(parameter.default, kind):
            return taken | None | Node
    return Any


def misfit(value: Any, annotation: Any) -> str:
    """Describe what the annotation expects; empty if `value` fits it or this cannot be decided."""
    return "" if _fits(value, annotation) else _described(annotation)


def misfitting_entry(value: Any, annotation: Any) -> tuple[Any, str] | None:
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
