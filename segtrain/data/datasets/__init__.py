"""Datasets: class names, colors, ignored class, and the samples of each split."""
