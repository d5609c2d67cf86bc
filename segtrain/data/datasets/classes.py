"""Parse a dataset's classes from its YAML: names, colors, and the meaning of values in label files."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from segtrain.data.datasets.colormap import voc_colormap
from segtrain.errors import ConfigError, argument
from segtrain.shell import setting
from segtrain.suggest import did_you_mean

ClassTable = Sequence[str] | Mapping[str, Sequence[int]]
LabelValues = Literal["ids", "from_one", "colors"] | Mapping[int, int | str]
IGNORE = "ignore"


class StoredLabels(NamedTuple):
    """Mapping from stored labels to class ids: two arguments of `Dataset`."""

    label_values: dict[int, int] | None
    label_colors: dict[tuple[int, int, int], int] | None


def class_table(classes: ClassTable) -> tuple[list[str], np.ndarray]:
    """Sort a table of classes into names and colors.

    Args:
        classes: Names in the order of the ids, which then get VOC's colors, or [red, green, blue] by name.

    Returns:
        The names, and (K, 3) uint8 RGB.

    Raises:
        ConfigError: A name is not text or is reserved, or a color is not valid.
    """
    for name in classes:
        if not isinstance(name, str) or not name or name == IGNORE:
            fix = f'quote it, "{name}"' if isinstance(name, bool | int | float) else "give the class another name"
            raise ConfigError(f"{argument('classes')}: {name!r} is not a class name, expected text. Fix: {fix}")
    names = list(classes)
    colors = voc_colormap(len(names))
    if isinstance(classes, Mapping):
        colors = np.array([_color(color, argument(f"classes.{name}")) for name, color in classes.items()])
    require_two_classes(names)
    return names, colors


def require_two_classes(names: Sequence[str]) -> None:
    """Refuse fewer than two classes, and one named twice: with one class, every pixel is right and every score is 1.

    Raises:
        ConfigError: There are fewer than two, or two names differ in nothing but blanks or their Unicode form.
    """
    plain = [unicodedata.normalize("NFC", name).strip() for name in names]
    if twice := [name for index, name in enumerate(plain) if name in plain[:index]]:
        raise ConfigError(
            f"{argument('classes')}: {twice[0]!r} is named twice, expected once. Fix: rename or remove one"
        )
    if len(names) < 2:
        two = [*names, "object"] if names == ["background"] else ["background", *(names or ["object"])]
        raise ConfigError(
            f"{argument('classes')}={list(names)}: {len(names)} {'class' if names else 'classes'}, expected at least "
            f"2: what is not {names[0] if names else 'labeled'} is a class, too. Fix: "
            f"{setting(argument('classes'), two)} for label files of the ids 0 and 1; with "
            f"{setting(argument('label_values'), {0: 0, 1: 1, 255: 1})} for masks of 0 and 255 (or 1)"
        )


def require_two_reached(
    names: Sequence[str], reached: Iterable[int], key: str, stored: Mapping[int, int] | None = None
) -> None:
    """Refuse that all but one class are ignored or have no stored value.

    Args:
        names: Of the classes.
        reached: The ids that some stored value stands for, the ignored one perhaps among them.
        key: That states what stored values mean.
        stored: Stored value to class id or the ignored one, where that is the key's content.

    Raises:
        ConfigError: Pixels can be of one class only, or of none.
    """
    found = sorted(index for index in set(reached) if index < len(names))
    if len(found) < 2:
        missing = [name for index, name in enumerate(names) if index not in found]
        spare = [value for value, index in (stored or {}).items() if index >= len(names)]
        fix = f"give {' and '.join(missing[:3])} a value in {key}"
        if stored and spare and len(missing) == 1:
            table = {value: names[index] if index < len(names) else IGNORE for value, index in stored.items()}
            fix = setting(key, {**table, spare[-1]: missing[0]})
        raise ConfigError(
            f"{key}: only {names[found[0]] if found else 'ignored pixels'} can occur, expected at least 2 classes. "
            f"Fix: {fix}"
        )


def class_id(given: int | str, names: Sequence[str], ignore_class: int, key: str) -> int:
    """Find the id that a YAML means by a class's name, its id, or the word `ignore`.

    Raises:
        ConfigError: `given` is not a class.
    """
    if given == IGNORE:
        return ignore_class
    if isinstance(given, str) and given in names:
        return list(names).index(given)
    if isinstance(given, int) and not isinstance(given, bool) and (0 <= given < len(names) or given == ignore_class):
        return given
    near = did_you_mean(str(given), [*names, IGNORE])
    expected = f", expected a class's name or id (0..{len(names) - 1}), or {IGNORE}"
    raise ConfigError(f"{key}={given}: unknown class{near or expected + _for_other_classes(key, names)}")


def _for_other_classes(key: str, names: Sequence[str]) -> str:
    """How to change a key that names the classes of a dataset along with `classes`."""
    if key.startswith(argument("label_values")):
        table = {value: name for value, name in enumerate(names[:3])}
        return (
            f". Fix: {setting(argument('label_values'), 'ids')} where label files hold 0..{len(names) - 1}, else a "
            f"table like {setting(argument('label_values'), table)}"
        )
    if "flip_pairs" in key:
        none = setting(argument("flip_pairs"), [])
        return f". Fix: correct the name, or {none} where no class has a left and a right"
    return ". Fix: correct the name"


def stored_labels(
    label_values: LabelValues,
    names: Sequence[str],
    classes: ClassTable,
    ignore_class: int,
    ignore_colors: Sequence[Sequence[int]],
) -> StoredLabels:
    """Map the values or colors in label files to class ids.

    Args:
        label_values: "ids": as they are. "from_one": 0 is ignored, 1 the first class, as in ADE20K. "colors": the files
            are drawn in the classes' colors. Else the class, by name or id, or `ignore`, of each stored value.
        names: Of the classes.
        classes: Their table, which has the colors for "colors".
        ignore_class: The id of ignored pixels.
        ignore_colors: With "colors", the colors to ignore.

    Raises:
        ConfigError: A value is not in 0-255, a class unknown, a color missing or given twice.
    """
    if ignore_colors and label_values != "colors":
        raise ConfigError(
            f"{argument('ignore_colors')}: the label files hold no colors, expected "
            f"{argument('label_values')}=colors. Fix: {argument('ignore_colors')}=[]"
        )
    if label_values == "ids":
        return StoredLabels(None, None)
    if label_values == "from_one":
        ignored = {0: ignore_class} | ({ignore_class: ignore_class} if ignore_class > len(names) else {})
        return StoredLabels(ignored | {index + 1: index for index in range(len(names))}, None)
    if label_values == "colors":
        return StoredLabels(None, _ids_of_colors(classes, ignore_class, ignore_colors))
    return StoredLabels(_ids_of_values(label_values, names, ignore_class), None)


def _ids_of_values(label_values: Any, names: Sequence[str], ignore_class: int) -> dict[int, int]:
    key = argument("label_values")
    if not isinstance(label_values, Mapping) or not label_values:
        raise ConfigError(f"{key}={label_values}: expected ids, from_one, colors, or a class for each stored value")
    for value in label_values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
            raise ConfigError(
                f"{key}: {value!r} is not a stored value, expected 0..255. Fix: write it as a plain number"
            )
    return {value: class_id(given, names, ignore_class, f"{key}.{value}") for value, given in label_values.items()}


def _ids_of_colors(
    classes: ClassTable, ignore_class: int, ignore_colors: Sequence[Sequence[int]]
) -> dict[tuple[int, int, int], int]:
    if not isinstance(classes, Mapping):
        raise ConfigError(
            f"{argument('label_values')}=colors: {argument('classes')} has names only, expected a color for each. "
            f"Fix: {argument('classes')}={{NAME: [RED, GREEN, BLUE], ...}}"
        )
    ids: dict[tuple[int, int, int], int] = {}
    named = [(color, index, argument(f"classes.{name}")) for index, (name, color) in enumerate(classes.items())]
    for color, index, key in (*named, *((color, ignore_class, argument("ignore_colors")) for color in ignore_colors)):
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
        raise ConfigError(f"{key}={color}: not a color, expected [red, green, blue], each 0..255")
    return (color[0], color[1], color[2])
