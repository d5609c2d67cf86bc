"""Pascal VOC 2012 segmentation, as the devkit unpacks (Everingham et al. 2010)."""

from pathlib import Path

from segtrain.data.colormap import voc_colormap
from segtrain.data.dataset import Dataset, Sample
from segtrain.data.files import read_names
from segtrain.data.pairing import pair_files, require_root, require_split

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class Voc(Dataset):
    """Palette PNGs read as class indices, split by the devkit's list files; 255 is void.

    Args:
        root: The folder `VOCdevkit/VOC2012`.
        labels: "SegmentationClass", or "SegmentationClassAug" for the 10,582 photographs with SBD's labels.
        train_list: Name of the list in `ImageSets/Segmentation` to train on.
        val_list: Name of the list to validate on.
    """

    def __init__(
        self, root: str, labels: str = "SegmentationClass", train_list: str = "train", val_list: str = "val"
    ) -> None:
        self.root = Path(root).expanduser()
        self._labels = labels
        self._lists = {"train": train_list, "val": val_list}
        super().__init__(CLASS_NAMES, voc_colormap(len(CLASS_NAMES)), ignore_class=255)

    def samples(self, split: str) -> list[Sample]:
        require_split(split, self._lists)
        require_root(self.root, ["JPEGImages", self._labels, "ImageSets/Segmentation"], "/data/VOCdevkit/VOC2012")
        names = read_names(self.root / "ImageSets" / "Segmentation" / f"{self._lists[split]}.txt")
        return pair_files(self.root / "JPEGImages", self.root / self._labels, names, split)
