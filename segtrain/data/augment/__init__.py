"""Random changes to an image and its labels together.

The first one makes the crop (`ScaleCropFlip`, `Resize`), in one pass over uint8 pixels; its `steps` change the crop.
Labels are never interpolated, but where `Resize(labels_interpolation="bilinear")` asks for that very defect.
"""

from segtrain.data.augment.augmentation import PADDING_COLOR, Augmentation, OtherSample, mirrored_classes
from segtrain.data.augment.color import Blur, ColorJitter, Noise
from segtrain.data.augment.geometry import Resize, ScaleCropFlip
from segtrain.data.augment.mix import CopyPaste, CutMix, Cutout

__all__ = [
    "PADDING_COLOR",
    "OtherSample",
    "Augmentation",
    "Blur",
    "ColorJitter",
    "CopyPaste",
    "CutMix",
    "Cutout",
    "Noise",
    "Resize",
    "ScaleCropFlip",
    "mirrored_classes",
]
