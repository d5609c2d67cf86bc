"""How a root key is declared, and what a value of it must fulfill."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from segtrain.suggest import did_you_mean

MOST = 1_000_000  # epochs
MANY = 1_000_000_000  # images: all there are
MOST_WORKERS = 128
LONGEST_SIDE = 16_384  # pixels
LONGEST_NAME = 100  # letters, of the 255 that a folder may have
GROUPS = (
    *("dataset", "augment", "model", "backbone", "norm", "heads", "loss", "optimizer", "schedule", "metrics"),
    "callbacks",
)


def key(
    meaning: str,
    *,
    default: Any = MISSING,
    at_least: float | None = None,
    at_most: float | None = None,
    length: int | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
) -> Any:
    """Declare a root key whose value is set in YAML, and what `config.validate_root` holds it to."""
    rules = {
        "at_least": at_least,
        "at_most": at_most,
        "length": length,
        "choices": choices,
        "pattern": pattern,
    }
    return field(default=default, metadata={"meaning": meaning, **rules})


def broken_rules(value: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules of a root key that `value` breaks."""
    if isinstance(value, str) and rule["at_most"] is not None and len(value) > rule["at_most"]:
        yield f"at most {rule['at_most']} letters"
    numbers = [number for number in (value if isinstance(value, list) else [value]) if not isinstance(number, str)]
    if rule["length"] is not None and isinstance(value, list) and len(value) != rule["length"]:
        yield f"{rule['length']} numbers"
    if rule["at_least"] is not None and any(number < rule["at_least"] for number in numbers):
        yield f"at least {rule['at_least']:,}"
    if rule["at_most"] is not None and any(number > rule["at_most"] for number in numbers):
        yield f"at most {rule['at_most']:,}"
    if rule["choices"] and value not in rule["choices"]:
        yield f"{' or '.join(rule['choices'])}{did_you_mean(str(value), rule['choices'])}"
    if rule["pattern"] and not re.fullmatch(rule["pattern"], str(value)):
        yield "letters, digits, '_', '.' and '-' only"


@dataclass
class CommandConfig:
    """Root keys of every command."""

    name: str = key("last part of the run folder's name", pattern=r"[\w.-]+", at_most=LONGEST_NAME)
    trusted_modules: list[str] = key(
        "your own modules that a _target_ may name; of the working folder, only these are imported"
    )
