"""Overrides and commands in messages, quoted so that they work when pasted into a shell.

Two readers take a word apart: the shell first, then Hydra. Every message that prints a command quotes it here.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from segtrain.errors import argument
from segtrain.terminal import printable

_PLAIN_TEXT = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
# Hydra reads these words as other types than text.
_OTHER_TYPES = re.compile(r"null|true|false|nan|inf|[\d.]+(e-?\d+)?", re.IGNORECASE)
_ESCAPED_IN_DICT_KEYS = re.compile(r"([\\()\[\]{}:=, \t])")


def override(key: str, value: object) -> str:
    r"""Write an override that gives a key exactly this value, as Hydra reads it; a shell needs `quote` around it.

    Args:
        key: Full name of the key, with its `+` or `++` if it needs one.
        value: Text, path, number, bool, None, or a list or mapping of them.

    Example:
        >>> override("crop_size", [64, 64])
        'crop_size=[64,64]'
        >>> override("dataset.root", "/data/my images")
        'dataset.root="/data/my images"'
    """
    return f"{key}={_written(value)}"


def quote(word: str) -> str:
    """Quote one word for bash and zsh, on one line: control characters become escapes.

    Example:
        >>> quote("crop_size=[64,64]")
        "'crop_size=[64,64]'"
    """
    if word.startswith(argument("")):  # whose path is still to come: it belongs within the quotes
        bare = quote(word.removeprefix(argument("")))
        opening = next((each for each in ("$'", "'") if bare.startswith(each)), "")
        return opening + argument("") + bare.removeprefix(opening)
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def setting(key: str, value: object) -> str:
    r"""Write an override for a shell: what a message prints after `Fix:`.

    Example:
        >>> setting("dataset.root", "/data/my images")
        '\'dataset.root="/data/my images"\''
    """
    return quote(override(key, value))


def command(*words: object) -> str:
    """Write a command line for a shell from its words.

    Example:
        >>> command("segtrain", "train", override("crop_size", [64, 64]))
        "segtrain train 'crop_size=[64,64]'"
    """
    return " ".join(quote(str(word)) for word in words)


def brief(value: object, most: int = 80) -> str:
    """Write a value for a message: on one line, without control characters, and not without end.

    Example:
        >>> brief("a" * 200, 20)
        'aaaaaaaaaaaa... (200 characters)'
    """
    text = printable(value)
    return text if len(text) <= most else f"{text[: most - 8]}... ({len(text):,} characters)"


def leaves(config: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a config with their full keys; lists are values.

    Example:
        >>> list(leaves({"model": {"dilations": [6, 12]}, "seed": 0}))
        [('model.dilations', [6, 12]), ('seed', 0)]
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def _written(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        items = (f"{_dict_key(key)}: {_written(each)}" for key, each in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    if _PLAIN_TEXT.fullmatch(text) and not _OTHER_TYPES.fullmatch(text):
        return text
    # OmegaConf would resolve ${...}; it takes a backslash before it away again, and halves those before that.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # Hydra halves the backslashes before a quote, and leaves all others as they are.
    text = re.sub(r'(\\*)"', r'\1\1\\"', text)
    return '"' + re.sub(r"(\\+)$", r"\1\1", text) + '"'


def _dict_key(key: object) -> str:
    return _ESCAPED_IN_DICT_KEYS.sub(r"\\\1", str(key)) if isinstance(key, str) else _written(key)


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
