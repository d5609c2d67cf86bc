"""Inference on images of any size."""
