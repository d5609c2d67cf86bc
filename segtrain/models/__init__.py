"""Networks, backbones, heads and normalization. A YAML's `_target_` may name what is listed here."""

from segtrain.models.backbones import Backbone, application, torch_resnet
from segtrain.models.baselines import fcn, lraspp, pspnet, segformer_mlp, unet
from segtrain.models.custom_backbone import backbone_from
from segtrain.models.deeplab import deeplabv3, deeplabv3plus
from segtrain.models.heads import auxiliary, edges
from segtrain.models.norm import frozen_norm, group_norm, synchronized_norm, trained_norm

__all__ = [
    "Backbone",
    "application",
    "auxiliary",
    "backbone_from",
    "deeplabv3",
    "deeplabv3plus",
    "edges",
    "fcn",
    "frozen_norm",
    "group_norm",
    "lraspp",
    "pspnet",
    "segformer_mlp",
    "synchronized_norm",
    "torch_resnet",
    "trained_norm",
    "unet",
]
