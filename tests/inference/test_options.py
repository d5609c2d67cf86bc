"""Values of tta and tiles, and what is refused with its key."""

import pytest

from segtrain.errors import ConfigError
from segtrain.inference.options import SCALES, Tta, parse_tiles, parse_tta


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("none", Tta((1.0,), False)),
        (None, Tta((1.0,), False)),
        ("flip", Tta((1.0,), True)),
        ("ms", Tta(SCALES, False)),
        ("ms_flip", Tta(SCALES, True)),
        ({"scales": [0.5, 2]}, Tta((0.5, 2.0), False)),
        ({"flip": True}, Tta((1.0,), True)),
    ],
)
def test_a_name_or_a_mapping_is_an_augmentation(value, expected):
    assert parse_tta(value) == expected


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("flop", "tta=flop.*did you mean flip"),
        ({}, "tta="),
        ({"scale": [1]}, "tta="),
        ({"scales": []}, "1 to 32 numbers"),
        ({"scales": [0]}, r"tta\.scales: 0, "),
        ({"scales": [-1.0]}, r"tta\.scales: -1.0, "),
        ({"scales": [1, float("nan")]}, r"tta\.scales: nan, "),
        ({"scales": [9]}, r"tta\.scales: 9, "),
        ({"scales": "1"}, "tta="),
        ({"flip": "yes"}, "tta="),
        ([1.0], "tta="),
    ],
)
def test_another_value_of_tta_is_refused_by_its_key(value, seen):
    with pytest.raises(ConfigError, match=seen + ".*Fix: '?tta="):
        parse_tta(value)


def test_tiles_are_a_size_or_auto_or_off():
    assert [parse_tiles(value) for value in ("auto", "off", None, False, 512)] == ["auto", "off", "off", "off", 512]
    for value in (0, 16, -512, True, "512px", 1.5, 10**6):
        with pytest.raises(ConfigError, match=f"tiles={value}: expected auto, off, .*Fix: tiles=1024"):
            parse_tiles(value)
