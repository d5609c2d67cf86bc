"""Find files in a dataset's folders that belong to no sample: labels without image, unlisted images."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from segtrain.data.images.files import IMAGE_SUFFIXES, LABEL_SUFFIXES
from segtrain.data.images.sample import Sample
from segtrain.data.listing.kinds import unread_images


class Strays(NamedTuple):
    """Paths, sorted.

    Attributes:
        labels: Label files without an image.
        unused: Images that no split uses.
        unread: Files among the images of kinds that are not read.
    """

    labels: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def find_strays(samples: Iterable[Sample]) -> Strays:
    """Look into the folders of the samples for files that no sample uses.

    Only folders where each label file has the name of its image are searched: others hold files of several
    kinds, whose names only the dataset can distinguish.
    """
    used: set[str] = set()
    by_folder: dict[Path, dict[str, Path]] = defaultdict(dict)
    folders: dict[tuple[Path, Path], bool] = defaultdict(lambda: True)
    for sample in samples:
        used |= {str(sample.image), str(sample.labels)}
        by_folder[sample.image.parent][sample.image.stem] = sample.image
        folders[sample.image.parent, sample.labels.parent] &= sample.image.stem == sample.labels.stem
    # A folder of images may serve several folders of labels, and the other way round.
    image_folders: dict[Path, set[Path]] = defaultdict(set)
    for images, labels in (pair for pair, plain in folders.items() if plain and pair[0] != pair[1]):
        image_folders[labels].add(images)
    every_folder = set().union(*image_folders.values())
    image_files = {folder: _files(folder, IMAGE_SUFFIXES) for folder in every_folder}
    stems = {folder: {path.stem for path in files} for folder, files in image_files.items()}
    orphans = {
        str(path)
        for labels, folders_of_images in image_folders.items()
        for path in _files(labels, LABEL_SUFFIXES)
        if not any(path.stem in stems[folder] for folder in folders_of_images)
    }
    unused = {str(path) for files in image_files.values() for path in files}
    unread = {str(path) for folder, known in by_folder.items() for path in unread_images(folder, known)}
    return Strays(tuple(sorted(orphans - used)), tuple(sorted(unused - used)), tuple(sorted(unread - used)))


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")]
    return [folder / name for name in names if os.path.splitext(name)[1].lower() in suffixes]
