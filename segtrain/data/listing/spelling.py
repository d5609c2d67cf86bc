"""Names that differ from files only in upper and lower case or in Unicode normalization.

Windows and macOS take such names for one, Linux does not: archives packed there hold `IMG_1.JPG` for `img_1.png`, and
accents as one character (NFC) or as two (NFD).
"""

import logging
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from segtrain.data.images.contents import shown

logger = logging.getLogger(__name__)


def folded(name: str) -> str:
    """Return the common form of all spellings of a name: NFC, case-folded.

    Example:
        >>> folded("IMG_1") == folded("img_1"), folded("cafe\u0301") == folded("caf\u00e9")
        (True, True)
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def respelled(missing: Iterable[str], known: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Find the one other spelling of each missing name.

    Args:
        missing: Names without a file of exactly this spelling.
        known: Names with a file.
        taken: Those of `known` that another name is already paired with.

    Returns:
        By missing name, the known one. A name is left out where two missing or two known names differ only in spelling.
    """
    wanted = _by_folded(missing)
    free = _by_folded({*known} - {*taken}) if wanted else {}
    return {names[0]: free[key][0] for key, names in wanted.items() if len(names) == 1 and len(free.get(key, ())) == 1}


def respelled_path(root: Path, relative: str, seen: dict[Path, Mapping[str, list[str]]]) -> Path | None:
    """Find the one file below a folder whose path differs only in spelling.

    Args:
        root: The folder.
        relative: A path from it.
        seen: Cache of folder contents, kept between calls: a folder is read once for all lines of a list.

    Returns:
        The file; None if none or several match.
    """
    path = root
    for part in Path(relative).parts:
        if not os.path.lexists(path / part):
            if path not in seen:
                seen[path] = _by_folded(os.listdir(path) if path.is_dir() else ())
            near = seen[path].get(folded(part), ())
            if len(near) != 1:
                return None
            part = near[0]
        path /= part
    return path if path.is_file() else None


def warn_of_respelled(pairs: Sequence[tuple[str, str]], where: str) -> None:
    """Log one line about names that were paired though their spellings differ.

    Args:
        pairs: Each name as written, and as the file has it.
        where: The list file, or the folder of the files.
    """
    if pairs:
        written, found = (shown(Path(each)) for each in pairs[0])
        logger.warning(
            "%d names in %s differ from their files in upper and lower case or Unicode normalization, and were paired: "
            "%s with %s%s",
            *(len(pairs), where, _spelled(written, found), _spelled(found, written)),
            ", ..." if len(pairs) > 1 else "",
        )


def _spelled(name: str, other: str) -> str:
    """A name, escaped where it would look like the other."""
    looks_alike = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
    return ascii(name)[1:-1] if looks_alike else name


def _by_folded(names: Iterable[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(folded(name), []).append(name)
    return found
