"""How a YAML tells a dataset's classes: their names and colours, and what the values in label files stand for."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from segtrain.data.colormap import voc_colormap
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

ClassTable = Sequence[str] | Mapping[str, Sequence[int]]
LabelValues = Literal["ids", "from_one", "colors"] | Mapping[int, int | str]
IGNORE = "ignore"


class StoredLabels(NamedTuple):
    """How stored labels become class ids: the arguments of `Dataset` that say so."""

    label_values: dict[int, int] | None
    label_colors: dict[tuple[int, int, int], int] | None


def class_table(classes: ClassTable) -> tuple[list[str], np.ndarray]:
    """Sort a table of classes into names and colours.

    Args:
        classes: Names in the order of the ids, which then get VOC's colours, or [red, green, blue] by name.

    Returns:
        The names, and (K, 3) uint8 RGB.

    Raises:
        ConfigError: A name is no text or reserved, or a colour is none.
    """
    for name in classes:
        if not isinstance(name, str) or not name or name == IGNORE:
            fix = f'quote it, "{name}"' if isinstance(name, bool | int | float) else "give the class another name"
            raise ConfigError(f"dataset.classes: {name!r} is no name for a class, expected text. Fix: {fix}")
    if not isinstance(classes, Mapping):
        return list(classes), voc_colormap(len(classes))
    return list(classes), np.array([_color(color, f"dataset.classes.{name}") for name, color in classes.items()])


def class_id(given: int | str, names: Sequence[str], ignore_class: int, key: str) -> int:
    """Find the id that a YAML means by a class's name, its id, or the word `ignore`.

    Raises:
        ConfigError: There is no such class.
    """
    if given == IGNORE:
        return ignore_class
    if isinstance(given, str) and given in names:
        return list(names).index(given)
    if isinstance(given, int) and not isinstance(given, bool) and (0 <= given < len(names) or given == ignore_class):
        return given
    near = did_you_mean(str(given), [*names, IGNORE]) or f". Fix: a class's name or id (0..{len(names) - 1}), or ignore"
    raise ConfigError(f"{key}={given}: there is no such class{near}")


def stored_labels(
    label_values: LabelValues,
    names: Sequence[str],
    classes: ClassTable,
    ignore_class: int,
    ignore_colors: Sequence[Sequence[int]],
) -> StoredLabels:
    """Say how the values or colours in label files become class ids.

    Args:
        label_values: "ids": as they are. "from_one": 0 is void, 1 the first class, as in ADE20K. "colors": the files
            are pictures in the classes' colours. Else the class, by name or id, or `ignore`, of each stored value.
        names: Of the classes.
        classes: Their table, which has the colours for "colors".
        ignore_class: The id of void.
        ignore_colors: With "colors", those that are void.

    Raises:
        ConfigError: A value is no byte, a class unknown, a colour missing or given twice.
    """
    if ignore_colors and label_values != "colors":
        raise ConfigError(
            "dataset.ignore_colors: the label files hold no colours, expected dataset.label_values=colors. Fix: "
            "dataset.ignore_colors=[]"
        )
    if label_values == "ids":
        return StoredLabels(None, None)
    if label_values == "from_one":
        void = {0: ignore_class} | ({ignore_class: ignore_class} if ignore_class > len(names) else {})
        return StoredLabels(void | {index + 1: index for index in range(len(names))}, None)
    if label_values == "colors":
        return StoredLabels(None, _ids_of_colors(classes, ignore_class, ignore_colors))
    return StoredLabels(_ids_of_values(label_values, names, ignore_class), None)


def _ids_of_values(label_values: Any, names: Sequence[str], ignore_class: int) -> dict[int, int]:
    key = "dataset.label_values"
    if not isinstance(label_values, Mapping) or not label_values:
        raise ConfigError(f"{key}={label_values}: expected ids, from_one, colors, or a class for each stored value")
    for value in label_values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
            raise ConfigError(f"{key}: {value!r} is no stored value, expected 0..255. Fix: write it as a plain number")
    return {value: class_id(given, names, ignore_class, f"{key}.{value}") for value, given in label_values.items()}


def _ids_of_colors(
    classes: ClassTable, ignore_class: int, ignore_colors: Sequence[Sequence[int]]
) -> dict[tuple[int, int, int], int]:
    if not isinstance(classes, Mapping):
        raise ConfigError(
            "dataset.label_values=colors: dataset.classes has names only, expected a colour for each. Fix: "
            "dataset.classes={NAME: [RED, GREEN, BLUE], ...}"
        )
    ids: dict[tuple[int, int, int], int] = {}
    named = [(color, index, f"dataset.classes.{name}") for index, (name, color) in enumerate(classes.items())]
    for color, index, key in (*named, *((color, ignore_class, "dataset.ignore_colors") for color in ignore_colors)):
        found = _color(color, key)
        if found in ids:
            raise ConfigError(f"{key}={list(color)}: given twice, expected once. Fix: change one")
        ids[found] = index
    return ids


def _color(color: Any, key: str) -> tuple[int, int, int]:
    if (
        not isinstance(color, Sequence)
        or len(color) != 3
        or not all(isinstance(value, int) and 0 <= value <= 255 for value in color)
    ):
        raise ConfigError(f"{key}={color}: no colour, expected [red, green, blue], each 0..255")
    return (color[0], color[1], color[2])
