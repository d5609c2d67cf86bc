"""Config-driven training of semantic segmentation networks with TensorFlow and Keras."""

__version__ = "0.1.0"
