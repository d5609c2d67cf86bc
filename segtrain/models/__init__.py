"""Networks and backbones. Names here are what a YAML's `_target_` may use."""

from segtrain.models.backbones import Backbone, mobilenet_v2, resnet50
from segtrain.models.deeplab import deeplabv3plus

__all__ = ["Backbone", "deeplabv3plus", "mobilenet_v2", "resnet50"]
