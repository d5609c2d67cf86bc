"""Validate a composed config before a command runs: its root keys, its values at any depth, and its calls."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig

from segtrain.config.annotations import misfit
from segtrain.config.calls import MISSING, refused_keys
from segtrain.config.files import groups
from segtrain.config.renamed import rename_hint
from segtrain.config.root_keys import GROUPS, broken_rules
from segtrain.config.schema import SCHEMAS
from segtrain.config.targets import refusal
from segtrain.config.tree import dotted_keys, plain, refuse
from segtrain.errors import CheckpointError
from segtrain.shell import brief
from segtrain.suggest import did_you_mean

MAX_INT = 2**63 - 1
LONGEST_TEXT, LONGEST_PART = 4096, 255  # of a path, and of a name in it, on Linux
# Groups that are one call; heads, metrics and callbacks are mappings of calls.
CALLS = tuple(group for group in GROUPS if group not in ("heads", "metrics", "callbacks"))


def validate_root(cfg: DictConfig, command: str) -> None:
    """Refuse, all at once, what can be checked without importing TensorFlow.

    Root keys that are unknown (Hydra lets `+epohcs=3` pass), missing or out of range; anywhere in the tree,
    numbers that are not finite or too large, and the keys of Hydra's instantiate; for train, missing values.

    Args:
        cfg: The composed config of one job.
        command: train, eval or summary: whose schema holds.

    Raises:
        ConfigError: Every problem found, one a line.
        CheckpointError: `resume` or `run` names no folder.
    """
    tree = plain(cfg)
    refuse(
        [
            *_root_problems(tree, command),
            *tree_problems(tree, "", command == "train", tree.get("trusted_modules") or ()),
        ]
    )
    for key in ("resume", "run"):
        folder = tree.get(key)
        if folder is not None and (key, folder) != ("resume", "auto") and not (folder and Path(folder).is_dir()):
            raise CheckpointError(f"{key}={folder}: run folder not found. Fix: name one of runs/train")


def _root_problems(tree: Mapping[str, Any], command: str) -> Iterator[str]:
    declared = {each.name: each.metadata for each in fields(SCHEMAS[command])}
    kinds = get_type_hints(SCHEMAS[command])
    for name in tree:
        if name not in declared:
            near = did_you_mean(
                str(name), [*dotted_keys({key: tree[key] for key in tree if key in declared}), *groups()]
            )
            near = rename_hint(str(name), tree[name]) or near
            fix = f". Fix: segtrain {command} --help lists the keys"
            yield f"segtrain {command} has no key {str(name)!r}{near or fix}"
    for name, rule in declared.items():
        value = tree.get(name, MISSING)
        if value == MISSING:
            yield f"{name} is not given. Fix: {name}=..."
        elif value is None and name in GROUPS and command != "eval":
            yield f"{name}=null: expected a call. Fix: {name}=OPTION"
        elif value is not None and not (command == "eval" and name == "dataset"):
            yield from root_value_problems(name, value, kinds[name], rule)


def root_value_problems(name: str, value: Any, kind: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for everything that keeps a value, which is not null, from being that of a root key."""
    if expected := misfit(value, kind):
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
    elif not list(tree_problems(value, name, False, ())):  # which names numbers that no array can hold
        yield from (f"{name}={brief(value)}: expected {expected}" for expected in broken_rules(value, rule))


def _text_problems(text: str, where: str) -> Iterator[str]:
    if "\0" in text:
        yield f"{where}={brief(text)}: holds a null character, expected text"
    elif len(text) > LONGEST_TEXT or any(len(os.fsencode(part)) > LONGEST_PART for part in text.split("/")):
        yield f"{where}={brief(text)}: expected at most {LONGEST_TEXT:,} letters, {LONGEST_PART} between two slashes"


def tree_problems(tree: Any, where: str, complete: bool, trusted: Sequence[str] | None) -> Iterator[str]:
    """Find what is wrong at any depth; targets are not judged where `trusted` is None."""
    if isinstance(tree, Mapping):
        yield from refused_keys(tree, where)
        if trusted is not None and "_target_" in tree and (refused := refusal(tree["_target_"], trusted, where)):
            yield refused
        for key, value in tree.items():
            yield from tree_problems(value, f"{where}.{key}" if where else str(key), complete, trusted)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from tree_problems(value, f"{where}.{index}", complete, trusted)
    elif isinstance(tree, str) and tree != MISSING:
        yield from _text_problems(tree, where)
    elif complete and tree == MISSING and "." in where:  # a root key is reported by _root_problems
        yield f"{where} is not given. Fix: {where}=..."
    elif isinstance(tree, float) and not math.isfinite(tree):
        yield f"{where}={tree}: expected a finite number"
    elif isinstance(tree, int) and abs(tree) > MAX_INT:
        yield f"{where}={tree}: expected a number of at most 64 bits"
