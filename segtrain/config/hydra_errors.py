"""Errors of Hydra and OmegaConf while a config is composed, as one line that names the fix."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml  # type: ignore[import-untyped]
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from segtrain.config.annotations import misfit
from segtrain.config.renamed import rename_hint
from segtrain.config.schema import SCHEMAS
from segtrain.config.tree import dotted_keys
from segtrain.errors import ConfigError
from segtrain.shell import brief, quote, setting
from segtrain.suggest import did_you_mean

# Hydra checks some of its input by bare ValueError: `backbone=3`, `--cfg job --multirun`, `model.taps.x=1`.
COMPOSITION_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    UnicodeDecodeError,
    ValueError,
    TypeError,
    AssertionError,
)
# What YAML reads as another type than text.
_NO_NAME = re.compile(r"|null|true|false|nan|[-+]?inf|[-+]?[\d.][\d.e+-]*", re.IGNORECASE)
# OmegaConf's words for a type -> ours.
TYPES = {"Integer": "int", "Float": "float"}
# Plugins of Hydra by what they bring -> the extra that installs them.
EXTRAS = {
    "hydra/launcher/joblib": "sweep",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
}


def explain(error: Exception, command: str, overrides: Sequence[str], groups: Sequence[str]) -> ConfigError:
    """One line from an error that was raised while Hydra composed a config.

    Args:
        error: One of COMPOSITION_ERRORS.
        command: The command whose config it is.
        overrides: Of its command line.
        groups: Config groups there are, for near names.
    """
    where = _containing_file(str(error))
    if isinstance(error, OverrideParseException):
        return ConfigError(_unreadable(error.override, command))
    if isinstance(error, MissingConfigException):
        return ConfigError(where + _missing_option(error, command, groups))
    cause = next((each for each in _chain(error) if isinstance(each, OmegaConfBaseException) and each.full_key), None)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
        return ConfigError(where + _unknown_key(str(cause.full_key), cause.parent_node, command, groups, overrides))
    if isinstance(cause, OmegaConfBaseException):
        return ConfigError(where + _wrong_value(cause))
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return ConfigError(f"{mark.name} line {mark.line + 1}, column {mark.column + 1}: not YAML, {error.problem}")
    return ConfigError(_reworded(str(error), command, overrides, groups))


def refuse_impossible(command: str, overrides: Sequence[str], options: Mapping[str, Sequence[str]]) -> None:
    """Refuse overrides for which Hydra's error names no key: an unknown option, a key within a number.

    Args:
        command: Whose command line it is.
        overrides: Of it.
        options: Of each config group.

    Raises:
        ConfigError: The first of them.
    """
    declared = {each.name: get_type_hints(SCHEMAS[command])[each.name] for each in fields(SCHEMAS[command])}
    for word in overrides:
        key, equals, value = word.lstrip("+~").partition("=")
        first, dot, rest = key.partition(".")
        if not key:
            raise ConfigError(f"cannot read {brief(repr(word))}: no key before '='. Fix: {_listing(command)}")
        if "\0" in value:
            raise ConfigError(f"{brief(key)}={brief(value)}: a NUL character, expected text without. Fix: {key}=...")
        if equals and key in options and command != "eval" and not word.startswith("~"):
            _refuse_no_option(word, key, value, options[key])
        is_item = rest.isdigit() and get_origin(_plain_type(declared.get(first))) is list
        if dot and first in declared and not is_item and not _is_mapping(declared[first]):
            raise ConfigError(
                f"{brief(key)}: {first} has no keys, it takes {misfit(object(), declared[first])}. Fix: "
                f"{_listing(command)}"
            )


def _refuse_no_option(word: str, group: str, value: str, options: Sequence[str]) -> None:
    values = [each.strip() for each in value.strip("[]").split(",")]
    none = [each for each in values if _NO_NAME.fullmatch(each)]
    is_unfit = len(value) > 1000 or "${" in value  # Hydra would name a file or no key
    if (none or is_unfit) and (is_unfit or not value.startswith(("{", "'", '"'))) and value != "[]":
        plain = next((each for each in ("none", "default") if each in options), options[0])
        raise ConfigError(
            f"{group}={brief(value)}: expected the name of an option, {_some(options)}. Fix: {setting(group, plain)}"
        )
    if word.startswith("++"):
        raise ConfigError(f"{brief(word)}: a group is chosen by one name. Fix: {quote(word.lstrip('+'))}")


def _some(options: Sequence[str]) -> str:
    return ", ".join(options if len(options) <= 8 else [*options[:7], "..."])


def _plain_type(hint: Any) -> Any:
    kinds = [each for each in get_args(hint) if each is not type(None)]
    return kinds[0] if kinds and get_origin(hint) in (Union, UnionType) else hint


def _is_mapping(hint: Any) -> bool:
    return hint is Any or get_origin(_plain_type(hint)) is dict


def _unreadable(word: str, command: str) -> str:
    key, equals, value = word.partition("=")
    seen = f"cannot read {brief(repr(word))}"
    if not re.fullmatch(r"[+~]{0,2}[A-Za-z_][\w-]*([./@:][A-Za-z_\d][\w-]*)*", key, re.ASCII):
        return (
            f"{seen}: {brief(repr(key))} is not a key, expected letters, digits, '_' and dots. Fix: {_listing(command)}"
        )
    # An override is a sentence of Hydra's grammar; whatever it cannot hold goes into quotes.
    return f"{seen}, expected key=value. Fix: {setting(key, value) if equals else f'{key}=VALUE'}"


def _listing(command: str) -> str:
    return f"segtrain {command} --help lists the keys"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _containing_file(message: str) -> str:
    """`in experiment/cihp: ` where Hydra names the file; a primary config is where any command line ends."""
    match = re.match(r"In '(.+?)'", message)
    return f"in {match[1]}.yaml: " if match and "/" in match[1] and not match[1].startswith("hydra/") else ""


def _missing_option(error: MissingConfigException, command: str, groups: Sequence[str]) -> str:
    missing = error.missing_cfg_file or ""
    group, _, name = missing.rpartition("/")
    if missing in EXTRAS:
        return f"{group}={name} is not installed. Fix: pip install 'segtrain-keras[{EXTRAS[missing]}]'"
    if error.options:
        options = sorted(error.options)
        return f"no {group} {name!r}{did_you_mean(name, options) or ';'} options: {', '.join(options)}"
    if group in groups:  # one of a list of options: Hydra does not list the others
        return f"no {group} {name!r}. Fix: segtrain {command} --help lists the options of each group"
    if group:
        return f"no config group {group!r}{did_you_mean(group, groups) or ';'} groups: {', '.join(groups)}"
    return f"no primary config {name!r}. Fix: leave --config-name out, and add options by --config-dir"


def _unknown_key(key: str, node: Any, command: str, groups: Sequence[str], overrides: Sequence[str]) -> str:
    parent, _, name = key.rpartition(".")
    words = [word.lstrip("+").partition("=") for word in overrides]
    given = [(full, text) for full, _, text in words if f"{full}.".startswith(f"{key}.")]
    full, text = given[-1] if given else (key, None)
    if hint := rename_hint(full, text=text):
        return f"segtrain {command} has no key {key!r}{hint}"
    if key in groups and key not in {each.name for each in fields(SCHEMAS[command])}:
        # The run decides: eval, predict and others read a trained network.
        fix = f"segtrain train {quote(f'{full}={text}')}" if text else "segtrain train --help"
        if full.endswith("output_stride"):
            fix = f"segtrain {command} output_stride={text or 8}"
        return f"{full}: segtrain {command} takes {key} from the run, expected no such key. Fix: {fix}"
    if key in groups:
        return f"{key} is a group without a default. Fix: +{key}=..."
    if key.startswith("hydra."):
        return f"Hydra has no key {key!r}. Fix: segtrain {command} --cfg hydra lists its keys"
    near = did_you_mean(
        key, [each for each in [*dotted_keys(node._get_root()), *groups] if not key.startswith(f"{each}.")]
    )
    if isinstance(node, DictConfig) and "_target_" in node:
        return f"{parent} has no key {name!r}{near or '.'} Fix: if {node['_target_']} takes it, +{key}=..."
    return f"segtrain {command} has no key {key!r}{near or f'. Fix: segtrain {command} --help lists the keys'}"


def _wrong_value(error: OmegaConfBaseException) -> str:
    first = str(error).splitlines()[0]
    if error.value is None:
        return f"{error.full_key}=null: expected a value"
    expected = "a list" if "is not a ListConfig" in first else None
    expected = "true or false" if "is not a valid bool" in first else expected
    if match := re.search(r"could not be converted to (\w+)", first):
        expected = TYPES.get(match[1], match[1])
    seen = f"{error.full_key}={error.value}"
    return f"{seen} is of type {type(error.value).__name__}, expected {expected}" if expected else f"{seen}: {first}"


def _reworded(message: str, command: str, overrides: Sequence[str], groups: Sequence[str]) -> str:
    """Where Hydra raises nothing but text."""
    if match := re.match(r"invalid literal for int\(\) with base 10: '(.+)'", message):
        keys = [each.lstrip("+~").partition("=")[0] for each in overrides]
        key = next((each for each in keys if f".{match[1]}" in each), match[1])
        return f"{key}: a list has no key {match[1]!r}, expected a number from 0. Fix: {_listing(command)}"
    if match := re.match(r"Ambiguous value for argument '(.*)'", message):
        key, _, values = match[1].partition("=")
        return f"{match[1]} are several values. Fix: --multirun to try each, or a list: '{key}=[{values}]'"
    if match := re.match(r"Could not append to config. An item is already at '(.*)'", message):
        return f"+{match[1]}: {match[1]} is set already. Fix: {match[1]}=... without the +"
    if match := re.search(r"Could not override '([\w/@]+)'", message):
        if command == "eval":
            return "segtrain eval takes no experiment: a run keeps its own config. Fix: run=DIR names the run"
        where, group = _containing_file(message), match[1]
        near = did_you_mean(group, groups)
        return f"{where}no group {group!r} to override{near or ';'} groups: {', '.join(groups)}"
    if message.startswith("Config group override must be"):
        given = next((each for each in overrides if each.lstrip("+").partition("=")[0] in ("", *groups)), "a group")
        return f"{given}: expected the name of an option. Fix: segtrain {command} --help lists the options"
    lines = (line.strip() for line in message.splitlines())
    return "cannot compose the config: " + " ".join(line for line in lines if line and "https://" not in line)
