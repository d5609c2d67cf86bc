"""Parts built from the nodes of a config."""

from collections.abc import Collection, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from omegaconf import DictConfig, OmegaConf

from segtrain.config.annotations import parameters
from segtrain.config.calls import Call, resolve
from segtrain.config.tree import plain, refuse
from segtrain.errors import ConfigError, SegtrainError


def validate_calls(cfg: DictConfig, passed: Mapping[str, Collection[str]] | None = None) -> None:
    """Refuse, all at once, every node that its callable would not take.

    Imports what the nodes name, hence TensorFlow where a node is a network.

    Args:
        cfg: The composed config of one job.
        passed: By key of a node, the names of the arguments that code will pass to `build`:
            `{"model": {"backbone", "num_classes"}, "loss": {"ignore_class"}}`.

    Raises:
        ConfigError: Every unknown, missing or mistyped argument, one a line.
    """
    tree, problems = plain(cfg), list[str]()
    resolve(tree, "", tree.get("trusted_modules") or (), passed or {}, problems)
    refuse(problems)


def build(node: Any, **passed: Any) -> Any:
    """Call what a node names.

    Args:
        node: A mapping with `_target_` and the arguments of the call; nodes among the arguments are built
            first. A mapping or list without `_target_` gives a dict or list of what its nodes build; null
            gives None. `trusted_modules` is read from the root of the config that the node belongs to.
        passed: Arguments that code knows and no key may set; a call is given those of them that it takes.

    Returns:
        What the call returns. Lists and dicts reach it as plain containers, never OmegaConf's.

    Raises:
        ConfigError: The target is not allowed, or the arguments do not fit its signature.
    """
    path, trusted = "config", ()
    if OmegaConf.is_config(node):
        path = node._get_full_key(None) or path
        trusted = tuple(node._get_root().get("trusted_modules") or ())
    problems: list[str] = []
    resolved = resolve(plain(node), path, trusted, {path: passed}, problems)
    refuse(problems)
    if passed and isinstance(resolved, dict):
        raise ConfigError(f"{path} has no _target_, so nothing can be called with {', '.join(passed)}")
    return _construct(resolved, passed)


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


def _construct(resolved: Any, passed: Mapping[str, Any]) -> Any:
    if isinstance(resolved, list):
        return [_construct(each, {}) for each in resolved]
    if isinstance(resolved, dict):
        return {key: _construct(each, {}) for key, each in resolved.items()}
    if not isinstance(resolved, Call):
        return resolved
    arguments = {name: _construct(each, {}) for name, each in resolved.arguments.items() if name not in passed}
    named, any_name = parameters(resolved.target)
    return _called(
        resolved,
        {**arguments, **{name: passed[name] for name in passed if any_name or name in named}},
    )


def _called(call: Call, arguments: Mapping[str, Any]) -> Any:
    """Call a part; make one line that names its node of what is wrong with its arguments."""
    is_keras, is_own = (call.target.__module__.startswith(f"{each}.") for each in ("keras", "segtrain"))
    try:
        return call.target(**arguments)
    except SegtrainError as error:
        error.locate_node(call.path)
        raise
    except Exception as error:
        if is_keras and isinstance(error, ValueError | TypeError):  # by which Keras refuses arguments
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"{call.path}: {call.name} refuses its arguments: {reason}") from error
        if is_keras or is_own:  # a bug, which keeps its traceback
            raise
        raise ConfigError(raised(call.path, error)) from error
