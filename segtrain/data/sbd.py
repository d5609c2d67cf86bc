"""SBD's labels of VOC's photographs, from `.mat` to palette PNGs, once: training never opens a `.mat` file.

Hariharan et al. 2011 labelled 11,355 photographs of VOC 2012. With VOC's own labels for its 1,464 training photographs,
SBD's for all others and none of VOC's 1,449 validation photographs, 10,582 are left to train on: the list that
publications call train_aug.
"""

import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from segtrain.data.colormap import voc_colormap
from segtrain.data.files import read_names, read_size
from segtrain.data.matfile import read_mats
from segtrain.data.pairing import refuse_missing
from segtrain.errors import DataError, ResourceError

LABELS = "SegmentationClassAug"
LIST = "train_aug.txt"
# One line a file: its name and the SHA-256 of what was written. What it does not vouch for is made again.
RECORD = "prepared.jsonl"
# A child takes as long to start as some fifty files to read.
FILES_A_CHILD = 500


class TrainAug(NamedTuple):
    """What the labels of train_aug and of VOC's validation are made from, by name.

    Attributes:
        names: To train on, sorted; none of `val`.
        val: VOC's validation list.
        mats: SBD's `.mat` files, for what VOC has no labels of.
        pngs: VOC's own label files, of its training and validation lists.
        images: VOC's photographs, which tell the size.
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
        DataError: A folder is another's, or a photograph or label file that a list names is missing.
    """
    sbd = sbd / "dataset" if (sbd / "dataset").is_dir() else sbd
    _require("sbd", sbd, ("cls", "train.txt", "val.txt"), "/data/benchmark_RELEASE")
    lists = voc / "ImageSets" / "Segmentation"
    _require("voc", voc, ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"), "/data/VOCdevkit/VOC2012")
    train, val = (read_names(lists / f"{split}.txt") for split in ("train", "val"))
    from_sbd = {name for split in ("train", "val") for name in read_names(sbd / f"{split}.txt")}
    names = sorted((from_sbd | {*train}) - {*val})
    labelled_by_voc = {*train, *val}
    plan = TrainAug(
        names,
        val,
        {name: sbd / "cls" / f"{name}.mat" for name in names if name not in labelled_by_voc},
        {name: voc / "SegmentationClass" / f"{name}.png" for name in sorted(labelled_by_voc)},
        {name: voc / "JPEGImages" / f"{name}.jpg" for name in sorted({*names, *val})},
    )
    for files, what, folder in (
        (plan.images, "photograph", voc / "JPEGImages"),
        (plan.pngs, "label file", voc / "SegmentationClass"),
        (plan.mats, ".mat file", sbd / "cls"),
    ):
        refuse_missing([name for name, path in files.items() if not path.is_file()], what, folder)
    return plan


def write_train_aug(plan: TrainAug, output: Path, *, workers: int = 2, progress: bool = True) -> int:
    """Write the label files, then the list, into a folder of their own; go on where an earlier call was stopped.

    Files appear whole or not at all. Those of an earlier call are kept where they still hold what it wrote.

    Args:
        plan: From `plan_train_aug`.
        output: Gets `SegmentationClassAug/NAME.png`, `train_aug.txt` and a record of what is done.
        workers: How many files are converted at a time.
        progress: Whether to show a bar.

    Returns:
        How many files were there already.

    Raises:
        DataError: A `.mat` file is damaged, holds no VOC classes, or is not of its photograph's size.
        ResourceError: The folder cannot be written.
    """
    folder = output / LABELS
    stop = threading.Event()
    with _Record(output) as record:
        done = record.verified(folder, workers)
        mats = {name: path for name, path in plan.mats.items() if name not in done}
        pngs = {name: path for name, path in plan.pngs.items() if name not in done}
        total = len(plan.mats) + len(plan.pngs)
        kept = total - len(mats) - len(pngs)
        with (
            ThreadPoolExecutor(workers) as pool,
            tqdm(
                total=total, initial=total - len(mats) - len(pngs), desc="SBD", unit="file", disable=not progress
            ) as bar,
        ):

            def write(files: Iterator[tuple[str, bytes]]) -> None:
                for name, data in files:
                    if stop.is_set():
                        return
                    _write_whole(folder / f"{name}.png", data)
                    record.add(name, data)
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
    _write_whole(output / LIST, "".join(f"{name}\n" for name in plan.names).encode())
    return kept


def _voc_files(part: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    for name, path in part.items():
        yield name, path.read_bytes()


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
    picture = Image.fromarray(labels)
    picture.putpalette(voc_colormap(256).tobytes())
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


class _Record:
    """What has been written into a folder, one line a file, so that the next call need not write it again."""

    def __init__(self, output: Path) -> None:
        self._path = output / RECORD
        self._lock = threading.Lock()
        labels = output / LABELS
        if not self._path.is_file() and labels.is_dir() and any(labels.iterdir()):
            raise DataError(
                f"output={output}: {labels} was made by something else (there is no {RECORD}), expected a folder of "
                f"segtrain prepare's own. Fix: output=/data/voc_aug"
            )
        try:
            labels.mkdir(parents=True, exist_ok=True)
            for leftover in labels.glob(".*.part"):
                leftover.unlink(missing_ok=True)
            self._digests = _digests(self._path)
            # A line that a kill has cut short is closed, so that the next one is read.
            self._file = self._path.open("a")
            self._file.write("\n")
        except OSError as error:
            raise _unwritable(output, error) from error

    def __enter__(self) -> "_Record":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def verified(self, folder: Path, workers: int) -> set[str]:
        """The names whose files hold what was recorded."""
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(lambda name: _digest_of(folder / f"{name}.png"), self._digests)
            return {name for name, digest in zip(self._digests, found, strict=True) if digest == self._digests[name]}

    def add(self, name: str, data: bytes) -> None:
        """Vouch for a file that has been written."""
        with self._lock:
            self._file.write(json.dumps({"name": name, "sha256": hashlib.sha256(data).hexdigest()}) + "\n")
            self._file.flush()


def _digests(path: Path) -> dict[str, str]:
    digests = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            digests[str(entry["name"])] = str(entry["sha256"])
        except (ValueError, TypeError, KeyError):
            continue  # cut short by a kill: that file is made again
    return digests


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _parts(files: Mapping[str, Path], size: int) -> list[dict[str, Path]]:
    items = list(files.items())
    return [dict(items[start : start + size]) for start in range(0, len(items), max(1, size))]


def _write_whole(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{path}: {error.strerror}, expected a writable folder with room for about 60 MB. Fix: give another output=..."
    )


def _require(key: str, folder: Path, parts: Sequence[str], example: str) -> None:
    missing = [part for part in parts if not (folder / part).exists()]
    if missing:
        seen = "there is no such folder" if not folder.is_dir() else f"it has no {', '.join(missing)}"
        raise DataError(f"{key}={folder}: {seen}, expected {', '.join(parts)} in it. Fix: {key}={example}")
