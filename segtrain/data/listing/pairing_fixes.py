"""Find settings that pair images with label files whose names do not match: affixes, nested folders."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

from segtrain.data.images.files import IMAGE_SUFFIXES, LISTED_AS_LABELS, files_by_stem
from segtrain.data.listing.folders import BY_NAME, Listing, Naming, list_images, list_labels
from segtrain.data.listing.kinds import unread_of
from segtrain.data.listing.matching import match_labels
from segtrain.errors import DataError, argument
from segtrain.shell import setting

# Enough names to see how they are built; the proposal is tested on all.
_LOOKED_AT = 20


def explain_missing_labels(
    missing: Sequence[str], images: Listing, labels: Listing, naming: Naming, split: str
) -> tuple[str, str]:
    """Look for what would give images their label files.

    Args:
        missing: Names of images without label file.
        images: All images.
        labels: All label files.
        naming: How they were paired.
        split: For the key of a folder of labels.

    Returns:
        A description of what was found instead and a fix; each "" if there is nothing to report.
    """
    others, unread = unread_of("labels", missing, labels.folder)
    seen = "" if unread is None else f"{unread.seen}; expected {unread.expected}"
    if unread is not None and len(others) == len(missing):
        return seen, unread.fix
    wanted = {images.files[name] for name in missing}
    if fix := fix_naming(wanted, images.folder, labels.folder, naming):
        return "", fix
    return (seen, unread.fix) if unread is not None else ("", "")


def fix_naming(
    wanted: Collection[Path], images: Path, labels: Path, naming: Naming, listed: Collection[str] = ()
) -> str:
    """The keys that pair all of some images with label files; "" where none do.

    Args:
        wanted: The images; all that are found where empty.
        images: Their folder.
        labels: The folder of label files.
        naming: How they are paired now.
        listed: Names of images in a list; each must be found.
    """
    others = () if naming == BY_NAME else chain([BY_NAME], _candidates(images, labels, BY_NAME))
    for candidate in chain(_candidates(images, labels, naming), others):  # each lists the folders again
        try:
            image_files, label_files = list_images(images, candidate), list_labels(labels, candidate)
        except DataError:
            continue
        names = [name for name, path in image_files.files.items() if not wanted or path in wanted]
        if listed:
            names = [name for each in listed if (name := image_files.find(each, images))]
        if len(names) < max(1, len(wanted), len(listed)):
            continue
        if len(match_labels(names, image_files, label_files, warn=False)) == len(names):
            return naming_settings(naming, candidate)
    return ""


def naming_settings(old: Naming, new: Naming) -> str:
    """The overrides that change how names pair."""
    values = zip(Naming._fields, old, new, strict=True)
    return " ".join(setting(argument(key), after) for key, before, after in values if before != after)


def fix_two_files(first: Path, second: Path, what: str, share_folder: bool) -> str:
    """A fix for two files of one name in a folder.

    Args:
        first: One of them.
        second: The other.
        what: "image" or "label": whose folder it is.
        share_folder: Whether images and label files are in the same folder.
    """
    # Of a JPEG and a PNG the JPEG is the image: labels are never JPEGs.
    suffixes = sorted((first.suffix, second.suffix), key=lambda suffix: suffix.lower() in LISTED_AS_LABELS - {".jpg"})
    image, label = suffixes
    if share_folder:
        return f"{setting(argument('image_suffix'), image)} {setting(argument('label_suffix'), label)}"
    return setting(argument(f"{what}_suffix"), image if what == "image" else label)


def _candidates(images: Path, labels: Path, naming: Naming) -> Iterator[Naming]:
    for recursive in dict.fromkeys((naming.recursive, True)):
        now = naming._replace(recursive=recursive)
        if now != naming:
            yield now
        image_names = _bases(images, IMAGE_SUFFIXES, recursive)
        label_names = _bases(labels, LISTED_AS_LABELS, recursive)
        if not (naming.label_prefix or naming.label_suffix):
            for before, behind in _around(_trimmed(image_names, naming), label_names):
                yield now._replace(label_prefix=before, label_suffix=_with_kind(before, behind, label_names))
        if not any(naming[:4]):
            yield from _on_both_sides(image_names, label_names, now)


def _around(images: Sequence[str], labels: dict[str, str]) -> list[tuple[str, str]]:
    """Prefixes and suffixes around image names in label file names, the most frequent first."""
    counts = Counter(
        (label[: label.index(base)], label[label.index(base) + len(base) :])
        for base in images[:: max(1, len(images) // _LOOKED_AT)]
        for label in labels
        if base in label and label != base
    )
    return [affixes for affixes, _ in counts.most_common(5)]


def _on_both_sides(images: dict[str, str], labels: dict[str, str], naming: Naming) -> Iterator[Naming]:
    """Affixes of images and of label files: a_rgb.jpg and a_mask.png."""
    if len(images) < 2 or len(labels) < 2:
        return
    before, behind = _common(images)
    label_before, label_behind = _common(labels)
    for ends in ((before, behind, label_before, label_behind), ("", behind, "", label_behind)):
        yield naming._replace(
            image_prefix=ends[0],
            image_suffix=_with_kind(ends[0], ends[1], images) if ends[1] else "",
            label_prefix=ends[2],
            label_suffix=_with_kind(ends[2], ends[3], labels) if ends[3] else "",
        )


def _common(names: Collection[str]) -> tuple[str, str]:
    """Common prefix and suffix of all names, cut at a word boundary: a number stays in one piece."""
    before = os.path.commonprefix(list(names))
    behind = os.path.commonprefix([name[::-1] for name in names])[::-1]
    while before and before[-1].isalnum():
        before = before[:-1]
    while behind and behind[0].isalnum():
        behind = behind[1:]
    return before, behind


def _with_kind(before: str, behind: str, names: dict[str, str]) -> str:
    """A suffix with the kind of its files, "_mask.png", where they have one."""
    kinds = {kind for name, kind in names.items() if name.startswith(before) and name.endswith(behind)}
    return behind + kinds.pop() if behind and len(kinds) == 1 else behind


def _trimmed(names: Collection[str], naming: Naming) -> list[str]:
    tail = naming.image_suffix.rpartition(".")[0] if "." in naming.image_suffix else naming.image_suffix
    return [name.removeprefix(naming.image_prefix).removesuffix(tail) for name in names]


def _bases(folder: Path, kinds: frozenset[str], recursive: bool) -> dict[str, str]:
    """The kinds of files by their names without kind and folder."""
    try:
        files = files_by_stem(folder, kinds, recursive=recursive).values()
    except DataError:  # two files of one name
        return {}
    return {path.stem: path.suffix for path in files}
