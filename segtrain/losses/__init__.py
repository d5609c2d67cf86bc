"""Losses. Each is built with `ignore_class` and `num_classes` and called with labels (B, H, W) and logits (B, H, W, C).

B batch, H height, W width, K classes, C the logits of a pixel: `num_logits` of the loss, K but for edges.

Each computes in float32 whatever the logits' type. Void pixels cost nothing, pull nothing and count in no denominator;
a batch of void alone costs 0. Names here are what a YAML's `_target_` may use.
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
