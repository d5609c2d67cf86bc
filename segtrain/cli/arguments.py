"""The words after `segtrain COMMAND`, put as Hydra wants them: flags first, `+` where it is needed."""

import re
from collections.abc import Sequence
from pathlib import Path

from segtrain.errors import ConfigError
from segtrain.shell import override
from segtrain.suggest import did_you_mean

# Hydra's flags, which its parser wants before any override. Not --experimental-rerun: it opens a pickle.
SWITCHES = (
    *("--help", "-h", "--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m"),
    *("--shell-completion", "-sc"),
)
CONFIG_DIR = ("--config-dir", "-cd")
BARE_WORD = {"download": "name", "bench": "what", "predict": "source"}  # command: the key whose value may stand alone
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
VALUED: dict[str, tuple[str, ...]] = {  # flag: the values it takes, where they are few
    **dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")),
    **dict.fromkeys(("--info", "-i"), INFO),
    **dict.fromkeys(("--package", "-p", "--config-path", "-cp", "--config-name", "-cn", *CONFIG_DIR), ()),
}


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Sort the words into flags, each followed by its value, and overrides.

    `+experiment=x -m seed=1,2` gives `[-m]` and `[+experiment=x, seed=1,2]`.

    Raises:
        ConfigError: A flag is unknown, or its value is missing or not one of those it takes.
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            overrides.append(word)
        elif word in SWITCHES:
            flags.append(word)
        elif name in VALUED:
            flags += [name, value if equals else _take_value(name, rest)]
            _check_value(*flags[-2:])
        else:
            near = did_you_mean(name, [*SWITCHES, *VALUED])
            raise ConfigError(f"no flag {word}{near or '. Fix: segtrain COMMAND --help lists the flags'}")
    return flags, overrides


def _take_value(flag: str, rest: list[str]) -> str:
    if VALUED[flag] is INFO and (not rest or rest[0] not in INFO):
        return "all"  # the one flag whose value may be left out
    if not rest:
        raise ConfigError(f"{flag} is not given its value. Fix: {flag} {'|'.join(VALUED[flag]) or 'VALUE'}")
    return rest.pop(0)


def _check_value(flag: str, value: str) -> None:
    choices = VALUED[flag]
    if choices and value not in choices:
        raise ConfigError(f"{flag} {value}: expected {', '.join(choices)}{did_you_mean(value, choices)}")


def config_dir_flag(flags: Sequence[str]) -> list[str]:
    """--config-dir and its value, if it is among the flags."""
    at = next((number for number, flag in enumerate(flags) if flag in CONFIG_DIR), len(flags))
    return list(flags[at : at + 2])


def rewrite(command: str, overrides: Sequence[str]) -> list[str]:
    """Spare users the prefixes that Hydra wants where a key or group is not in the primary config.

    `compare ONE OTHER` becomes `compare +experiment=ONE other=OTHER`, `download NAME` becomes `download name=NAME`,
    `bench data` becomes `bench what=data` and `predict a.jpg b.jpg` becomes `predict source=[a.jpg,b.jpg]`.

    Raises:
        ConfigError: `compare` is given one name, or more than two; `download` or `bench` more than one.
    """
    if command == "compare":
        overrides = _named_experiments(overrides)
    if command in BARE_WORD:
        overrides = _with_bare_word(command, overrides)
    prefixes = {"experiment=": "+", "debug=": "+", "sweep=": "+"}
    if command == "eval":
        # The run's dataset node is merged with these keys later, so none of them is there yet.
        prefixes["dataset."] = "++"
    rewritten = []
    for word in overrides:
        bare = word.lstrip("+")
        prefix = next((prefix for start, prefix in prefixes.items() if bare.startswith(start)), None)
        rewritten.append(_quoted(word if prefix is None else prefix + bare))
    # Of two that change the same key Hydra takes the later: a debugging mode changes experiments, too.
    return sorted(rewritten, key=lambda word: word.startswith("+debug="))


def _quoted(word: str) -> str:
    """Quote a value that is text to any reader but not to Hydra's grammar, such as `~/data` or `/data/Fotos_für_x`."""
    key, _, value = word.partition("=")
    is_text = not re.search(r"[\[\]{}(),'\"$\\\0]", value) and not value.startswith("=")
    if is_text and re.search(r"[^A-Za-z0-9_ /+.%*@?|:-]", value):
        return override(key, value)
    return word


def _bare_words(words: Sequence[str]) -> list[str]:
    return [word for word in words if "=" not in word and not word.startswith("~")]


def _with_bare_word(command: str, words: Sequence[str]) -> list[str]:
    names, key = _bare_words(words), BARE_WORD[command]
    if command == "predict" and names:  # files, that a shell may have expanded
        value = names[0] if len(names) == 1 else names
        return [override(key, value), *(word for word in words if word not in names)]
    if len(names) > 1:
        raise ConfigError(
            f"segtrain {command} {' '.join(names)}: expected one name. Fix: segtrain {command} -m "
            f"{key}={','.join(names)}"
        )
    return [f"{key}={word}" if word in names else word for word in words]


def _named_experiments(words: Sequence[str]) -> list[str]:
    names = _bare_words(words)
    if not names:
        return list(words)
    if all("/" in name or Path(name).is_dir() for name in names):
        return [override("runs", names), *(word for word in words if word not in names)]
    if len(names) != 2:
        raise ConfigError(
            f"segtrain compare {' '.join(names)}: expected the names of two experiments. Fix: segtrain compare "
            f"{names[0]} {names[1] if len(names) > 2 else 'OTHER'}"
        )
    return [f"+experiment={names[0]}", f"other={names[1]}", *(word for word in words if word not in names)]
