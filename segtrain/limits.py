"""Ranges of arguments, declared in a part's signature: `channels: Channels = 256`.

`segtrain.config` holds a config's values to them before anything is built, and `limited` a call from Python.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from segtrain.errors import ConfigError, argument

Call = TypeVar("Call", bound=Callable[..., Any])


@dataclass(frozen=True)
class Limits:
    """A range of numbers.

    Args:
        low: The lowest.
        high: The highest.
        above: Whether `low` itself is out.
        below: Whether `high` itself is out.

    Example:
        >>> str(Limits(0, 1, below=True))
        'from 0 to below 1'
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def hold(self, value: Any) -> bool:
        """Whether a value is no number, or one within the range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True  # of another type, which is judged apart
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return math.isfinite(value) and over and under

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'from'} {_short(self.low)}"
        return f"{low} to {'below ' if self.below else ''}{_short(self.high)}"


Probability = Annotated[float, Limits(0, 1)]
DropRate = Annotated[float, Limits(0, 1, below=True)]
Fraction = Annotated[float, Limits(0, 1, above=True)]  # of which nothing is left at 0
InnerFraction = Annotated[float, Limits(0, 1, above=True, below=True)]
Factor = Annotated[float, Limits(0, 1e6)]
PositiveFactor = Annotated[float, Limits(0, 1e6, above=True)]
Exponent = Annotated[float, Limits(0, 100)]
Epsilon = Annotated[float, Limits(0, 1, above=True)]
Channels = Annotated[int, Limits(1, 8192)]
Dilation = Annotated[int, Limits(1, 1024)]
Layers = Annotated[int, Limits(0, 32)]
Stride = Annotated[int, Limits(1, 64)]
Count = Annotated[int, Limits(0, 1_000_000_000)]
PositiveCount = Annotated[int, Limits(1, 1_000_000_000)]


def out_of_range(value: Any, annotation: Any) -> str:
    """Return what an annotation's limits expect where `value` breaks them; empty where it does not.

    Args:
        value: Of an argument, of the right type.
        annotation: With `Limits` anywhere within: of the numbers of a list, of one case of several.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [each for each in annotation.__metadata__ if isinstance(each, Limits) and not each.hold(value)]
        return f"a number {limits[0]}" if limits else out_of_range(value, arguments[0])
    if origin in (Union, UnionType):
        broken = [out_of_range(value, each) for each in arguments]
        return next((each for each in broken if each), "")
    if isinstance(value, Mapping):
        values = arguments[1:2] * len(value) if len(arguments) > 1 else ()
        return _first_broken(value.values(), values)
    if isinstance(value, list | tuple) and arguments:
        fixed = origin is tuple and ... not in arguments
        return _first_broken(value, arguments if fixed else arguments[:1] * len(value))
    return ""


def limited(call: Call) -> Call:
    """Hold every call of a function to the limits in its signature.

    Raises:
        ConfigError: By the call: an argument is out of its range.
    """
    signature = inspect.signature(call, eval_str=True)

    @functools.wraps(call)
    def checked(*arguments: Any, **named: Any) -> Any:
        for name, value in signature.bind(*arguments, **named).arguments.items():
            if expected := out_of_range(value, signature.parameters[name].annotation):
                raise ConfigError(f"{argument(name)}={value}: expected {expected}")
        return call(*arguments, **named)

    return checked  # type: ignore[return-value]


def _first_broken(values: Any, annotations: Sequence[Any]) -> str:
    broken = map(out_of_range, values, annotations)
    return next((f"each {each}" for each in broken if each), "")


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
