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
from segtrain.data.cihp import Cihp
from segtrain.data.concat import Concat
from segtrain.data.dataset import Dataset
from segtrain.data.folder import Folder
from segtrain.data.people import People
from segtrain.data.sample import Sample
from segtrain.data.voc import Voc

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
