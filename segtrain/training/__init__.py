"""The training engine. Names here are what a YAML's `_target_` may use."""

from segtrain.training.schedules import Cosine, Poly, constant

__all__ = ["Cosine", "Poly", "constant"]
