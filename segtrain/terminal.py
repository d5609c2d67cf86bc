"""Escape control characters in untrusted text before it is printed to a terminal, a log or an HTML page.

File names, class names, YAML and library messages may contain escape sequences that rewrite the screen, marks that
reverse the writing direction, and line breaks that imitate messages of segtrain.
"""

import logging
import re
import unicodedata

# Continuation lines of a message are indented; other line breaks come from a name or a value.
_LINE = re.compile(r"\n(?=  )")
# Direction marks and overrides. Zero-width joiners are not included: some languages need them within words.
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object) -> str:
    r"""Format a text on one line, with nonprintable characters escaped.

    Example:
        >>> printable("a\x1b[2Jb\u202e\n")
        'a\\x1b[2Jb\\u202e\\n'
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def printable_lines(text: object) -> str:
    """Escape a message but keep line breaks before indented lines; other line breaks are escaped."""
    return "\n".join(map(printable, _LINE.split(str(text))))


def controls(text: str) -> str:
    """Return the distinct control characters in a name, escaped."""
    found = [letter for letter in text if letter in _BIDI or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    return printable("".join(dict.fromkeys(found)))


class _PrintableRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  logging's name
        message = super().getMessage()
        return printable_lines(message) if self.name.startswith("segtrain") else message


def print_logs_escaped() -> None:
    """Escape control characters in every message that segtrain logs, whatever handler writes it."""
    logging.setLogRecordFactory(_PrintableRecord)
