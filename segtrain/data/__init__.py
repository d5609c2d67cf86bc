"""Datasets, augmentations and batches. Names here are what a YAML's `_target_` may use."""

from segtrain.data.augment import (
    Augmentation,
    Blur,
    ColorJitter,
    CopyPaste,
    CutMix,
    Cutout,
    Noise,
    Resize,
    ScaleCropFlip,
)
from segtrain.data.datasets.cihp import Cihp
from segtrain.data.datasets.concat import Concat
from segtrain.data.datasets.dataset import Dataset
from segtrain.data.datasets.folder import Folder
from segtrain.data.datasets.voc import Voc
from segtrain.data.images.sample import Sample
from segtrain.data.people.dataset import People

__all__ = [
    "Augmentation",
    "Blur",
    "Cihp",
    "ColorJitter",
    "Concat",
    "CopyPaste",
    "CutMix",
    "Cutout",
    "Dataset",
    "Folder",
    "Noise",
    "People",
    "Resize",
    "Sample",
    "ScaleCropFlip",
    "Voc",
]
