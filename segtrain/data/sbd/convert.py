"""SBD's labels of VOC's images, from `.mat` to palette PNGs, once: training never opens a `.mat` file.

Hariharan et al. 2011 labeled 11,355 images of VOC 2012. With VOC's own labels for its 1,464 training images,
SBD's for all others and none of VOC's 1,449 validation images, 10,582 are left to train on: the list that
publications call train_aug.
"""

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from segtrain.data.datasets.colormap import voc_colormap
from segtrain.data.images.contents import read_bytes
from segtrain.data.images.files import read_size
from segtrain.data.images.matfile import read_mats
from segtrain.data.listing.list_file import read_names
from segtrain.data.listing.pairing import refuse_missing
from segtrain.data.sbd.record import Record
from segtrain.errors import DataError
from segtrain.storage import write_atomically

LABELS = "SegmentationClassAug"
LIST = "train_aug.txt"
# A child takes as long to start as some fifty files to read.
FILES_A_CHILD = 500


class TrainAug(NamedTuple):
    """Source files of the labels of train_aug and of VOC's validation split, by name.

    Attributes:
        names: To train on, sorted; none of `val`.
        val: VOC's validation list.
        mats: SBD's `.mat` files, for what VOC has no labels of.
        pngs: VOC's own label files, of its training and validation lists.
        images: VOC's images, which give the size.
    """

    names: list[str]
    val: list[str]
    mats: dict[str, Path]
    pngs: dict[str, Path]
    images: dict[str, Path]


def plan_train_aug(sbd: Path, voc: Path) -> TrainAug:
    """Derive train_aug: SBD's two lists and VOC's training list without VOC's validation list.

    Args:
        sbd: The folder `benchmark_RELEASE`, or `dataset` in it.
        voc: The folder `VOCdevkit/VOC2012`.

    Raises:
        DataError: A folder is another's, or an image or label file that a list names is missing.
    """
    sbd = sbd / "dataset" if (sbd / "dataset").is_dir() else sbd
    _require("sbd", sbd, ("cls", "train.txt", "val.txt"), "/data/benchmark_RELEASE")
    lists = voc / "ImageSets" / "Segmentation"
    _require("voc", voc, ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"), "/data/VOCdevkit/VOC2012")
    train, val = (read_names(lists / f"{split}.txt") for split in ("train", "val"))
    from_sbd = {name for split in ("train", "val") for name in read_names(sbd / f"{split}.txt")}
    names = sorted((from_sbd | {*train}) - {*val})
    labeled_by_voc = {*train, *val}
    plan = TrainAug(
        names,
        val,
        {name: sbd / "cls" / f"{name}.mat" for name in names if name not in labeled_by_voc},
        {name: voc / "SegmentationClass" / f"{name}.png" for name in sorted(labeled_by_voc)},
        {name: voc / "JPEGImages" / f"{name}.jpg" for name in sorted({*names, *val})},
    )
    for files, what, folder in (
        (plan.images, "image", voc / "JPEGImages"),
        (plan.pngs, "label file", voc / "SegmentationClass"),
        (plan.mats, ".mat file", sbd / "cls"),
    ):
        refuse_missing([name for name, path in files.items() if not path.is_file()], what, folder)
    return plan


def write_train_aug(plan: TrainAug, output: Path, *, workers: int = 2, progress: bool = True) -> int:
    """Write the label files, then the list, into a new folder; resume where an earlier call stopped.

    Files are written atomically. Those of an earlier call are kept where they still hold what it wrote.

    Args:
        plan: From `plan_train_aug`.
        output: Gets `SegmentationClassAug/NAME.png`, `train_aug.txt` and a record of what is done.
        workers: How many files are converted at a time.
        progress: Whether to show a bar.

    Returns:
        How many files were there already.

    Raises:
        DataError: A `.mat` file is damaged, holds no VOC classes, or is not of its image's size.
        ResourceError: The folder cannot be written.
    """
    stop = threading.Event()
    record = Record(output, LABELS)
    done = record.verified(workers)
    mats = {name: path for name, path in plan.mats.items() if f"{name}.png" not in done}
    pngs = {name: path for name, path in plan.pngs.items() if f"{name}.png" not in done}
    total = len(plan.mats) + len(plan.pngs)
    kept = total - len(mats) - len(pngs)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=total, initial=kept, desc="SBD", unit="file", disable=not progress) as bar,
    ):

        def write(files: Iterator[tuple[str, bytes]]) -> None:
            for name, data in files:
                if stop.is_set():
                    return
                record.write(f"{name}.png", data)
                bar.update()

        parts = [
            *(_voc_files(part) for part in _parts(pngs, FILES_A_CHILD)),
            *(_sbd_files(part, plan.images) for part in _parts(mats, min(FILES_A_CHILD, -(-len(mats) // workers)))),
        ]
        try:
            for _ in pool.map(write, parts):
                pass
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    write_atomically(output / LIST, "".join(f"{name}\n" for name in plan.names).encode())
    return kept


def _voc_files(part: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    for name, path in part.items():
        yield name, read_bytes(path)


def _sbd_files(part: Mapping[str, Path], images: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    arrays = read_mats(list(part.values()))
    for (name, path), labels in zip(part.items(), arrays, strict=True):
        yield name, _png(_checked(labels, path, images[name]))


def _checked(labels: np.ndarray, path: Path, image: Path) -> np.ndarray:
    """Hold an array of SBD to what VOC's label files are."""
    size = read_size(image, "ignore")
    if labels.shape != size:
        raise DataError(
            f"labels in {path}: {labels.shape} pixels, expected {size} (HxW) as {image} has. Fix: unpack SBD again"
        )
    strangers = np.setdiff1d(labels, [*range(21), 255])
    if strangers.size:
        raise DataError(
            f"labels in {path}: values {strangers[:5].tolist()}, expected VOC's 0..20 or 255. Fix: unpack SBD again"
        )
    return labels.astype(np.uint8)


def _png(labels: np.ndarray) -> bytes:
    """A palette PNG as VOC's own: the indices are the ids."""
    palette_image = Image.fromarray(labels)
    palette_image.putpalette(voc_colormap(256).tobytes())
    data = io.BytesIO()
    palette_image.save(data, "PNG")
    return data.getvalue()


def _parts(files: Mapping[str, Path], size: int) -> list[dict[str, Path]]:
    items = list(files.items())
    return [dict(items[start : start + size]) for start in range(0, len(items), max(1, size))]


def _require(key: str, folder: Path, parts: Sequence[str], example: str) -> None:
    missing = [part for part in parts if not (folder / part).exists()]
    if missing:
        seen = "no such folder" if not folder.is_dir() else f"it has no {', '.join(missing)}"
        raise DataError(f"{key}={folder}: {seen}, expected {', '.join(parts)} in it. Fix: {key}={example}")
