"""Draw a small human-parsing dataset in CIHP's own layout, so that the CIHP path runs without a download.

Every image is a pure function of (seed, split, index): image 7 is the same whether 10 or 10 000 are drawn.
"""

import json
import logging
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from segtrain.data.datasets.cihp import CLASS_NAMES, COLORS, SWAP_PAIRS, Cihp
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.data.listing.splits import require_split
from segtrain.data.people.drawing.backdrop import draw_backdrop
from segtrain.data.people.drawing.body import random_body, random_pose
from segtrain.data.people.drawing.canvas import Canvas, Cloth, Ellipse, Pen
from segtrain.data.people.drawing.figure import draw_figure
from segtrain.data.people.drawing.outfit import random_outfit
from segtrain.errors import DataError, ResourceError, argument
from segtrain.limits import Count, Limits, limited
from segtrain.reading import load_json
from segtrain.storage import locked

Images = Annotated[int, Limits(1, 1_000_000)]
Side = Annotated[int, Limits(32, 4096)]

logger = logging.getLogger(__name__)

MARKER = "people.json"
DRAWING_VERSION = 1  # raise it with every change that moves a pixel: a folder drawn by another version is refused
SPLITS = ("Training", "Validation")
LIST_FILES = {"Training": "train_id.txt", "Validation": "val_id.txt"}
JPEG_QUALITY = 93


class People(Dataset):
    """Drawn people with CIHP's 20 parts, in CIHP's layout: built-in sample data, without a download.

    Args:
        root: Folder of the drawings; created on first use, reused if it holds the same drawings.
        num_train_images: Number of training images.
        num_val_images: Number of validation images.
        size: Height and width of each image, in pixels.
        seed: Random seed of all drawings.
    """

    @limited
    def __init__(
        self,
        root: str,
        num_train_images: Images = 240,
        num_val_images: Images = 60,
        size: tuple[Side, Side] = (224, 256),
        seed: Count = 0,
    ) -> None:
        self.root = Path(root).expanduser()
        self._num_images = {"num_train": num_train_images, "num_val": num_val_images}
        self._size = (size[0], size[1])  # a list from YAML
        self._seed = seed
        super().__init__(CLASS_NAMES, COLORS, flip_pairs=SWAP_PAIRS)

    def samples(self, split: str) -> list[Sample]:
        require_split(split, ("train", "val"))
        progress = sys.stderr.isatty()
        write_people(self.root, **self._num_images, size=self._size, seed=self._seed, progress=progress)
        return Cihp(str(self.root)).samples(split)


def draw_people(
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    num_figures: int | None = None,
    facing: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one photo-like image of dressed figures and the class of each of its pixels.

    Args:
        rng: The only source of chance; the same state gives the same image.
        size: Height and width, in pixels; made for 128 and more.
        num_figures: How many figures; None draws one to four.
        facing: "front" or "back" for all figures; None draws it for each, mostly front.

    Returns:
        The image, (H, W, 3) uint8 RGB, and its labels, (H, W) uint8 with CIHP's ids 0-19.
    """
    canvas = draw_backdrop(rng, size)
    count = num_figures or int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
    light = rng.uniform(-1, 1)
    heights = np.sort(rng.uniform(0.66 if count > 1 else 0.76, 0.97, count))
    slots = rng.permutation(count)
    for height, slot in zip(heights, slots, strict=True):  # smaller is farther, and is drawn first
        x = (slot + rng.uniform(0.3, 0.7)) / count
        _draw_one(canvas, rng, x, height, facing, light)
    image, labels = canvas.finish()
    return _photograph(rng, image), labels


def write_people(
    root: Path,
    *,
    num_train: int = 240,
    num_val: int = 60,
    size: tuple[int, int] = (224, 256),
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Draw the dataset into `root` atomically; do nothing if it exists.

    Args:
        root: Folder to make, laid out as CIHP: `{Training,Validation}/{Images,Category_ids}`, the lists of
            ids and `human_colormap.mat`.
        num_train: Images of the training split.
        num_val: Images of the validation split; their ids continue those of the training split, as in CIHP.
        size: Height and width of every image, in pixels.
        seed: Random seed of all drawings.
        progress: Whether to show a bar on stderr.

    Raises:
        DataError: `root` holds something else, or the same drawn with other parameters.
        ResourceError: `root` cannot be written.
    """
    parameters = {
        "drawing_version": DRAWING_VERSION,
        "num_train": num_train,
        "num_val": num_val,
        "size": list(size),
        "seed": seed,
    }
    root = Path(root)
    if root.exists():
        _check_same(root, parameters)
        return
    unfinished = root.with_name(f".{root.name}.unfinished")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.parent):
            if root.exists():  # another process of this run or sweep has just drawn it
                _check_same(root, parameters)
                return
            shutil.rmtree(unfinished, ignore_errors=True)  # of a drawing that was killed
            try:
                unfinished.mkdir()
                _write(unfinished, {"Training": num_train, "Validation": num_val}, size, seed, progress)
                (unfinished / MARKER).write_text(json.dumps(parameters, indent=2) + "\n")
                os.rename(unfinished, root)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ResourceError(
            f"sample data in {root}: {error}, expected a writable folder with room for about "
            f"{(num_train + num_val) // 25 + 1} MB. Fix: give another {argument('root')}"
        ) from error
    logger.info("drew %d people images into %s", num_train + num_val, root)


def _draw_one(
    canvas: Canvas, rng: np.random.Generator, x: float, height: float, facing: str | None, light: float
) -> None:
    """Draw one figure at this fraction of the width, as tall as this fraction of the height."""
    tall, wide = canvas.size
    body = random_body(rng)
    pose = random_pose(rng, facing or str(rng.choice(["front", "back"], p=[0.78, 0.22])))
    outfit = random_outfit(rng)
    feet = (x * wide, tall * (0.985 - 0.35 * (0.97 - height)) - 2)
    pen = Pen(canvas, feet, height * tall / (body.height + 5), tilt=rng.uniform(-4, 4), light=light)
    pen.paint(None, Cloth((52, 50, 54)), Ellipse((0, 0.5), (20, 3.4)), depth=0)
    draw_figure(pen, rng, body, pose, outfit)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light from one side, a color cast, now and then slight blur, and noise."""
    height, width = image.shape[:2]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.22)
    across = np.cos(angle) * np.linspace(-1, 1, width)[None, :] + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    gain = (1 + strength * across)[..., None] * rng.uniform(0.82, 1.08) * rng.uniform(0.95, 1.05, 3)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8))
    noise = rng.normal(0, rng.uniform(1, 6), (height, width, 1))
    return np.clip(image * gain + noise, 0, 255).astype(np.uint8)


def _write(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int, progress: bool) -> None:
    """Write the dataset into `root`, two images at a time (OpenCV lets other threads run)."""
    jobs: list[tuple[Path, str, tuple[int, int, int]]] = []
    first = 1
    for number, split in enumerate(SPLITS):
        for folder in ("Images", "Category_ids"):
            (root / split / folder).mkdir(parents=True)
        names = [f"{first + index:07d}" for index in range(counts[split])]
        jobs += [(root / split, name, (seed, number, index)) for index, name in enumerate(names)]
        first += counts[split]
        (root / LIST_FILES[split]).write_text("".join(name + "\n" for name in names))
    _write_colormap(root / "human_colormap.mat")
    with (
        ThreadPoolExecutor(2) as pool,
        tqdm(total=len(jobs), desc="drawing people", unit="image", mininterval=0.5, disable=not progress) as bar,
    ):
        try:
            for _ in pool.map(lambda job: _write_pair(job, size), jobs):
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_pair(job: tuple[Path, str, tuple[int, int, int]], size: tuple[int, int]) -> None:
    folder, name, key = job
    image, labels = draw_people(np.random.default_rng(key), size)
    Image.fromarray(image).save(folder / "Images" / f"{name}.jpg", quality=JPEG_QUALITY, subsampling=0)
    Image.fromarray(labels).save(folder / "Category_ids" / f"{name}.png")


def _write_colormap(path: Path) -> None:
    from scipy.io import savemat  # takes longer to import than ten images to draw

    savemat(path, {"colormap": COLORS.astype(np.float64) / 256})
    with path.open("r+b") as file:  # its first 116 bytes are a text with the time of day
        file.write(b"MATLAB 5.0 MAT-file, drawn by segtrain".ljust(116))


def _check_same(root: Path, parameters: dict[str, object]) -> None:
    """Refuse a folder that was not drawn by `write_people` with these parameters."""
    fix = f"Fix: give another {argument('root')}, or delete the folder ({root}) to have it drawn anew"
    try:
        found = load_json(root / MARKER)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"folder to draw people into, {root}: exists without a readable {MARKER}, "
            f"expected a folder drawn by segtrain or none. {fix}"
        )
    if found != parameters:
        differing = [key for key in sorted({*found, *parameters}) if found.get(key) != parameters.get(key)]
        seen = ", ".join(f"{key}={found.get(key)}" for key in differing)
        expected = ", ".join(f"{key}={parameters.get(key)}" for key in differing)
        raise DataError(f"sample data in {root / MARKER}: drawn with {seen}, expected {expected}. {fix}")
