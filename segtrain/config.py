"""From YAML to parts: where the configs lie, what must hold before a command runs, how a node is built."""

import io
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from traceback import extract_tb
from typing import Any, get_type_hints

import yaml  # type: ignore[import-untyped]
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segtrain import calls, paths, stored, tables, usage
from segtrain.calls import MISSING
from segtrain.composition import dotted_keys
from segtrain.errors import CheckpointError, ConfigError, SegtrainError
from segtrain.reading import read_yaml_text, require_bounded_yaml
from segtrain.run_files import read_file
from segtrain.schema import GROUPS, SCHEMAS, broken_rules
from segtrain.shell import brief
from segtrain.suggest import did_you_mean

# Hydra's instantiate gives these a meaning; here they would change a call behind the reader's back.
REFUSED_KEYS = ("_partial_", "_args_", "_recursive_", "_convert_")
MAX_INT = 2**63 - 1
_NEEDED_IN_RUNS = ("dataset", "model", "backbone", "norm", "loss")
LONGEST_TEXT, LONGEST_PART = 4096, 255  # of a path, and of a name in it, on Linux
# Groups that are one call; heads, metrics and callbacks are mappings of calls.
CALLS = tuple(group for group in GROUPS if group not in ("heads", "metrics", "callbacks"))


def config_dir() -> str:
    """Absolute folder of the YAML files: inside an installed wheel, else beside the package in a checkout."""
    package = Path(__file__).absolute().parent
    inside = package / "configs"
    return str(inside if inside.is_dir() else package.parent / "configs")


def groups() -> list[str]:
    """Config groups that segtrain ships, experiment among them."""
    return sorted(path.name for path in Path(config_dir()).iterdir() if path.is_dir() and path.name != "hydra")


def options(folders: Sequence[str] = ()) -> dict[str, list[str]]:
    """Options of each config group, its default first, those of a user's `folders` included."""
    found: dict[str, set[str]] = {}
    for folder in (config_dir(), *folders):
        for path in Path(folder).glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    found.pop("hydra", None)
    lines = yaml.safe_load(Path(config_dir(), "train.yaml").read_text())["defaults"]
    chosen = {group: name for line in lines if isinstance(line, dict) for group, name in line.items()}
    return {group: sorted(names, key=lambda name: (name != chosen.get(group), name)) for group, names in found.items()}


def refuse_clashes(folder: str) -> None:
    """Refuse a user's config of a built-in's name: Hydra would use the built-in and say nothing.

    Raises:
        ConfigError: A file of `folder` has the group and name of one of segtrain's, or would exhaust the parser.
    """
    for path in sorted(Path(folder).rglob("*.yaml")):
        name = path.relative_to(folder)
        try:
            read_yaml_text(path)
        except (OSError, ValueError) as error:
            seen = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"cannot read {path}: {seen}. Fix: correct the file, or remove it") from error
        except yaml.YAMLError:
            pass  # Hydra names line and column, if it reads the file at all
        if (Path(config_dir()) / name).exists():
            raise ConfigError(f"{path}: segtrain has a {name} of its own, which Hydra would use. Fix: rename yours")


def set_up() -> None:
    """Register the schemas of the root keys, the loader of tables and our resolvers. May be called again."""
    tables.install()
    store = ConfigStore.instance()
    for command, schema in SCHEMAS.items():
        store.store(name=f"{command}_schema", node=schema)
    OmegaConf.register_new_resolver("help.groups", usage.groups, replace=True)
    OmegaConf.register_new_resolver("help.keys", usage.keys, replace=True)
    # An interpolation of the environment would write its secrets into the run's config.yaml.
    OmegaConf.register_new_resolver("oc.env", _refuse_environment, replace=True)


def _refuse_environment(name: str, default: str | None = None) -> str:
    raise ConfigError(f"${{oc.env:{name}}} is refused: it would write the environment into the run's config.yaml")


def check_root(cfg: DictConfig, command: str) -> None:
    """Refuse, all at once, what can be told without importing TensorFlow.

    Root keys that are unknown (Hydra lets `+epohcs=3` pass), missing or out of range; anywhere in the tree,
    numbers that are not finite or too large, and the keys of Hydra's instantiate; for train, missing values.

    Args:
        cfg: The composed config of one job.
        command: train, eval or summary: whose schema holds.

    Raises:
        ConfigError: Every problem found, one a line.
        CheckpointError: `resume` or `run` names no folder.
    """
    tree = _plain(cfg)
    _refuse(
        [
            *_root_problems(tree, command),
            *_tree_problems(tree, "", command == "train", tree.get("trusted_modules") or ()),
        ]
    )
    for key in ("resume", "run"):
        folder = tree.get(key)
        if folder is not None and (key, folder) != ("resume", "auto") and not (folder and Path(folder).is_dir()):
            raise CheckpointError(f"{key}={folder}: there is no such run folder. Fix: name one of runs/train")


def check_stored(cfg: DictConfig, run: Path, keys: Collection[str] | None = None) -> None:
    """Refuse the config of a run that lacks root keys, or has others of a wrong type or out of range.

    Args:
        cfg: The config.
        run: The run folder, for the message.
        keys: Those that are needed; all of train where None.

    Raises:
        ConfigError: The first problem found.
    """
    tree, kinds = _plain(cfg), get_type_hints(SCHEMAS["train"])
    for each in fields(SCHEMAS["train"]):
        if keys is None or each.name in keys:
            for problem in _stored_problems(tree, each.name, kinds[each.name], each.metadata):
                text = stored.shown(problem.partition(". Fix: ")[0])
                raise ConfigError(f"{run / 'config.yaml'}: {text}. Fix: restore the file, or name another run")


def _stored_problems(tree: Mapping[str, Any], name: str, kind: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    if name not in tree:
        yield f"{name} is missing, expected the config of a run"
    elif tree[name] is not None:
        yield from _root_value_problems(name, tree[name], kind, rule)
    elif name in CALLS:
        yield f"{name}=null: expected a call"


def resolved(cfg: DictConfig, *keys: str) -> DictConfig:
    """Copy some root keys, and `trusted_modules`, with what they refer to elsewhere put in.

    Raises:
        ConfigError: An interpolation leads nowhere, or round in a circle.
    """
    tree = _plain(cfg)
    return OmegaConf.create({key: tree[key] for key in (*keys, "trusted_modules") if key in tree})


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
        node: A mapping with `_target_` and the arguments of the call; nodes among the arguments are built
            first. A mapping or list without `_target_` gives a dict or list of what its nodes build; null
            gives None. `trusted_modules` is read from the root of the config that the node belongs to.
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


def raised(where: str, error: Exception) -> str:
    """Write what a user's part has raised on one line, with the line of its file.

    Args:
        where: Key of the part.
        error: Raised by it.
    """
    last = extract_tb(error.__traceback__)[-1]
    return (
        f"{where}: the part raises {type(error).__name__}: {' '.join(str(error).split())[:200]} "
        f"({Path(last.filename).name} line {last.lineno}). Fix: correct it; HYDRA_FULL_ERROR=1 prints the traceback"
    )


def stored_config(run: Path, trusted: Sequence[str] = ()) -> DictConfig:
    """Read the config that a run was trained with, without what acts beyond the run folder: see `read_stored`."""
    return read_stored(run, trusted)[0]


def require_parts(run: Path, cfg: DictConfig) -> None:
    """Refuse a run's config that lacks a part without which there is no network and no loss.

    Raises:
        CheckpointError: It does.
    """
    if missing := [name for name in _NEEDED_IN_RUNS if cfg.get(name) is None]:
        where = run / "config.yaml"
        raise CheckpointError(f"{where}: {missing[0]} is missing. Fix: restore the file, or name another run")


def read_stored(run: Path, trusted: Sequence[str] = ()) -> tuple[DictConfig, dict[str, str]]:
    """Read the config that a run was trained with. It may come from a stranger, so that it is held to `stored.PARTS`.

    Args:
        run: The run folder.
        trusted: Modules that the reader's own command line trusts; those of the file are not.

    Returns:
        The config, and by key a message for each value that was left out as it acts beyond the run folder.

    Raises:
        CheckpointError: The file cannot be read.
        ConfigError: It names other parts, or holds interpolations.
    """
    path = run / "config.yaml"
    try:
        text = read_file(path, stored.MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        seen = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CheckpointError(f"cannot read {path}: {seen}. Fix: name another run") from error
    return _checked(text, path, run, trusted)


def recorded_config(text: str, path: Path) -> DictConfig:
    """Read the config that a checkpoint records, held to what `read_stored` holds that of the run to.

    Args:
        text: The config.
        path: The checkpoint's manifest, `RUN/checkpoints/step-00000123/manifest.json`.

    Raises:
        CheckpointError: It cannot be read.
        ConfigError: It holds interpolations.
    """
    return _checked(text, path, path.parents[2], None)[0]


def _checked(text: str, path: Path, run: Path, trusted: Sequence[str] | None) -> tuple[DictConfig, dict[str, str]]:
    """Read a config of a run folder; without `trusted` its parts are not built, so that any may be named."""
    try:
        require_bounded_yaml(text)
        tree: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        seen = "nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot read {path}: {stored.shown(seen)}. Fix: name another run") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"cannot read {path}: not a mapping of keys. Fix: name another run")
    taken = stored.take_effects(tree)
    found = list(stored.problems(tree, trusted))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ConfigError(f"{path}: {found[0]}{more}")
    tree["trusted_modules"] = list(trusted or ())
    cfg = OmegaConf.create(tree)
    _require_stored(cfg, path)
    return paths.resolve_stored(run, cfg), taken


def _require_stored(cfg: DictConfig, path: Path) -> None:
    """Refuse a stored config whose root keys are of another type than a run writes."""
    try:
        tree = _plain(cfg)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}. Fix: restore the file, or name another run") from error
    declared = {each.name: each.metadata for each in fields(SCHEMAS["train"])}
    kinds = get_type_hints(SCHEMAS["train"])
    found: list[str] = []
    for name, value in tree.items():
        if name in declared and value is not None:
            found += _root_value_problems(name, value, kinds[name], declared[name])
        elif name in declared and name not in GROUPS and (expected := calls.misfit(None, kinds[name])):
            found.append(f"{name}=null: expected {expected}")
    found += _tree_problems({key: each for key, each in tree.items() if key in declared}, "", False, None)
    if found:
        raise CheckpointError(f"{path}: {found[0].partition('. Fix: ')[0]}. Fix: restore the file, or name another run")


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
    except SegtrainError as error:
        error.locate_node(where)
        raise
    except (ValueError, TypeError) as error:
        # Keras checks its arguments by ValueError; in segtrain's parts one is a bug and keeps its traceback.
        if call.__module__.startswith("keras."):
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"{where}: {node['_target_']} refuses its arguments: {reason}") from error
        if call.__module__.startswith("segtrain."):
            raise
        raise ConfigError(raised(where, error)) from error
    except Exception as error:
        if call.__module__.startswith(("keras.", "segtrain.")):
            raise
        raise ConfigError(raised(where, error)) from error


def _plain(cfg: Any) -> Any:
    if not OmegaConf.is_config(cfg):
        return cfg
    try:
        return OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        said = str(error).splitlines()[0].removeprefix("ConfigError raised while resolving interpolation: ")
        raise ConfigError(f"{error.full_key}: {said}") from error


def _refuse(found: Iterator[str] | Sequence[str]) -> None:
    problems = list(found)
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError("\n  - ".join([f"{len(problems)} problems in the configuration:", *problems]))


def _root_problems(tree: Mapping[str, Any], command: str) -> Iterator[str]:
    declared = {each.name: each.metadata for each in fields(SCHEMAS[command])}
    kinds = get_type_hints(SCHEMAS[command])
    for name in tree:
        if name not in declared:
            near = did_you_mean(
                str(name), [*dotted_keys({key: tree[key] for key in tree if key in declared}), *groups()]
            )
            mend = f". Fix: segtrain {command} --help lists the keys"
            yield f"segtrain {command} has no key {str(name)!r}{near or mend}"
    for name, rule in declared.items():
        value = tree.get(name, MISSING)
        if value == MISSING:
            yield f"{name} is not given. Fix: {name}=..."
        elif value is None and name in GROUPS and command != "eval":
            yield f"{name}=null: expected a call. Fix: {name}=OPTION"
        elif value is not None and not (command == "eval" and name == "dataset"):
            yield from _root_value_problems(name, value, kinds[name], rule)


def _root_value_problems(name: str, value: Any, kind: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    if expected := calls.misfit(value, kind):
        yield f"{name}={brief(repr(value))} is of type {type(value).__name__}, expected {expected}"
    elif name in CALLS and not (isinstance(value, dict) and "_target_" in value):
        yield f"{name}={brief(value)}: expected a call with _target_. Fix: {name}=OPTION"
    elif name in ("metrics", "callbacks"):
        if not isinstance(value, dict):
            option = "none" if name == "metrics" else "default"
            yield f"{name}={brief(value)}: expected {name} by name. Fix: {name}={option}"
            return
        for key, each in value.items():
            if each is not None and not (isinstance(each, dict) and "_target_" in each):
                yield f"{name}.{key}={brief(each)}: expected a call with _target_. Fix: ~{name}.{key}"
    elif name == "heads" and not isinstance(value, dict):
        yield f"{name}={brief(value)}: expected heads by name. Fix: heads=none"
    elif not list(_tree_problems(value, name, False, ())):  # which names numbers that no array can hold
        yield from (f"{name}={brief(value)}: expected {expected}" for expected in broken_rules(value, rule))


def _text_problems(text: str, where: str) -> Iterator[str]:
    if "\0" in text:
        yield f"{where}={brief(text)}: holds a null character, expected text"
    elif len(text) > LONGEST_TEXT or any(len(os.fsencode(part)) > LONGEST_PART for part in text.split("/")):
        yield f"{where}={brief(text)}: expected at most {LONGEST_TEXT:,} letters, {LONGEST_PART} between two slashes"


def _tree_problems(tree: Any, where: str, complete: bool, trusted: Sequence[str] | None) -> Iterator[str]:
    """Find what is wrong at any depth; targets are not judged where `trusted` is None."""
    if isinstance(tree, Mapping):
        yield from _refused_keys(tree, where)
        if trusted is not None and "_target_" in tree and (refused := calls.refusal(tree["_target_"], trusted, where)):
            yield refused
        for key, value in tree.items():
            yield from _tree_problems(value, f"{where}.{key}" if where else str(key), complete, trusted)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _tree_problems(value, f"{where}.{index}", complete, trusted)
    elif isinstance(tree, str) and tree != MISSING:
        yield from _text_problems(tree, where)
    elif complete and tree == MISSING and "." in where:  # a root key is told by _root_problems
        yield f"{where} is not given. Fix: {where}=..."
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
