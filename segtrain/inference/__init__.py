"""Inference on images of any size."""

from segtrain.inference.predictor import Labeled, Predictor

__all__ = ["Labeled", "Predictor"]
