"""Search spaces of `sweep=optuna`, written as Hydra's sweeps: `choice(...)`, `range(...)`, `interval(...)`, `a,b`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from segtrain.errors import ConfigError
from segtrain.shell import quote

Space = dict[str, BaseDistribution]


def split_space(words: Sequence[str]) -> tuple[Space, list[str]]:
    """Take the search space out of a command line.

    Returns:
        The distribution of each key that is searched, and the other overrides.

    Raises:
        ConfigError: A kind of sweep has no distribution, or its ends are in the wrong order.
    """
    space, others = {}, []
    for each in OverridesParser.create().parse_overrides(list(words)):
        if each.is_sweep_override():
            space[each.get_key_element()] = _distribution(each)
        else:
            others.append(each.input_line or "")
    return space, others


def grid_values(key: str, distribution: BaseDistribution) -> list[Any]:
    """List the values of a key for a grid.

    Raises:
        ConfigError: They are too many to be listed.
    """
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        count = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + number * distribution.step for number in range(count + 1)]
    raise ConfigError(
        f"hydra/sweeper/sampler=grid: {key}=interval(...) is any number within, expected values one by one. Fix: "
        f"{quote(f'{key}=choice(1e-4,1e-3)')}"
    )


def first_value(distribution: BaseDistribution) -> Any:
    """Return a value that lies in the space."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return getattr(distribution, "low", None)


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Write values as overrides. A choice is kept as it was written."""
    return [f"{key}={value}" for key, value in values.items()]


def _distribution(override: Override) -> BaseDistribution:
    value, line = override.value(), override.input_line or ""
    try:
        if isinstance(value, RangeSweep):
            if value.start is None or value.stop is None:
                raise ValueError("without start or stop")
            kind = FloatDistribution if isinstance(value.start + value.stop + value.step, float) else IntDistribution
            return kind(value.start, value.stop, step=value.step)
        if isinstance(value, IntervalSweep):
            if value.start is None or value.end is None:
                raise ValueError("without start or end")
            is_log = "log" in value.tags
            if "int" in value.tags:
                return IntDistribution(int(value.start), int(value.end), log=is_log)
            return FloatDistribution(float(value.start), float(value.end), log=is_log)
    except ValueError as error:
        raise ConfigError(
            f"{line}: {' '.join(str(error).split())}. Fix: {quote(f'{override.get_key_element()}=interval(1e-4,1e-2)')}"
        ) from error
    if isinstance(value, Glob) or not override.is_choice_sweep():
        raise ConfigError(
            f"{line}: sweep=optuna takes choice(...), range(...), interval(...) and a,b. Fix: "
            f"{quote(f'{override.get_key_element()}=choice(A,B)')}"
        )
    return CategoricalDistribution(list(override.sweep_string_iterator()))
