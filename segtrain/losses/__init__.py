"""Losses. Each is built with `ignore_class` and `num_classes` and called with labels (B, H, W) and logits (B, H, W, C).

B batch, H height, W width, K classes, C logits per pixel: `num_logits` of the loss, which is K except for edges.

Losses are computed in float32 for every dtype of logits. Ignored pixels (label `ignore_class`) have no loss and no
gradient and count in no denominator; a batch with ignored pixels only has loss 0. A YAML's `_target_` may name what is
listed here.
"""

from segtrain.losses.base import HeadLoss, Loss, PixelLoss, Scored, additive, scored, with_own_gradient
from segtrain.losses.combined import Part, Sum
from segtrain.losses.cross_entropy import CrossEntropy, Focal, OhemCrossEntropy
from segtrain.losses.edges import BoundaryCrossEntropy, EdgeCrossEntropy
from segtrain.losses.overlap import Dice, Lovasz, Tversky

__all__ = [
    "BoundaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "EdgeCrossEntropy",
    "Focal",
    "HeadLoss",
    "Loss",
    "Lovasz",
    "OhemCrossEntropy",
    "Part",
    "PixelLoss",
    "Scored",
    "Sum",
    "Tversky",
    "additive",
    "with_own_gradient",
    "scored",
]
