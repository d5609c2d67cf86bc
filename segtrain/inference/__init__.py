"""Inference on images of any size."""

from segtrain.inference.predictor import Predictor

__all__ = ["Predictor"]
