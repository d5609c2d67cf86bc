"""Quote overrides and commands in messages so that they work when pasted into a shell.

A word is parsed twice: by the shell, then by Hydra. Every message that prints a command uses this module.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from segtrain.errors import argument
from segtrain.terminal import printable

_PLAIN_TEXT = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
# Words that Hydra does not parse as strings.
_OTHER_TYPES = re.compile(r"null|true|false|nan|inf|[\d.]+(e-?\d+)?", re.IGNORECASE)
_ESCAPED_IN_DICT_KEYS = re.compile(r"([\\()\[\]{}:=, \t])")


def override(key: str, value: object) -> str:
    r"""Format a Hydra override that sets a key to exactly this value; quote it with `quote` for a shell.

    Args:
        key: Full name of the key, with `+` or `++` if needed.
        value: String, path, number, bool, None, or a list or mapping of them.

    Example:
        >>> override("crop_size", [64, 64])
        'crop_size=[64,64]'
        >>> override("dataset.root", "/data/my images")
        'dataset.root="/data/my images"'
    """
    return f"{key}={_written(value)}"


def quote(word: str) -> str:
    """Quote one word for bash and zsh on one line; control characters are escaped.

    Example:
        >>> quote("crop_size=[64,64]")
        "'crop_size=[64,64]'"
    """
    if word.startswith(argument("")):  # the path is inserted later, inside the quotes
        bare = quote(word.removeprefix(argument("")))
        opening = next((each for each in ("$'", "'") if bare.startswith(each)), "")
        return opening + argument("") + bare.removeprefix(opening)
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def setting(key: str, value: object) -> str:
    r"""Format an override quoted for a shell, as printed after `Fix:`.

    Example:
        >>> setting("dataset.root", "/data/my images")
        '\'dataset.root="/data/my images"\''
    """
    return quote(override(key, value))


def command(*words: object) -> str:
    """Format a command line for a shell from its words.

    Example:
        >>> command("segtrain", "train", override("crop_size", [64, 64]))
        "segtrain train 'crop_size=[64,64]'"
    """
    return " ".join(quote(str(word)) for word in words)


def brief(value: object, most: int = 80) -> str:
    """Format a value for a message: on one line, without control characters, at most about `most` characters.

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
    # OmegaConf would resolve ${...}; it removes an escaping backslash and halves the backslashes before it.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # Hydra halves the backslashes before a quote and keeps all others.
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
