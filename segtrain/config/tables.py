"""Tables of a dataset's config (its classes, what stored values mean) are replaced as one, never merged.

Hydra merges mappings key by key: a file with two classes upon a YAML with two others trained a network of four, and a
list upon a mapping was an error. Here the last file, or the command line, that gives a table gives all of it.
"""

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.base import Node

from segtrain.errors import ConfigError

# Keys below `dataset`, at any depth. Collections by name (heads, augment.steps, callbacks) are merged: adding is meant.
TABLES = frozenset({"classes", "label_values", "mapping", "splits"})

Path = tuple[str, ...]
_CONTAINER = re.compile(r"\+{0,2}(dataset(?:\.[^=.]+)+)=\s*([\[{].*)", re.DOTALL)


class TableLoader(ConfigLoaderImpl):
    """Hydra's config loader with tables that replace each other."""

    def _load_configuration_impl(
        self, config_name: Any, overrides: list[str], *args: Any, **options: Any
    ) -> DictConfig:
        self._overridden = [path for override in overrides if (path := overridden_table(override))]
        return super()._load_configuration_impl(config_name, overrides, *args, **options)

    def _compose_config_from_defaults_list(self, *args: Any, **options: Any) -> DictConfig:
        self._tables: dict[Path, Node] = {}
        cfg = super()._compose_config_from_defaults_list(*args, **options)
        put_tables(cfg, self._tables)
        # Where nothing stands, an override sets its value; where a mapping stands, it merges.
        for path in self._overridden:
            _clear(cfg, path)
        return cfg

    def _load_single_config(self, *args: Any, **options: Any) -> Any:
        loaded = super()._load_single_config(*args, **options)
        loaded = dataclasses.replace(loaded, config=copy.deepcopy(loaded.config))  # the loaded one stays in a cache
        self._tables |= take_tables(loaded.config)
        return loaded


def install() -> None:
    """Let Hydra compose with `TableLoader`. Hydra offers no public argument for a loader."""
    loader: type[ConfigLoader] = TableLoader
    hydra._internal.hydra.ConfigLoaderImpl = loader  # type: ignore[misc, assignment]


def overridden_table(override: str) -> Path | None:
    """Find which table, or entry of one, an override of the command line gives a new list or mapping.

    Raises:
        ConfigError: The mapping has a key twice, of which Hydra would keep the last.
    """
    match = _CONTAINER.match(override)
    if match is None:
        return None
    path = tuple(match[1].split("."))
    if not TABLES & set(path[1:]):
        return None
    if twice := _repeated_key(match[2]):
        raise ConfigError(f"{match[1]}: the key {twice} is given twice, expected once. Fix: remove or rename one")
    return path


def take_tables(cfg: Any) -> dict[Path, Node]:
    """Remove the tables of a config's dataset, so that merging cannot mix them; their keys stay, with null.

    Returns:
        Each table by its path. One that is missing (???) is left where it is.
    """
    found: dict[Path, Node] = {}
    for path, parent in list(_places(cfg)):
        node: Any = parent._get_node(path[-1])
        if not node._is_missing():
            found[path] = copy.deepcopy(node)  # the next line may set its value
            with open_dict(parent):
                parent[path[-1]] = None
    return found


def put_tables(cfg: DictConfig, tables: Mapping[Path, Node]) -> None:
    """Set tables that `take_tables` has removed; those of a dataset that is gone are left out."""
    for path, node in tables.items():
        if (parent := _parent(cfg, path)) is not None:
            with open_dict(parent):
                parent[path[-1]] = node


def merge_dataset(dataset: DictConfig, changes: DictConfig) -> Any:
    """Merge changes into a dataset's node; tables among them replace."""
    base = OmegaConf.create({"dataset": copy.deepcopy(dataset)})
    later = OmegaConf.create({"dataset": copy.deepcopy(changes)})
    tables = take_tables(base) | take_tables(later)
    merged: Any = OmegaConf.merge(base, later)
    put_tables(merged, tables)
    return merged.dataset


def _places(cfg: Any, path: Path = ()) -> Iterator[tuple[Path, DictConfig]]:
    """Path and parent of each table below `dataset`."""
    if not isinstance(cfg, DictConfig) or cfg._is_none() or cfg._is_missing() or cfg._is_interpolation():
        return
    for key in list(cfg):
        below = (*path, str(key))
        if below[0] != "dataset":
            continue
        if path and key in TABLES:
            yield below, cfg
        else:
            yield from _places(cfg._get_node(key), below)


def _parent(cfg: Any, path: Sequence[str]) -> DictConfig | None:
    for key in path[:-1]:
        if not isinstance(cfg, DictConfig) or cfg._is_none() or cfg._is_missing() or key not in cfg:
            return None
        cfg = cfg._get_node(key)
    return cfg if isinstance(cfg, DictConfig) and not cfg._is_none() and not cfg._is_missing() else None


def _clear(cfg: DictConfig, path: Path) -> None:
    """Set what stands at a path to null; unless the key does not exist, which Hydra then reports."""
    parent = _parent(cfg, path)
    if parent is not None and path[-1] in parent:
        parent[path[-1]] = None


def _repeated_key(text: str) -> str | None:
    """Find a key that stands twice in the outermost braces of an override's value."""
    if not text.startswith("{"):
        return None
    # Quoted text first, so that its brackets and commas count for nothing.
    words = re.findall(r"""\s*("(?:\\.|[^"])*"|'(?:\\.|[^'])*'|[\[\]{},:]|[^\[\]{},:"']+)""", text)
    depth, key, seen = 0, "", set()
    for word in words:
        if word in "[{":
            depth += 1
        elif word in "]}":
            depth -= 1
        if depth == 1 and word in "{,":
            key = ""
        elif depth == 1 and word == ":":
            if (name := key.strip().strip("\"'")) in seen:
                return name
            seen.add(name)
        elif depth == 1:
            key += word
    return None
