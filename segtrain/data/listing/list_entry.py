"""Refuse a line of a list file that names a file outside the dataset's folder, however the path is spelled.

The rule is about the spelling: nothing on the disk is looked up, so a symlinked folder inside `dataset.root` works.
"""

import re
import unicodedata
from pathlib import Path

from segtrain.data.images.contents import shown
from segtrain.errors import DataError, argument

_FIELDS = re.compile(r"[\s,;|]+")
# Between the parts of a path, of either system, and between the fields of a line, quoted or not.
_PARTS = re.compile(r"""[\s,;|/\\"'`]+""")
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]+:/")
_PERCENT = re.compile("%([0-9A-Fa-f]{2})")
_HOME = re.compile(r"~[^/\\]*[/\\]")


def escape_of(text: str) -> str:
    """Return how a path, or a line of several paths, leaves the folder that it is relative to; "" where it does not.

    A path is refused in each reading that some program has for it: backslashes as separators, percent codes decoded,
    Unicode look-alikes of dots and slashes, invisible characters removed.

    Example:
        >>> escape_of("images/a.jpg ../secret.png"), escape_of("images/a..b.jpg labels/a.png")
        ("a '..' in its path", '')
    """
    if "\0" in text:
        return "a NUL character"
    for reading in _readings(text):
        if ".." in _PARTS.split(reading):
            return "a '..' in its path"
        for field in _FIELDS.split(reading):
            bare = field.strip("\"'`")
            if _ABSOLUTE.match(bare):
                return "an absolute path"
            if _HOME.match(bare):
                return "a path from a home folder"
    return ""


def require_inside(text: str, source: Path, line: int) -> None:
    """Refuse a path, or a line of several paths, that leaves the dataset's folder.

    Args:
        text: A line of a list file, or a path of one.
        source: The list file.
        line: The line's number, from 1.

    Raises:
        DataError: It does.
    """
    if escape := escape_of(text):
        raise DataError(
            f"list {shown(source)}:{line}: '{shown(Path(text))}' leaves the dataset: {escape}, expected a path below "
            f"{argument('root')}. Fix: write the path relative to {argument('root')}, or copy the file into that folder"
        )


def _readings(text: str) -> list[str]:
    """List a text as it is and as decoders and normalizers would change it."""
    readings = [text]
    if text.isascii() and "%" not in text:
        return readings
    for _ in range(3):  # percent codes of percent codes
        decoded = _PERCENT.sub(lambda code: chr(int(code[1], 16)), readings[-1])
        decoded = unicodedata.normalize("NFKC", decoded)
        decoded = "".join(letter for letter in decoded if unicodedata.category(letter) != "Cf")
        if decoded == readings[-1]:
            break
        readings.append(decoded)
    return readings
