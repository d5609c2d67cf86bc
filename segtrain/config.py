"""From YAML to parts: where the configs lie, what must hold before a command runs, and how a node is built."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segtrain import calls
from segtrain.calls import MISSING, did_you_mean
from segtrain.errors import CheckpointError, ConfigError
from segtrain.schema import SCHEMAS

# Hydra's instantiate gives these a meaning; here they would change a call behind the reader's back.
REFUSED_KEYS = ("_partial_", "_args_", "_recursive_", "_convert_")
MAX_INT = 2**63 - 1


def config_dir() -> str:
    """Absolute folder of the YAML files: inside an installed wheel, else beside the package in a checkout."""
    package = Path(__file__).absolute().parent
    inside = package / "configs"
    return str(inside if inside.is_dir() else package.parent / "configs")


def set_up() -> None:
    """Tell Hydra the schemas of the root keys, and take `${oc.env:...}` away: it would write secrets into saved configs."""
    store = ConfigStore.instance()
    for command, schema in SCHEMAS.items():
        store.store(name=f"{command}_schema", node=schema)
    OmegaConf.register_new_resolver("oc.env", _refuse_environment, replace=True)


def _refuse_environment(name: str, default: str | None = None) -> str:
    raise ConfigError(f"${{oc.env:{name}}} is refused, as it would end in the run's saved config")


def check_root(cfg: DictConfig, command: str) -> None:
    """Refuse, all at once, what can be told without importing TensorFlow.

    Unknown root keys (Hydra lets `+epohcs=3` pass), values that are missing, out of range, not finite or too large,
    anywhere in the tree, and the keys that only Hydra's instantiate knows.

    Args:
        cfg: The composed config of one job.
        command: train, eval or summary: whose schema holds.

    Raises:
        ConfigError: Every problem found, one a line.
        CheckpointError: `resume` or `run` names no folder.
    """
    tree = _plain(cfg)
    _refuse([*_root_problems(tree, command), *_tree_problems(tree, "")])
    for key in ("resume", "run"):
        folder = tree.get(key)
        if folder is not None and not Path(folder).is_dir():
            raise CheckpointError(f"{key}={folder}: there is no such run folder, expected one under runs/")


def check(cfg: DictConfig, facts: Mapping[str, Collection[str]] | None = None) -> None:
    """Refuse, all at once, every node that its callable would not take.

    Imports what the nodes name, hence TensorFlow where a node is a network.

    Args:
        cfg: The composed config of one job.
        facts: By key of a node, the names of the arguments that code will pass to `build`:
            `{"model": {"backbone", "num_classes"}, "loss": {"ignore_class"}}`.

    Raises:
        ConfigError: Every unknown, missing or mistyped argument, one a line.
    """
    tree = _plain(cfg)
    _refuse(_node_problems(tree, "", facts or {}, tree.get("trusted_modules") or ()))


def build(node: Any, **facts: Any) -> Any:
    """Call what a node names.

    Args:
        node: A mapping with `_target_` and the arguments of the call; nodes among the arguments are built first.
            A mapping or list without `_target_` gives a dict or list of what its nodes build; null gives None.
        facts: Arguments that code knows and no key may set; a call is given those of them that it takes.

    Returns:
        What the call returns. Lists and dicts reach it as plain containers, never OmegaConf's.

    Raises:
        ConfigError: The target is not allowed, or the arguments do not fit its signature.
    """
    where, trusted = "config", ()
    if OmegaConf.is_config(node):
        where = node._get_full_key(None) or where
        trusted = tuple(node._get_root().get("trusted_modules") or ())
    return _build(_plain(node), where, trusted, facts)


def _build(node: Any, where: str, trusted: Sequence[str], facts: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_build(each, f"{where}.{index}", trusted, {}) for index, each in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        if facts:
            raise ConfigError(f"{where} has no _target_, so nothing can be called with {', '.join(facts)}")
        return {key: _build(value, f"{where}.{key}", trusted, {}) for key, value in node.items()}
    call = calls.resolve(str(node["_target_"]), trusted, where)
    _refuse([*_refused_keys(node, where), *calls.problems(call, node, facts, where)])
    arguments = {
        key: _build(value, f"{where}.{key}", trusted, {})
        for key, value in node.items()
        if key != "_target_" and key not in facts
    }
    named, any_name = calls.parameters(call)
    taken = {name: value for name, value in facts.items() if any_name or name in named}
    try:
        return call(**arguments, **taken)
    except (ValueError, TypeError) as error:
        # Keras checks its arguments by ValueError; in segtrain's own parts one is a bug and keeps its traceback.
        if call.__module__.startswith("keras."):
            raise ConfigError(f"{where}: {node['_target_']} refuses its arguments: {error}") from error
        raise


def _plain(cfg: Any) -> Any:
    if not OmegaConf.is_config(cfg):
        return cfg
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def _refuse(found: Iterator[str] | Sequence[str]) -> None:
    problems = list(found)
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError("\n  - ".join([f"{len(problems)} problems in the configuration:", *problems]))


def _root_problems(tree: Mapping[str, Any], command: str) -> Iterator[str]:
    declared = {each.name: each.metadata for each in fields(SCHEMAS[command])}
    for name in tree:
        if name not in declared:
            yield f"{name}: segtrain {command} has no such key{did_you_mean(str(name), declared)}"
    for name, rule in declared.items():
        value = tree.get(name, MISSING)
        if value == MISSING:
            yield f"{name} is not given. Fix: {name}=..."
        elif value is not None:
            yield from (f"{name}={value}: expected {expected}" for expected in _broken(value, rule))


def _broken(value: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    """What a root key's declaration expects and `value` is not."""
    numbers = value if isinstance(value, list) else [value]
    if rule["length"] is not None and len(numbers) != rule["length"]:
        yield f"{rule['length']} numbers"
    if rule["at_least"] is not None and any(number < rule["at_least"] for number in numbers):
        yield f"at least {rule['at_least']}"
    if rule["at_most"] is not None and any(number > rule["at_most"] for number in numbers):
        yield f"at most {rule['at_most']}"
    if rule["choices"] and value not in rule["choices"]:
        yield f"{' or '.join(rule['choices'])}{did_you_mean(str(value), rule['choices'])}"
    if rule["pattern"] and not re.fullmatch(rule["pattern"], value):
        yield "letters, digits, '_', '.' and '-' only"


def _tree_problems(tree: Any, where: str) -> Iterator[str]:
    if isinstance(tree, Mapping):
        yield from _refused_keys(tree, where)
        for key, value in tree.items():
            yield from _tree_problems(value, f"{where}.{key}" if where else str(key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _tree_problems(value, f"{where}.{index}")
    elif isinstance(tree, float) and not math.isfinite(tree):
        yield f"{where}={tree}: expected a finite number"
    elif isinstance(tree, int) and abs(tree) > MAX_INT:
        yield f"{where}={tree}: expected a number of at most 64 bits"


def _refused_keys(node: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in REFUSED_KEYS:
        if key in node:
            yield f"{where}.{key}: refused, a node is a plain call. Fix: remove it"


def _node_problems(
    tree: Any, where: str, facts: Mapping[str, Collection[str]], trusted: Sequence[str]
) -> Iterator[str]:
    if isinstance(tree, list):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return
    if "_target_" in tree:
        try:
            call = calls.resolve(str(tree["_target_"]), trusted, where)
        except ConfigError as error:
            yield str(error)
        else:
            yield from calls.problems(call, tree, facts.get(where, ()), where)
    for key, value in tree.items():
        yield from _node_problems(value, f"{where}.{key}" if where else str(key), facts, trusted)
