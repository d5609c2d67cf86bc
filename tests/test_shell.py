"""Overrides in messages reach Hydra through a shell as the values that they were written from."""

import os
import random
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from segtrain import shell

VALUES = [
    *(
        "plain",
        "",
        " ",
        "a b",
        "it's",
        'say "no"',
        "~/data",
        "$HOME",
        "`id`",
        "$(id)",
        "a\\b",
        "a\\",
        "\\",
        '\\"',
        "\\'",
    ),
    *("${seed}", "\\${seed}", "x\\\\${y}z", "!!", "*", "?", "[v1]", "{a,b}", "a;b", "a&b", "a|b", "a<b>c", "#x", "-x"),
    *(
        "Straße",
        "日本",
        "a\nb",
        "a\tb",
        "\x1b[31m",
        "\u202e",
        "\udcff",
        "null",
        "true",
        "12",
        "1e3",
        "nan",
        "a=b",
        "a:b",
    ),
    *("a,b", "(a)", "'", '"', "'\"\\'", "%s", "@x", "+x", "^", "'a' \"b\" \\\\", "9" * 20),
    *(
        None,
        True,
        False,
        3,
        -2.5,
        1e-7,
        [64, 64],
        ["a b", 1, None],
        {"a": 1, "b c": [True, "x'y"]},
        [["[", "]"], {}],
        [],
    ),
]


def pasted(line: str) -> list[str]:
    """The words that bash makes of a line, byte by byte."""
    script = f"printf '%s\\0' {line}"
    out = subprocess.run(
        ["bash", "-c", os.fsencode(script)], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    return [os.fsdecode(word) for word in out.stdout.split(b"\0")[:-1]]


def read_by_hydra(word: str) -> object:
    parsed = OverridesParser.create().parse_override(word)
    assert parsed.key_or_group == "dataset.root"
    tree = OmegaConf.create({"seed": 7, "value": parsed.value()})
    return OmegaConf.to_container(tree, resolve=True)["value"]


def test_every_value_comes_back_from_the_shell_and_from_hydra():
    words = pasted(" ".join(shell.setting("dataset.root", value) for value in VALUES))
    assert len(words) == len(VALUES)
    assert [read_by_hydra(word) for word in words] == VALUES


def test_random_text_comes_back():
    draw = random.Random(0)
    values = ["".join(draw.choices("ab \\\"'${}~[]é\n", k=draw.randrange(9))) for _ in range(300)]
    words = pasted(" ".join(shell.setting("dataset.root", value) for value in values))
    assert [read_by_hydra(word) for word in words] == values


def test_a_command_is_one_line():
    line = shell.command("segtrain", "train", shell.override("dataset.root", "a\nb c"))
    assert "\n" not in line
    assert pasted(line) == ["segtrain", "train", 'dataset.root="a\nb c"']


@pytest.mark.parametrize("word", ["seed=1", "dataset.root=/data/VOC2012", "segtrain"])
def test_what_needs_no_quotes_gets_none(word):
    assert shell.quote(word) == word
