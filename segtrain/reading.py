"""Read untrusted files safely: regular files only, of limited size, with limits for YAML and JSON parsers.

A pipe would block, a device may be endless, and 20 kB of YAML or JSON can use gigabytes or overflow Python's stack.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_TEXT_BYTES = 16 << 20  # bytes of a JSON file: up to 300 MB of memory when parsed
MAX_YAML_BYTES = 256 << 10
_MAX_NODES, _MAX_DEPTH = 20_000, 100


class NotRegular(OSError):
    """The path is a folder, pipe, socket or device instead of a file."""


class TooLarge(OSError):
    """The file is larger than allowed."""


def read_regular(path: Path, most: int | None = None, beginning: int | None = None) -> bytes:
    """Read a regular file or its first bytes; reject pipes and devices without blocking on them.

    Args:
        path: Path of the file; symbolic links are followed.
        most: Maximum size in bytes; None for no limit.
        beginning: Number of bytes to read; None for the complete file.

    Raises:
        NotRegular: The path is not a regular file.
        TooLarge: The file is larger than `most`.
        OSError: The file cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(errno.EINVAL, f"{_kind(status.st_mode)}, expected a file", str(path))
        if most is not None and status.st_size > most:
            raise TooLarge(errno.EFBIG, f"{status.st_size} bytes, expected at most {most}", str(path))
        length = status.st_size if beginning is None else min(beginning, status.st_size)
        data = os.read(file, length)
        while len(data) < length and (more := os.read(file, length - len(data))):
            data += more
        return data
    finally:
        os.close(file)


def require_regular(path: Path) -> int:
    """Return the size of a regular file; check before passing its path to a library.

    Raises:
        NotRegular: The path is not a regular file.
        OSError: The file does not exist.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(errno.EINVAL, f"{_kind(status.st_mode)}, expected a file", str(path))
    return status.st_size


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """Read a text file in UTF-8.

    Raises:
        OSError: See `read_regular`.
        ValueError: The file is not UTF-8.
    """
    return read_regular(path, most).decode()


def load_json(path: Path, most: int = MAX_TEXT_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        OSError: See `read_regular`.
        ValueError: The text is not JSON, or is nested too deeply.
    """
    return parse_json(read_regular(path, most))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deeply for Python's parser") from None


def read_yaml_text(path: Path) -> str:
    """Read the text of a YAML file that is safe to parse.

    Raises:
        OSError: See `read_regular`.
        ValueError: The file is not UTF-8, nested too deeply, or too large with expanded aliases.
        yaml.YAMLError: The file is not YAML.
    """
    text = read_text(path, MAX_YAML_BYTES)
    require_bounded_yaml(text)
    return text


def require_bounded_yaml(text: str) -> None:
    """Reject YAML that is nested too deeply or has too many values with expanded aliases ("billion laughs").

    Raises:
        ValueError: The text exceeds a limit.
        yaml.YAMLError: The text is not YAML.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"{len(text)} characters, expected at most {MAX_YAML_BYTES}")
    import yaml  # type: ignore[import-untyped]

    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    nodes = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:  # the anchor of an open node, or unknown
                raise ValueError(f"line {event.start_mark.line + 1}: *{event.anchor} is part of itself, or unknown")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(open_nodes) > _MAX_DEPTH:
            raise ValueError(f"line {event.start_mark.line + 1}: nested more than {_MAX_DEPTH} levels deep")
        if nodes > _MAX_NODES:
            raise ValueError(f"line {event.start_mark.line + 1}: more than {_MAX_NODES} values, aliases expanded")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
