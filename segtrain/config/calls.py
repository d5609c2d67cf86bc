"""A node of a config as a call: its target, arguments and path, with all that keeps it from being called."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrain.config.annotations import annotation_of, misfit, misfitting_entry, parameters
from segtrain.config.keras_limits import beyond_keras_limits
from segtrain.config.renamed import rename_hint
from segtrain.config.targets import find_target
from segtrain.errors import ConfigError
from segtrain.limits import out_of_range
from segtrain.shell import brief, command
from segtrain.suggest import did_you_mean

MISSING = "???"
# Hydra's instantiate gives these a meaning; here they would change a call behind the reader's back.
REFUSED_KEYS = ("_partial_", "_args_", "_recursive_", "_convert_")

# This many unknown arguments of one node are not typing errors: an experiment sets those of another option.
_OF_ANOTHER_PART = 3


@dataclass(frozen=True)
class Call:
    """A node that names a part.

    Attributes:
        target: What is called.
        arguments: By name; nodes among them are calls in their turn, also within lists and mappings.
        path: Key of the node.
        name: The target as the config spells it.
    """

    target: Callable[..., Any]
    arguments: Mapping[str, Any]
    path: str
    name: str


def resolve(
    tree: Any, path: str, trusted: Sequence[str], given: Mapping[str, Collection[str]], problems: list[str]
) -> Any:
    """Resolve a config into calls.

    Args:
        tree: Plain values; a mapping with `_target_` becomes a `Call`.
        path: Key of `tree`.
        trusted: Modules outside segtrain and Keras that a target may name.
        given: By key of a node, the names of the arguments that code passes to its call.
        problems: Receives a sentence for everything that keeps a node from being called.

    Returns:
        The tree with a `Call` for each node; where there are problems, it cannot be built.
    """
    if isinstance(tree, list):
        return [resolve(each, f"{path}.{index}", trusted, given, problems) for index, each in enumerate(tree)]
    if not isinstance(tree, Mapping):
        return tree
    target = None
    if "_target_" in tree:
        try:
            target = find_target(str(tree["_target_"]), trusted, path)
            problems += [*refused_keys(tree, path), *argument_problems(target, tree, given.get(path, ()), path)]
        except ConfigError as error:
            problems.append(str(error))
    inner = {
        key: resolve(value, f"{path}.{key}" if path else str(key), trusted, given, problems)
        for key, value in tree.items()
        if key != "_target_" or target is None
    }
    return inner if target is None else Call(target, inner, path, str(tree["_target_"]))


def refused_keys(node: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield a sentence for each key of a node that Hydra's instantiate would act upon."""
    for key in REFUSED_KEYS:
        if key in node:
            yield f"{path}.{key}: refused, a node is a plain call. Fix: remove it"


def argument_problems(
    target: Callable[..., Any], node: Mapping[str, Any], given: Collection[str], where: str
) -> Iterator[str]:
    """All that keeps `node` from being a call: unknown, missing and mistyped arguments, one sentence each."""
    named, any_name = parameters(target)
    arguments = {name: value for name, value in node.items() if name not in ("_target_", *REFUSED_KEYS)}
    options = [each for each in named if each not in given]
    unknown = [] if any_name else [name for name in arguments if name not in named and name not in given]
    if len(unknown) >= _OF_ANOTHER_PART:
        yield (
            f"{where}: {node['_target_']} has no arguments {', '.join(unknown)}: settings of another part, it "
            f"takes {', '.join(options) or 'none'}. Fix: {command(*(f'~{where}.{name}' for name in unknown))}"
        )
    for name, value in arguments.items():
        key = f"{where}.{name}"
        if name in given:
            if value != MISSING:
                yield f"{key}={value}: this comes from the dataset or the run, not from a key. Fix: remove it"
        elif value == MISSING:
            yield f"{key} is not given. Fix: {key}=..."
        elif name in unknown:
            if len(unknown) < _OF_ANOTHER_PART:
                near = rename_hint(key, value) or did_you_mean(name, options)
                fix = near or f"; it takes {', '.join(options) or 'none'}"
                yield f"{key}: {node['_target_']} has no argument {name!r}{fix}"
        elif name not in named:
            continue
        elif entry := misfitting_entry(value, annotation_of(named[name])):
            inner, expected = entry
            kind = type(value[inner]).__name__
            yield f"{key}.{inner}={brief(repr(value[inner]))} is of type {kind}, expected {expected}"
        elif expected := misfit(value, annotation_of(named[name])):
            yield f"{key}={brief(repr(value))} is of type {type(value).__name__}, expected {expected}"
        elif expected := out_of_range(value, named[name].annotation) or beyond_keras_limits(target, name, value):
            yield f"{key}={brief(value)}: expected {expected}"
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in arguments and name not in given:
            yield f"{where}.{name} is not given: {node['_target_']} needs it. Fix: +{where}.{name}=..."
