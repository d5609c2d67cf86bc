"""Small copies of the images that a report shows, written by eval: image, labels and prediction."""

from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segtrain.evaluation.per_image import PerImage
from segtrain.runs.files import require_inside
from segtrain.storage import make_folder, write_atomically, write_png

FOLDER = "thumbnails"
SIDE = 360  # pixels
MAX_IMAGES = 300
# Kind of copy -> suffix of its file.
SUFFIXES = {"image": ".jpg", "labels": ".labels.png", "prediction": ".prediction.png"}


def chosen(images: PerImage, exclude: Collection[int], limit: int = MAX_IMAGES) -> list[str]:
    """Return the names of the images to show: worst, most uncertain, suspected label errors, worst by class, best.

    Args:
        images: Scores of all images.
        exclude: Ids of classes that are left out of the means over classes.
        limit: Number of images.
    """
    if len(images.records) <= limit:
        return [record.name for record in images.records]
    ranked = [record for record, _ in images.worst_first(exclude)]
    doubtful = sorted(images.records, key=lambda each: -each.disagreement)
    uncertain = sorted(images.records, key=lambda each: each.confidence)
    quarter = limit // 4
    found = dict.fromkeys(each.name for part in (ranked, doubtful, uncertain) for each in part[:quarter])
    num_classes = len(images.records[0].hits)
    for index in range(num_classes):
        scored = [(each, each.scores().iou[index]) for each in images.records if each.occurs[index]]
        scored.sort(key=lambda each: each[1])
        found |= dict.fromkeys(each.name for each, _ in scored[: max(1, quarter // num_classes)])
    return list(found | dict.fromkeys(each.name for each in ranked[::-1]))[:limit]


def write_thumbnail(
    folder: Path, name: str, image: np.ndarray, labels: np.ndarray, predicted: np.ndarray, colors: np.ndarray
) -> None:
    """Write the copies of one image; ignored pixels of the labels are transparent.

    Args:
        folder: Folder of the evaluation.
        name: Name of the sample.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        predicted: (H, W) uint8 class ids.
        colors: (K, 3) uint8 RGB.
    """
    scale = min(1.0, SIDE / max(labels.shape))
    size = (max(1, round(scale * labels.shape[1])), max(1, round(scale * labels.shape[0])))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    base = folder / FOLDER / name
    make_folder(base.parent)
    options = [cv2.IMWRITE_JPEG_QUALITY, 82]
    write_atomically(base.with_name(base.name + ".jpg"), cv2.imencode(".jpg", small[..., ::-1], options)[1].tobytes())
    for kind, ids in (("labels", labels), ("prediction", predicted)):
        few = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
        write_png(base.with_name(base.name + SUFFIXES[kind]), _with_transparency(few, colors), optimize=True)


def thumbnail_paths(folder: Path, name: str) -> dict[str, Path]:
    """Return the files of an image's copies by kind.

    Raises:
        ValueError: The name leads out of the folder.
    """
    base = require_inside(folder / FOLDER, name)
    return {kind: base.with_name(base.name + suffix) for kind, suffix in SUFFIXES.items()}


def _with_transparency(ids: np.ndarray, colors: Sequence[Sequence[int]] | np.ndarray) -> Image.Image:
    shown = np.minimum(ids, len(colors)).astype(np.uint8)  # one more entry for ignored pixels
    image = Image.fromarray(shown)
    image.putpalette(np.vstack([colors, [[0, 0, 0]]]).astype(np.uint8).tobytes())
    image.info["transparency"] = len(colors)
    return image
