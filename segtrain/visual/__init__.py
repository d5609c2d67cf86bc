"""Figures: overlays, contact sheets, training curves. No TensorFlow here."""
