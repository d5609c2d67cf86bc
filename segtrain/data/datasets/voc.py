"""Pascal VOC 2012 segmentation, as the devkit unpacks (Everingham et al. 2010)."""

from pathlib import Path

from segtrain.data.datasets.colormap import voc_colormap
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.files import MAX_PIXELS, ExifPolicy
from segtrain.data.images.sample import Sample
from segtrain.data.listing.list_samples import pair_listed, read_split
from segtrain.data.listing.listed import SampleFolders
from segtrain.data.listing.roots import require_list, require_root
from segtrain.data.listing.splits import require_split
from segtrain.errors import argument
from segtrain.limits import PositiveCount, limited

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class Voc(Dataset):
    """Palette PNGs read as class indices, split by the devkit's list files; 255 is ignored.

    Any other list in `ImageSets/Segmentation` is a split by its name, "trainval".

    Args:
        root: The folder `VOCdevkit/VOC2012`.
        labels: Folder of the label files, in `root` or anywhere: "SegmentationClass", or the output of `segtrain
            prepare` for the 10,582 images with SBD's labels.
        train_list: Name of a list in `ImageSets/Segmentation`, or a text file (.txt) in `root` or anywhere.
        val_list: The same for validation. Training refuses a list that shares a name with it.
        exif: What to do with images that a camera marked as turned: "refuse", "apply" or "ignore".
        max_pixels: Images with more pixels are refused by their headers.
        test_list: The same for the test split, which exists where the file does. VOC 2012's own has no public labels.
    """

    @limited
    def __init__(
        self,
        root: str,
        labels: str = "SegmentationClass",
        train_list: str = "train",
        val_list: str = "val",
        exif: ExifPolicy = "refuse",
        max_pixels: PositiveCount = MAX_PIXELS,
        test_list: str = "test",
    ) -> None:
        self.root = Path(root).expanduser()
        self._labels = str(Path(labels).expanduser())
        self._list_names = {"train": train_list, "val": val_list, "test": test_list}
        self._lists = {split: self._list_file(name) for split, name in self._list_names.items()}
        super().__init__(
            CLASS_NAMES, voc_colormap(len(CLASS_NAMES)), ignore_class=255, exif=exif, max_pixels=max_pixels
        )

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "val", *(["test"] if self._lists["test"].is_file() else []))

    def samples(self, split: str) -> list[Sample]:
        if split not in ("train", "val"):
            require_split(split, [*self.splits, *self._further_lists()])
        require_root(self.root, ["JPEGImages", self._labels, "ImageSets/Segmentation"])
        source = self._lists.get(split, self._list_file(split))
        if split in self._lists:
            require_list(source, argument(f"{split}_list"), self._list_names[split], self._without_list(split))
        lines = read_split(source, self._lists["val"] if split == "train" else None)
        folders = SampleFolders(self.root, self.root / "JPEGImages", self.root / self._labels)
        # Errors in another list of the devkit name `test_list`, with which its lines can be replaced.
        return pair_listed(source, lines, folders, split if split in self._lists else "test")

    def _further_lists(self) -> list[str]:
        """Names of the lists in the devkit's folder that are not the argument of a split."""
        folder = self._list_file("train").parent
        names = sorted(path.stem for path in folder.glob("*.txt")) if folder.is_dir() else []
        return [name for name in names if name not in self._lists]

    def _without_list(self, split: str) -> str:
        """Return a fix for a missing list: fetch SBD's labels, which train_aug is made from, or take VOC's own list."""
        if "aug" in self._list_names[split]:
            return "segtrain download sbd"
        return f"{argument(f'{split}_list')}={split}" if self._list_file(split).is_file() else ""

    def _list_file(self, name: str) -> Path:
        if name.endswith(".txt"):
            return self.root / Path(name).expanduser()
        return self.root / "ImageSets" / "Segmentation" / f"{name}.txt"
