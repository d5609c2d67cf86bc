"""Names of images to label files: equal names, else the one name that differs in spelling or in its folder alone."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from segtrain.data.listing.folders import Listing
from segtrain.data.listing.spelling import respelled, warn_of_respelled


def match_labels(names: Iterable[str], images: Listing, labels: Listing, *, warn: bool = True) -> dict[str, Path]:
    """Find the label file of each image.

    A name without a label file of its own takes the one whose name differs only in upper and lower case or Unicode
    normalization, with a warning. Where `recursive` is set and one of the two folders holds no folders, the names of
    files alone must fit, each occurring once.

    Args:
        names: Of images.
        images: All images.
        labels: All label files.
        warn: Whether to log names whose spellings differ.

    Returns:
        The label file by name; names that have none are left out.
    """
    names = list(names)
    found = {name: labels.files[name] for name in names if name in labels.files}
    missing = [name for name in names if name not in found]
    if not missing:
        return found
    nested = _match_across_folders(images, labels) if labels.recursive else {}
    found |= {name: labels.files[nested[name]] for name in missing if name in nested}
    missing = [name for name in missing if name not in found]
    if missing:
        taken = [name for name in images.files if name in labels.files]
        unpaired = [name for name in images.files if name not in labels.files]
        near = respelled(unpaired, labels.files, taken)
        found |= {name: labels.files[near[name]] for name in missing if name in near}
        if warn:
            pairs = [(images.files[name].name, found[name].name) for name in missing if name in near]
            warn_of_respelled(pairs, str(images.folder))
    return found


def _match_across_folders(images: Listing, labels: Listing) -> Mapping[str, str]:
    """Pair by the names of files alone, where one side has no folders and no name occurs twice."""
    if not _is_flat(images.files) and not _is_flat(labels.files):
        return {}
    by_base = _by_base(labels.files)
    return {name: by_base[base] for base, name in _by_base(images.files).items() if base in by_base}


def _is_flat(names: Collection[str]) -> bool:
    return not any("/" in name for name in names)


def _by_base(names: Collection[str]) -> dict[str, str]:
    counts = Counter(map(os.path.basename, names))
    return {base: name for name in names if counts[base := os.path.basename(name)] == 1}
