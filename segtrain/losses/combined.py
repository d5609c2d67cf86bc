"""Weighted sum of several losses of the same logits."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from segtrain.errors import ConfigError, argument
from segtrain.losses.base import Loss, additive


class Part(NamedTuple):
    """One loss of a sum.

    Attributes:
        loss: Called with labels and logits.
        weight: Factor of the loss in the sum, at least 0.
    """

    loss: Callable[[Any, Any], Any]
    weight: float


class Sum(Loss):
    """Losses of the same logits, weighted and added: sum_i weight_i loss_i.

    Args:
        parts: Name -> loss and weight, in the order in which they are added.

    Raises:
        ConfigError: `parts` is empty, a weight is not a number >= 0, all weights are 0, or two parts take different
            numbers of logits.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        for name, part in parts.items():
            is_number = isinstance(part.weight, int | float) and not isinstance(part.weight, bool)
            if not is_number or not 0 <= part.weight < math.inf:
                key = argument(f"parts.{name}.weight")
                raise ConfigError(f"{key}={part.weight}: expected a number from 0 up. Fix: {key}=1.0")
        if not any(part.weight for part in parts.values()):
            seen = ", ".join(f"{name}.weight={part.weight}" for name, part in parts.items()) or "none"
            raise ConfigError(
                f"{argument('parts')}: {seen}, expected at least one positive weight. Fix: write it like "
                "configs/loss/cross_entropy_dice.yaml"
            )
        takes = {name: part.loss.num_logits for name, part in parts.items() if hasattr(part.loss, "num_logits")}
        if len({*takes.values()}) > 1:
            seen = ", ".join(f"{name} takes {number}" for name, number in takes.items())
            raise ConfigError(
                f"{argument('parts')}: {seen} logits a pixel, expected as many each. Fix: take one part out"
            )
        if takes:
            self.num_logits = next(iter(takes.values()))
        self._losses = {name: additive(part.loss) for name, part in parts.items()}
        self._weights = {name: float(part.weight) for name, part in parts.items()}

    @property
    def adds_up_over_pixels(self) -> bool:  # type: ignore[override]
        """Whether all parts do."""
        return all(loss.adds_up_over_pixels for loss in self._losses.values())

    @property
    def names(self) -> list[str]:
        """Names of the parts."""
        return list(self._losses)

    def sums(self, labels: Any, logits: Any) -> dict[str, Any]:
        """Return the parts' sums by name."""
        return {name: loss.sums(labels, logits) for name, loss in self._losses.items()}

    def values(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts' losses by name, without their weights."""
        return {name: loss.value(sums[name]) for name, loss in self._losses.items()}

    def value(self, sums: Mapping[str, Any]) -> Any:
        return self.weighted(self.values(sums))

    def weighted(self, values: Mapping[str, Any]) -> Any:
        """Return the weighted sum of the parts' losses."""
        return sum(self._weights[name] * value for name, value in values.items())
