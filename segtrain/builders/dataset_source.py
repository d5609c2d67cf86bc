"""Where a dataset comes from and what its root must hold, for errors about a root that is not given or not there."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from segtrain.download.sources import SOURCES, Source
from segtrain.errors import SegtrainError
from segtrain.shell import command, override, setting

_NOT_GIVEN = re.compile(
    r"(dataset(?:\.datasets\.(\w+))?\.root) is not given(?:[^.]*)\. Fix: \+?dataset[\w.]*root=\.\.\."
)
_NOT_THERE = re.compile(r"(dataset(?:\.datasets\.(\w+))?\.root)=.* Fix: dataset[\w.]*root=/path/to/dataset$")
_ROOT = "data"


def with_source(error: SegtrainError, dataset: Mapping[str, Any], option: str | None) -> SegtrainError:
    """Add to an error about a dataset's root where the dataset comes from, and the command that fetches it.

    Args:
        error: Any error of a command.
        dataset: The config's node.
        option: The option of the group `dataset` that was chosen, if one was.

    Returns:
        The error, unchanged where it is about something else.
    """
    text = str(error)

    def not_given(match: re.Match[str]) -> str:
        key, name = match[1], match[2] or option or ""
        holds, source, fix = _described(key, name, dataset["datasets"][match[2]] if match[2] else dataset)
        return f"{key} is not given{holds}{source}. Fix: {fix}"

    if (now := _NOT_GIVEN.sub(not_given, text)) != text:
        return type(error)(now)
    match = _NOT_THERE.search(text)
    if match and (name := match[2] or option) in SOURCES:
        _, source, fix = _described(match[1], name, {})
        return type(error)(f"{text.rpartition('. Fix: ')[0]}{source}. Fix: {fix}")
    return error


def _described(key: str, name: str, node: Mapping[str, Any]) -> tuple[str, str, str]:
    """Describe what a root must hold, where it comes from, and the fix."""
    source = SOURCES.get(name)
    if source is None:
        parts = ("train_images", "train_labels", "val_images", "val_labels", "train_list", "val_list")
        holds = ", ".join(str(node[part]) for part in parts if node.get(part))
        return f", expected the folder that holds {holds}" if holds else "", "", f"{key}=/path/to/dataset"
    holds = f", expected the folder that holds {', '.join(source.gives)}"
    about = f": {source.title}, {_size(source)}{source.license}, from {source.home}"
    if source.login:
        about += f" ({source.login})"
    return holds, about, f"{_fetch(name, source)}, then {setting(key, PurePosixPath(_ROOT, source.folder))}"


def _fetch(name: str, source: Source) -> str:
    words: list[object] = ["segtrain", "download", name]
    if source.login:
        words.append(override("archive", [archive.file for archive in source.archives]))
    return command(*words)


def _size(source: Source) -> str:
    size = f"{source.size / 1e9:.1f} GB" if source.size else source.about or ""
    return f"{size}, " if size else ""
