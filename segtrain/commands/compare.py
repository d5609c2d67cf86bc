"""`segtrain compare ONE OTHER`: what two experiments do differently, in their configs and in their networks."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from segtrain import config
from segtrain.config import hydra_errors as composition
from segtrain.errors import ConfigError
from segtrain.process.quiet import quiet_tensorflow
from segtrain.shell import brief
from segtrain.terminal import printable

# Of the command itself, or different by design.
_LEFT_OUT = ("hydra", "name", "other")
_ABSENT = "-"


def compare(cfg: DictConfig) -> None:
    """Print what differs between the config of this command line and that of the same line with another experiment.

    Raises:
        ConfigError: The other experiment is missing, or a key of the line does not fit both.
    """
    if cfg.other is None:
        raise ConfigError(
            "segtrain compare: expected the names of two experiments. Fix: segtrain compare keras_io_2021 cihp"
        )
    other = _composed_with(cfg.other)
    # Starting TensorFlow takes seconds, composing does not: a misspelled name is reported at once.
    with quiet_tensorflow():
        from segtrain.builders.description import Description, describe

    chosen = HydraConfig.get().runtime.choices
    headings = (str(chosen.get("experiment", "the defaults")), str(cfg.other))
    one, two = describe(cfg), describe(other)
    _print("config", headings, differences(leaves(cfg), leaves(other)))

    def rows_of(found: Description) -> dict[str, str]:
        rows = {row.name: f"{row.value} {row.note}" if row.section == "shapes" else row.value for row in found.rows}
        return {"network": found.model, **rows, **found.layers}

    _print("network", headings, differences(rows_of(one), rows_of(two)))


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """By key of either mapping that the other lacks or has another value for, both values, in the order of both."""
    keys = list(one)
    for before, key in itertools.pairwise(["", *other]):
        if key not in one:
            keys.insert(keys.index(before) + 1 if before else 0, key)
    both = {key: (one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def leaves(cfg: DictConfig) -> dict[str, str]:
    """By dotted key of each value of a config, the value as YAML spells it; what a node calls under its own key."""
    tree: Any = OmegaConf.to_container(cfg, resolve=True)
    return dict(_leaves({key: value for key, value in tree.items() if key not in _LEFT_OUT}, ""))


def _leaves(tree: Mapping[str, Any], parent: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        name = f"{parent}.{key}" if parent else str(key)
        if key == "_target_":
            yield parent, str(value).rpartition(".")[2]
        elif isinstance(value, dict):
            yield from _leaves(value, name)
        else:
            yield name, _spelt(value)


def _spelt(value: Any) -> str:
    if value == "???":
        return "not given"
    if isinstance(value, list):
        return f"[{', '.join(map(_spelt, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _composed_with(experiment: str) -> DictConfig:
    """Compose this command line once more, with another experiment.

    Raises:
        ConfigError: The experiment does not exist, or a key of the line does not fit it.
    """
    words: Sequence[str] = HydraConfig.get().overrides.task
    overrides = [f"+experiment={experiment}", *(word for word in words if not word.startswith("+experiment="))]
    try:
        cfg = hydra.compose("compare", overrides)
    except composition.COMPOSITION_ERRORS as error:
        explained = composition.explain(error, "compare", overrides, config.groups())
        text = str(explained).replace("+experiment=", "other=")
        raise ConfigError(f"other={brief(experiment)}: {text}" if text.startswith("no experiment") else text) from error
    config.validate_root(cfg, "compare")
    return cfg


def _print(title: str, headings: tuple[str, str], found: Mapping[str, tuple[str, str]]) -> None:
    console = Console(markup=False, highlight=False)
    if not found:
        console.print(f"{title}: no difference")
        return
    table = Table(title=title)
    for heading in ("", *headings):
        table.add_column(heading, overflow="fold")
    for key, values in found.items():
        table.add_row(*map(printable, (key, *values)))
    console.print(table)
