"""List files as lines of text: encodings, line ends and comments, before anything is looked up on the disk."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segtrain.data.images.contents import shown
from segtrain.data.listing.list_entry import require_inside
from segtrain.errors import DataError
from segtrain.reading import NotRegular, TooLarge, read_regular
from segtrain.shell import command, quote

# A list of ten million names of 25 letters.
MAX_LIST_BYTES = 256 * 2**20

# UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Not str.splitlines: names may hold its rarer line ends, such as U+2028.
# Of a message of one line.
_LONGEST_SCRIPT = 200
_LINE_END = re.compile(r"\r\n|\n|\r")


class Line(NamedTuple):
    """One line of a list file.

    Attributes:
        number: Its number in the file, from 1.
        text: The line without blanks at its ends; never empty.
    """

    number: int
    text: str


def read_lines(path: Path) -> list[Line]:
    """Read the lines of a list file that are not empty.

    UTF-8, and UTF-16 and UTF-32 with a byte-order mark, are read, with line ends of any system. Text of another
    encoding is refused: a wrong guess would name other files.

    Args:
        path: The list file.

    Raises:
        DataError: The file is missing, is not a file, is too long, or is not text of these encodings.
    """
    try:
        if not path.is_file():
            raise DataError(
                f"cannot read the list {shown(path)}: {'not a file' if path.exists() else 'no such file'}, expected a "
                f"text file with one name a line. Fix: name another list"
            )
        data = read_regular(path, MAX_LIST_BYTES)
    except (NotRegular, TooLarge) as error:
        raise DataError(f"cannot read the list {shown(path)}: {error.strerror}. Fix: name another list") from error
    except OSError as error:
        raise DataError(
            f"cannot read the list {shown(path)}: {error.strerror}. Fix: {command('chmod', 'u+r', path)}"
        ) from error
    lines = _LINE_END.split(_decode(data, path))
    return [Line(number, text) for number, line in enumerate(lines, 1) if (text := line.strip())]


def read_names(path: Path) -> list[str]:
    """Read a list file of one name a line; see `read_lines`.

    Raises:
        DataError: The file cannot be read, lists a name twice, or a name leaves its folder.
    """
    seen: dict[str, int] = {}
    for line in read_lines(path):
        if line.text in seen:
            raise list_problem(path, line, f"listed twice, first in line {seen[line.text]}", drop_lines([line], path))
        require_inside(line.text, path, line.number)
        seen[line.text] = line.number
    return list(seen)


def list_problem(source: Path, line: Line, problem: str, fix: str) -> DataError:
    """Error about one line of a list: file, line number, text, problem and fix."""
    return DataError(f"list {shown(source)}:{line.number}: '{shown(Path(line.text))}': {problem}. Fix: {fix}")


def drop_lines(lines: Sequence[Line], path: Path) -> str:
    """A command that removes lines from a list file and keeps the old file as `.bak`."""
    runs: list[list[int]] = []
    for number in sorted({line.number for line in lines}):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    script = ";".join(f"{first}d" if first == last else f"{first},{last}d" for first, last in runs)
    if len(script) > _LONGEST_SCRIPT:
        return "restore the files, or write the list again without their names"
    return command("sed", "-i.bak", script, path)


def _decode(data: bytes, path: Path) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise _not_text(path, f"a byte-order mark of {encoding.upper()} before other bytes", "") from error
    if b"\0" in data:
        # ASCII letters of UTF-16 have their zero byte second in little-endian files, first in others.
        encoding = "UTF-16LE" if data[1:2] == b"\0" else "UTF-16BE"
        raise _not_text(path, "bytes of zero, as in UTF-16 without a byte-order mark", encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        seen = f"byte 0x{data[error.start]:02x} in line {line}, as in the encodings of Windows and Latin-1"
        raise _not_text(path, seen, "WINDOWS-1252") from error


def _not_text(path: Path, seen: str, encoding: str) -> DataError:
    old, new = (quote(str(each)) for each in (path, path.with_name(f"{path.name}.utf8")))
    fix = f"iconv -f {encoding} -t UTF-8 {old} > {new} && mv {new} {old}" if encoding else "save the list as UTF-8"
    return DataError(f"cannot read the list {shown(path)}: {seen}, expected UTF-8. Fix: {fix}")
