"""Ranges of arguments, declared in a part's signature: `channels: Channels = 256`.

`segtrain.config` validates config values against them before anything is built; `limited` validates Python calls.
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
        low: Lower bound.
        high: Upper bound.
        above: Whether to exclude `low`.
        below: Whether to exclude `high`.

    Example:
        >>> str(Limits(0, 1, below=True))
        'from 0 to below 1'
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def hold(self, value: Any) -> bool:
        """Whether a value is within the range; True for values that are not numbers."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True  # types are validated separately
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return math.isfinite(value) and over and under

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'from'} {_short(self.low)}"
        return f"{low} to {'below ' if self.below else ''}{_short(self.high)}"


Probability = Annotated[float, Limits(0, 1)]
DropRate = Annotated[float, Limits(0, 1, below=True)]
Fraction = Annotated[float, Limits(0, 1, above=True)]  # excludes 0
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
    """Describe the expected range if `value` violates the limits of an annotation; empty if it does not.

    Args:
        value: Value of the argument, of the annotated type.
        annotation: Type annotation with `Limits` at any depth, such as in a list's items or a union's members.
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
    """Decorate a function to validate its arguments against the limits in its signature.

    Raises:
        ConfigError: Raised by the decorated function if an argument is out of its range.
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
