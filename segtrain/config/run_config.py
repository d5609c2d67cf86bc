"""The config in a run folder, which may come from a stranger: read as data, held to `segtrain.config.stored.PARTS`."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segtrain.config import paths, stored
from segtrain.config.annotations import misfit
from segtrain.config.renamed import ADDED, rename_stored
from segtrain.config.schema import SCHEMAS
from segtrain.config.tree import plain
from segtrain.config.validation import CALLS, root_value_problems, tree_problems
from segtrain.errors import CheckpointError, ConfigError
from segtrain.reading import require_bounded_yaml
from segtrain.runs.files import read_file

_ROOT_KEYS = frozenset(each.name for each in fields(SCHEMAS["train"]))


def stored_config(run: Path, trusted: Sequence[str] = ()) -> DictConfig:
    """Read the config that a run was trained with, without what acts beyond the run folder: see `read_stored`."""
    return read_stored(run, trusted)[0]


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
    tree = {**ADDED, **rename_stored(tree)}
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
    try:
        tree = plain(cfg)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}. Fix: restore the file, or name another run") from error
    _refuse_first(_stored_problems(tree, ()), path)


def validate_stored(cfg: DictConfig, run: Path, keys: Collection[str] = _ROOT_KEYS) -> None:
    """Refuse the config of a run that lacks root keys, or has others of a wrong type or out of range.

    Args:
        cfg: The config.
        run: The run folder, for the message.
        keys: Those that are needed.

    Raises:
        CheckpointError: The first problem found.
    """
    _refuse_first(_stored_problems(plain(cfg), keys), run / "config.yaml")


def _refuse_first(problems: Iterator[str], path: Path) -> None:
    for problem in problems:
        text = stored.shown(problem.partition(". Fix: ")[0])
        raise CheckpointError(f"{path}: {text}. Fix: restore the file, or name another run")


def _stored_problems(tree: Mapping[str, Any], needed: Collection[str]) -> Iterator[str]:
    kinds = get_type_hints(SCHEMAS["train"])
    for each in fields(SCHEMAS["train"]):
        name, kind = each.name, kinds[each.name]
        if name not in tree:
            if name in needed:
                yield f"{name} is missing, expected the config of a run"
        elif tree[name] is not None:
            yield from root_value_problems(name, tree[name], kind, each.metadata)
        elif expected := "a call" if name in CALLS and name in needed else misfit(None, kind):
            yield f"{name}=null: expected {expected}"
    yield from tree_problems({name: value for name, value in tree.items() if name in kinds}, "", False, None)
