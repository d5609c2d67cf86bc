"""Ranges in a signature hold for a config before anything is built, and for a call from Python."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import pytest

from segtrain.config.calls import argument_problems
from segtrain.config.targets import find_target
from segtrain.errors import ConfigError
from segtrain.limits import Channels, DropRate, Limits, Probability, limited, out_of_range

Hue = Annotated[float, Limits(0, 0.5)]


@limited
def part(channels: Channels = 8, dropout: DropRate | None = None, *, sizes: Sequence[Probability] = ()) -> int:
    return channels


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (0.5, Probability, ""),
        (1, Probability, ""),
        (1.5, Probability, "a number from 0 to 1"),
        (1, DropRate, "a number from 0 to below 1"),
        (0, Annotated[float, Limits(0, 1, above=True)], "a number above 0 to 1"),
        (float("nan"), Probability, "a number from 0 to 1"),
        (None, DropRate | None, ""),
        (2, DropRate | None, "a number from 0 to below 1"),
        ([0.1, 2], Sequence[Probability], "each a number from 0 to 1"),
        ([64, 0], tuple[Channels, Channels], "each a number from 1 to 8,192"),
        ({"a": 2}, Mapping[str, Probability], "each a number from 0 to 1"),
        ("text", Probability, ""),  # another type is another message
        (7, int, ""),
    ],
)
def test_a_range_is_found_anywhere_in_an_annotation(value, annotation, expected):
    assert out_of_range(value, annotation) == expected


def test_a_call_from_python_is_held_to_the_ranges():
    assert part(4, dropout=0.5, sizes=[0.1]) == 4
    for arguments, key in (
        ({"channels": 0}, "channels=0"),
        ({"sizes": [3]}, r"sizes=\[3\]"),
        ({"dropout": 1}, "dropout=1"),
    ):
        with pytest.raises(ConfigError, match=f"^{key}: expected"):
            part(**arguments)


def test_a_config_is_held_to_them_by_its_full_key():
    node = {"_target_": "parts.part", "channels": 10**6, "sizes": [0.5, -1]}
    assert list(argument_problems(part, node, (), "model")) == [
        "model.channels=1000000: expected a number from 1 to 8,192",
        "model.sizes=[0.5, -1]: expected each a number from 0 to 1",
    ]


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1e30),
        ("learning_rate", -1e-3),
        ("learning_rate", "fast"),
        ("weight_decay", -0.1),
        ("weight_decay", "much"),
        ("beta_1", 1),
        ("epsilon", 1e30),
        ("epsilon", 0),
        ("clipnorm", -1),
    ],
)
def test_an_argument_of_keras_has_a_range_too(name, value):
    node = {"_target_": "keras.optimizers.AdamW", name: value}
    call = find_target(node["_target_"], (), "optimizer")
    (problem,) = argument_problems(call, node, (), "optimizer")
    assert problem.startswith(f"optimizer.{name}=") and "expected" in problem
    assert not list(argument_problems(call, {**node, name: None}, (), "optimizer"))
