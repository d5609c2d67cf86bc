"""Text that others wrote, on its way to a terminal, a log or a page: control characters become escapes.

Names of files and classes, YAML and messages of libraries may hold escape sequences that rewrite what is on the screen,
marks that turn the direction of writing, and line ends that look like a message of segtrain's own.
"""

import logging
import re
import unicodedata

# Lines that a message continues with are indented; others come from a name or a value.
_LINE = re.compile(r"\n(?=  )")
# Marks and overrides of the direction of writing; joiners within words of some languages are no controls.
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object) -> str:
    r"""Write a text on one line, with escapes for all that a terminal does not show as it is.

    Example:
        >>> printable("a\x1b[2Jb\u202e\n")
        'a\\x1b[2Jb\\u202e\\n'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def printable_lines(text: object) -> str:
    """Write a message whose further lines are indented; any other line end is escaped, too."""
    return "\n".join(map(printable, _LINE.split(str(text))))


def controls(text: str) -> str:
    """Return the control characters of a name, escaped: those that no name needs."""
    found = [letter for letter in text if letter in _BIDI or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    return printable("".join(dict.fromkeys(found)))


class _PrintableRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  logging's name
        message = super().getMessage()
        return printable_lines(message) if self.name.startswith("segtrain") else message


def print_logs_escaped() -> None:
    """Escape control characters in every message that segtrain logs, whatever handler writes it."""
    logging.setLogRecordFactory(_PrintableRecord)
