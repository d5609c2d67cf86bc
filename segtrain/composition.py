"""What Hydra and OmegaConf say when a config cannot be composed, as one line that names the mend."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

# Hydra checks some of its input by bare ValueError: `backbone=3`, `--cfg job --multirun`, `model.taps.x=1`.
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, ValueError)
# OmegaConf's words for a type -> ours.
TYPES = {"Integer": "int", "Float": "float", "Boolean": "true or false"}


def explain(error: Exception, command: str, groups: list[str]) -> ConfigError:
    """One line from an error that was raised while Hydra composed a config.

    Args:
        error: One of COMPOSITION_ERRORS.
        command: The command whose config it is.
        groups: Config groups there are, for near names.
    """
    where = _containing_file(str(error))
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        # An override is a sentence of Hydra's grammar; whatever it cannot hold goes into quotes.
        mend = f"'{key}=\"{value}\"', quotes included" if equals else f"{key}=VALUE"
        return ConfigError(f"cannot read {error.override!r}, expected key=value. Fix: {mend}")
    if isinstance(error, MissingConfigException):
        return ConfigError(where + _missing_option(error, groups))
    cause = next((each for each in _chain(error) if isinstance(each, OmegaConfBaseException) and each.full_key), None)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
        return ConfigError(where + _unknown_key(str(cause.full_key), cause.parent_node, command, groups))
    if isinstance(cause, OmegaConfBaseException):
        return ConfigError(where + _wrong_value(cause))
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return ConfigError(f"{mark.name} line {mark.line + 1}, column {mark.column + 1}: not YAML, {error.problem}")
    if match := re.match(r"Ambiguous value for argument '(.*)'", str(error)):
        key, _, values = match[1].partition("=")
        return ConfigError(f"{match[1]} are several values. Fix: --multirun to try each, or a list: '{key}=[{values}]'")
    lines = (line.strip() for line in str(error).splitlines())
    return ConfigError(" ".join(line for line in lines if line and "https://" not in line) or repr(error))


def dotted_keys(config: Any, parent: str = "") -> Iterator[str]:
    """Full names of all keys of a config or mapping, without Hydra's own: dataset, dataset.root, ..."""
    tree = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    for key, value in tree.items():
        if key not in ("hydra", "_target_"):
            yield f"{parent}{key}"
            if isinstance(value, dict):
                yield from dotted_keys(value, f"{parent}{key}.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _containing_file(message: str) -> str:
    """`in experiment/cihp: ` where Hydra names the file; a primary config is where any command line ends."""
    match = re.match(r"In '(.+?)'", message)
    return f"in {match[1]}.yaml: " if match and "/" in match[1] and not match[1].startswith("hydra/") else ""


def _missing_option(error: MissingConfigException, groups: list[str]) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if error.options:
        options = sorted(error.options)
        return f"no {group} {name!r}{did_you_mean(name, options) or ';'} options: {', '.join(options)}"
    if group:
        return f"no config group {group!r}{did_you_mean(group, groups) or ';'} groups: {', '.join(groups)}"
    return f"no primary config {name!r}. Fix: leave --config-name out, and add options by --config-dir"


def _unknown_key(key: str, node: Any, command: str, groups: list[str]) -> str:
    root = node._get_root()
    parent = key.rpartition(".")[0]
    if key in groups:
        return f"{key} is a group without a default. Fix: +{key}=..."
    if key.startswith("hydra."):
        return f"Hydra has no key {key!r}. Fix: segtrain {command} --cfg hydra lists its keys"
    near = did_you_mean(key, [*dotted_keys(root), *groups])
    if isinstance(node, DictConfig) and "_target_" in node:
        others = ", ".join(str(each) for each in node if each != "_target_")
        return f"{parent} has no key {key!r}{near or ';'} it has {others}. Fix: + adds an argument that YAML leaves out"
    return f"segtrain {command} has no key {key!r}{near or '. Fix: segtrain ' + command + ' --help lists the keys'}"


def _wrong_value(error: OmegaConfBaseException) -> str:
    first = str(error).splitlines()[0]
    value = "null" if error.value is None else error.value
    if match := re.search(r"could not be converted to (\w+)", first):
        return f"{error.full_key}={value}: a {type(error.value).__name__}, expected {TYPES.get(match[1], match[1])}"
    if "is not Optional" in first:
        return f"{error.full_key}=null: expected a value"
    if "is not a ListConfig" in first:
        return f"{error.full_key}={value}: a {type(error.value).__name__}, expected a list"
    return f"{error.full_key}={value}: {first}"
