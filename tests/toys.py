"""Tiny datasets, drawn in each layout that segtrain reads; they share no code with the package.

Each image is a background with colored rectangles and a little noise; the labels are those
rectangles, and a class has the same color wherever it occurs, so that a network can learn them.
Everything follows from `seed`.

H height, W width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

# One distinct color for each id in an image; these are not the colors of any dataset's legend.
PAINT = np.random.default_rng(2).permutation(
    [(r, g, b) for r in (20, 90, 160, 230) for g in (20, 90, 160, 230) for b in (20, 90, 160, 230)]
)
CIHP_IDS = (2, 5, 13, 14, 15)
# The table in the toy's human_colormap.mat, times 256: not CIHP's own, and read by nobody.
CIHP_COLORS = np.array([(12 * id_, 255 - 12 * id_, 5 * id_) for id_ in range(20)], np.uint8)
VOC_IDS = (1, 8, 15, 20)
# The arguments that open `draw_binary`'s folder.
BINARY = {
    "classes": ["background", "foreground"],
    **{"train_images": "images", "train_labels": "masks", "train_list": "train.txt", "val_list": "val.txt"},
    "label_values": {0: 0, 1: 1, 255: 1},
}
FOLDER_CLASSES = ("sky", "building", "road", "tree", "car")
FOLDER_IGNORE = 11
VOID = 255


def draw_cihp(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: tuple[int, int] = (48, 64), seed: int = 0
) -> Path:
    """Draw CIHP's layout with five of its ids; return the dataset's root, `instance-level_human_parsing`."""
    root = folder / "instance-level_human_parsing"
    first = 1
    for number, (split, count) in enumerate((("Training", num_train), ("Validation", num_val))):
        images, labels = _make(root / split / "Images"), _make(root / split / "Category_ids")
        names = [f"{first + index:07d}" for index in range(count)]
        first += count
        for index, name in enumerate(names):
            image, ids = draw_pair(np.random.default_rng([seed, number, index]), size, CIHP_IDS)
            Image.fromarray(image).save(images / f"{name}.jpg", quality=95, subsampling=0)
            Image.fromarray(ids).save(labels / f"{name}.png")
        _write_list(root / split / f"{'train' if split == 'Training' else 'val'}_id.txt", names)
    savemat(root / "human_colormap.mat", {"colormap": CIHP_COLORS / 256})
    return root


def draw_voc(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: tuple[int, int] = (48, 64), seed: int = 0
) -> Path:
    """Draw VOC's devkit: palette PNGs with void (255) around every object; return `VOCdevkit/VOC2012`."""
    root = folder / "VOCdevkit" / "VOC2012"
    images, labels = _make(root / "JPEGImages"), _make(root / "SegmentationClass")
    palette = np.zeros((256, 3), np.uint8)  # two ids of one color: whoever goes by the colors loses them
    palette[[1, 8]] = (128, 0, 0)
    palette[[15, 20]] = (0, 128, 0)
    palette[255] = (224, 224, 192)
    for number, (split, count) in enumerate((("train", num_train), ("val", num_val))):
        names = [f"2007_{1000 * number + index:06d}" for index in range(count)]
        for index, name in enumerate(names):
            image, ids = draw_pair(np.random.default_rng([seed, number, index]), size, VOC_IDS, void=255)
            Image.fromarray(image).save(images / f"{name}.jpg", quality=95, subsampling=0)
            picture = Image.fromarray(ids)
            picture.putpalette(palette.tobytes())
            picture.save(labels / f"{name}.png")
        _write_list(_make(root / "ImageSets" / "Segmentation") / f"{split}.txt", names)
    return root


def draw_sbd(
    folder: Path, voc_root: Path, *, num_own: int = 6, size: tuple[int, int] = (48, 64), seed: int = 0
) -> Path:
    """Draw SBD beside a `draw_voc`: `num_own` images of its own, and labels for some of VOC's; return its root.

    As in SBD, its lists name images of VOC's training and validation lists too.
    """
    root = folder / "benchmark_RELEASE"
    mats = _make(root / "dataset" / "cls")
    own = [f"2008_{index:06d}" for index in range(num_own)]
    for index, name in enumerate(own):
        image, _ = draw_pair(np.random.default_rng([seed, 7, index]), size, VOC_IDS)
        Image.fromarray(image).save(voc_root / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0)
    lists = [
        (voc_root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split() for split in ("train", "val")
    ]
    train, val = [lists[0][0], lists[1][0], *own[::2]], [lists[1][1], *own[1::2]]
    for name in [*train, *val]:
        _, ids = draw_pair(np.random.default_rng([seed, 7, own.index(name) if name in own else 99]), size, VOC_IDS)
        savemat(mats / f"{name}.mat", {"GTcls": {"Segmentation": ids, "CategoriesPresent": np.unique(ids)[1:]}})
    _write_list(root / "dataset" / "train.txt", train)
    _write_list(root / "dataset" / "val.txt", val)
    return root


def draw_binary(
    folder: Path,
    *,
    num_train: int = 4,
    num_val: int = 2,
    size: tuple[int, int] = (48, 64),
    seed: int = 0,
    foreground: int = 255,
) -> Path:
    """Draw `images`, `masks` of 0 and `foreground`, `train.txt` and `val.txt`; return the folder `binary`.

    Open it with `Folder(root, **BINARY)`.
    """
    root = folder / "binary"
    images, masks = _make(root / "images"), _make(root / "masks")
    for number, (split, count) in enumerate((("train", num_train), ("val", num_val))):
        names = [f"cell_{split}_{index}" for index in range(count)]
        for index, name in enumerate(names):
            image, ids = draw_pair(np.random.default_rng([seed, number, index]), size, (1,))
            Image.fromarray(image).save(images / f"{name}.png")
            Image.fromarray(ids * np.uint8(foreground)).save(masks / f"{name}.png")
        _write_list(root / f"{split}.txt", names)
    return root


def draw_folder(
    folder: Path, *, num_train: int = 4, num_val: int = 2, size: tuple[int, int] = (48, 64), seed: int = 0
) -> Path:
    """Draw CamVid's layout, `{train,val}` and `{train,val}annot`; return the folder `street`.

    The ids are those of `FOLDER_CLASSES`; `FOLDER_IGNORE` surrounds every object. Open it with
    `Folder(root, FOLDER_CLASSES, "train", "trainannot", "val", "valannot", ignore_class=FOLDER_IGNORE)`.
    """
    root = folder / "street"
    ids_used = tuple(range(1, len(FOLDER_CLASSES)))
    for number, (split, count) in enumerate((("train", num_train), ("val", num_val))):
        images, labels = _make(root / split), _make(root / f"{split}annot")
        for index in range(count):
            rng = np.random.default_rng([seed, number, index])
            image, ids = draw_pair(rng, size, ids_used, void=FOLDER_IGNORE)
            Image.fromarray(image).save(images / f"{split}_{index}.png")
            Image.fromarray(ids).save(labels / f"{split}_{index}.png")
    return root


def draw_node(folder: Path, node: Mapping[str, Any], *, num_train: int = 4, num_val: int = 2) -> dict[str, Any]:
    """Draw what a dataset's node looks for, so that a new YAML of configs/dataset is tested by existing.

    Returns:
        The node with its root set, and with few people where it draws them itself.
    """
    kind = str(node["_target_"]).rpartition(".")[2]
    counts = {"num_train": num_train, "num_val": num_val}
    if kind == "Concat":
        drawn = {name: draw_node(folder / name, each, **counts) for name, each in node["datasets"].items()}
        return {**node, "datasets": drawn}
    if kind == "People":
        return {**node, "root": str(folder / "people"), "num_train_images": num_train, "num_val_images": num_val}
    draw = {"Cihp": draw_cihp, "Voc": draw_voc}.get(kind)
    return {**node, "root": str(draw(folder, **counts) if draw else _draw_folder_node(folder, node, counts))}


def _draw_folder_node(folder: Path, node: Mapping[str, Any], counts: Mapping[str, int]) -> Path:
    """Draw the folders, names, lists and stored values of a `Folder`; the ids used are the first five and the last."""
    names = list(node["classes"])
    used = sorted({*range(min(5, len(names))), min(len(names), len(PAINT)) - 1})
    for number, (split, count) in enumerate((("train", counts["num_train"]), ("val", counts["num_val"]), ("test", 3))):
        if (split == "val" and node["val_fraction"] is not None) or (split == "test" and not node.get("test_images")):
            continue
        count = 100 if node["val_fraction"] is not None else count
        places = [node[f"{split}_{kind}"] or node[f"train_{kind}"] for kind in ("images", "labels")]
        stems = [("town/" if node["recursive"] else "") + f"{split}_{index}" for index in range(count)]
        for index, stem in enumerate(stems):
            size = (8, 12) if count == 100 else (48, 64)
            image, ids = draw_pair(np.random.default_rng([number, index]), size, used, void=VOID)
            for place, suffix, pixels in (
                (places[0], node["image_suffix"] or ".png", image),
                (places[1], node["label_suffix"] or ".png", _stored(ids, names, node)),
            ):
                path = folder / place / f"{stem}{suffix}"
                _make(path.parent)
                Image.fromarray(pixels).save(path)
        if node[f"{split}_list"]:
            _make((folder / node[f"{split}_list"]).parent)
            _write_list(folder / node[f"{split}_list"], stems)
    return folder


def _stored(ids: np.ndarray, names: Sequence[str], node: Mapping[str, Any]) -> np.ndarray:
    """What the files of a `Folder` hold for these class ids; void is whatever stands for it, else class 0."""
    values = node["label_values"]
    table = np.zeros(256, np.uint8)
    if values == "ids":
        table[: len(names)] = range(len(names))
        table[VOID] = node["ignore_class"]
    elif values == "from_one":
        table[: len(names)] = range(1, len(names) + 1)
    else:
        for value, name in reversed(values.items()):
            table[VOID if name == "ignore" else name if isinstance(name, int) else list(names).index(name)] = value
    return table[ids]


def draw_pair(
    rng: np.random.Generator, size: tuple[int, int], ids: Sequence[int], void: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image, (H, W, 3) uint8 RGB, and its labels, (H, W) uint8.

    There is one rectangle of each id, below 64, on background 0; later ones may hide earlier ones.
    `void` is the id of a rim, one pixel wide, around each rectangle; the rim has the rectangle's color.
    """
    height, width = size
    labels = np.zeros(size, np.uint8)
    painted = np.zeros(size, np.uint8)
    for id_ in rng.permutation(ids):
        h, w = int(rng.integers(height // 4, height // 2)), int(rng.integers(width // 4, width // 2))
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        painted[top : top + h, left : left + w] = id_
        labels[top : top + h, left : left + w] = id_ if void is None else void
        if void is not None:
            labels[top + 1 : top + h - 1, left + 1 : left + w - 1] = id_
    noise = rng.integers(-8, 9, (*size, 3))
    return np.clip(PAINT[painted] + noise, 0, 255).astype(np.uint8), labels


def _make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_list(path: Path, names: Sequence[str]) -> None:
    path.write_text("".join(f"{name}\n" for name in names))
