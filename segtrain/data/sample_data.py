"""The embedded sample data as a dataset: drawn at its first use, then read as any CIHP."""

from collections.abc import Sequence
from pathlib import Path

from segtrain.data.cihp import CLASS_NAMES, COLORS, SWAP_PAIRS, Cihp
from segtrain.data.dataset import Dataset, Sample, require_split
from segtrain.data.people import write_people


class People(Dataset):
    """Drawn people with CIHP's 20 parts, in CIHP's layout; needs no download.

    Args:
        root: Where to draw them; taken as it is where it holds the same people already.
        num_train_images: How many to train on.
        num_val_images: How many to validate on.
        size: Height and width of each, in pixels.
        seed: Another seed draws other people.
    """

    def __init__(
        self,
        root: str,
        num_train_images: int = 240,
        num_val_images: int = 60,
        size: Sequence[int] = (224, 256),
        seed: int = 0,
    ) -> None:
        self.root = Path(root).expanduser()
        self._drawing = {
            "num_train": num_train_images,
            "num_val": num_val_images,
            "size": (int(size[0]), int(size[1])),
            "seed": seed,
        }
        super().__init__(CLASS_NAMES, COLORS, swap_pairs=SWAP_PAIRS)

    def samples(self, split: str) -> list[Sample]:
        require_split(split, ("train", "val"))
        write_people(self.root, **self._drawing)
        return Cihp(str(self.root)).samples(split)
