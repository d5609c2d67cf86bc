"""Texts of `segtrain COMMAND --help` that follow from the config; the rest is in configs/hydra/help."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from segtrain.config.root_keys import GROUPS
from segtrain.config.schema import SCHEMAS

COLUMN = 28


def groups(_root_: DictConfig) -> str:
    """Each group of the command with the option chosen now, what it is for, and the options there are."""
    folders = [Path(source.path) for source in _root_.hydra.runtime.config_sources if source.schema == "file"]
    choices = _root_.hydra.runtime.choices
    meanings = {}
    if "model" in choices:
        meanings = {
            "experiment": "changes to all of this, by one name",
            "debug": "changes for a look at what is wrong",
            "sweep": "who chooses the values of several jobs, and where they run",
        }
    meanings |= {each.name: each.metadata["meaning"] for each in _declared(_root_) if each.name in GROUPS}
    lines = []
    for name, meaning in meanings.items():
        options = sorted({path.stem for folder in folders for path in (folder / name).glob("*.yaml")})
        lines += [_line(f"{name}={choices.get(name) or 'NAME'}", meaning), f"    {', '.join(options)}"]
    return "\n".join(lines)


def keys(_root_: DictConfig) -> str:
    """Each root key of the command with its value and meaning."""
    named = [each for each in _declared(_root_) if each.name not in GROUPS]
    tree: Any = OmegaConf.to_container(OmegaConf.masked_copy(_root_, [each.name for each in named]))
    lines = (_line(f"{each.name}={_value(tree[each.name])}", each.metadata["meaning"]) for each in named)
    return "\n".join(lines)


def _declared(root: DictConfig) -> Iterator[Any]:
    yield from fields(SCHEMAS[root.hydra.job.name])


def _line(left: str, right: str) -> str:
    return f"  {left:<{COLUMN}}{right}" if len(left) < COLUMN else f"  {left}\n  {'':<{COLUMN}}{right}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
