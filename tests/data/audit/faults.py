"""A corpus of small datasets with one planted fault each, and what `segtrain check` must say of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import toys
from segtrain.data import Cihp, Dataset, Folder
from segtrain.data.audit.finding import Finding
from segtrain.data.audit.findings import find_all
from segtrain.data.audit.gather import gather, list_samples
from segtrain.data.audit.record import examine

CROP = (32, 32)


class Fault(NamedTuple):
    """A dataset with a fault.

    Attributes:
        name: Of the function that plants it.
        plant: Draws the dataset into a folder.
        kind: Of the finding that must tell it.
        seen: Text that the finding must hold: the file's name, or what was seen.
        also: Kinds that follow from the same fault and may be told too.
        crop_size: Of the training that it is checked for, as is the next.
        batch_size: Images in one step.
    """

    name: str
    plant: Callable[[Path], Dataset]
    kind: str
    seen: str
    also: tuple[str, ...]
    crop_size: tuple[int, int]
    batch_size: int

    def __str__(self) -> str:
        return self.name


class Corpus:
    """Faults, in the order of their planting."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def plants(
        self,
        kind: str,
        seen: str,
        *,
        also: tuple[str, ...] = (),
        crop_size: tuple[int, int] = CROP,
        batch_size: int = 2,
    ) -> Callable[[Callable[[Path], Dataset]], Callable[[Path], Dataset]]:
        """Enter a function that plants a fault."""

        def enter(plant: Callable[[Path], Dataset]) -> Callable[[Path], Dataset]:
            self.faults.append(Fault(plant.__name__, plant, kind, seen, also, crop_size, batch_size))
            return plant

        return enter


def findings_of(dataset: Dataset, crop_size: tuple[int, int] = CROP, batch_size: int = 2) -> list[Finding]:
    """What `segtrain check` finds in a dataset."""
    samples, unlisted = list_samples(dataset, dataset.splits)
    records = {split: [examine(dataset, sample) for sample in each] for split, each in samples.items()}
    return find_all(gather(dataset, samples, unlisted, records, crop_size=crop_size, batch_size=batch_size))


def assert_told(fault: Fault, folder: Path) -> None:
    """The fault is told under its own kind, by name and with a fix, and nothing that is not there is told."""
    findings = findings_of(fault.plant(folder), fault.crop_size, fault.batch_size)
    told = [finding for finding in findings if finding.kind == fault.kind]
    assert told, [(finding.kind, finding.summary) for finding in findings]
    text = " ".join([told[0].summary, *(" ".join([case.file, *case.also, case.detail]) for case in told[0].cases)])
    assert fault.seen in text
    assert told[0].fix
    others = {finding.kind for finding in findings if finding.severity != "note"} - {fault.kind, *fault.also}
    assert sorted(others) == []


def street(folder: Path, **options: Any) -> tuple[Path, Folder]:
    """Draw a street scene of five classes; return its root and dataset."""
    root = toys.draw_folder(folder)
    positions = {"train_images": "train", "train_labels": "trainannot", "val_images": "val", "val_labels": "valannot"}
    arguments = {"classes": toys.FOLDER_CLASSES, "ignore_class": toys.FOLDER_IGNORE}
    return root, Folder(str(root), **{**positions, **arguments, **options})


def masks(folder: Path, **options: Any) -> tuple[Path, Folder]:
    """Draw black-and-white masks; return their root and dataset."""
    root = toys.draw_binary(folder)
    return root, Folder(str(root), **{**toys.BINARY, **options})


def people(folder: Path, **options: int) -> tuple[Path, Cihp]:
    """Draw people in parts; return their root and dataset."""
    root = toys.draw_cihp(folder, **options)
    return root, Cihp(str(root))


def ids_of(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    Image.fromarray(pixels).save(path, **options)


def recolour(folder: Path, change: Callable[[np.ndarray], np.ndarray], names: str = "*") -> None:
    """Change the stored values of label files."""
    for path in sorted(folder.glob(f"{names}.png")):
        save(path, change(ids_of(path)))


def scenery(seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Draw an image of soft shapes, (H, W, 3) uint8: what survives a lower quality or size, as real ones do."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.array(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def enlarge(root: Path, name: str) -> None:
    """Resize an image of `street` and its labels by the same interpolation, as if ids were brightnesses."""
    for kind in ("train", "trainannot"):
        path = root / kind / f"{name}.png"
        Image.open(path).resize((96, 72), Image.Resampling.BILINEAR).save(path)
