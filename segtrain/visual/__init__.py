"""Pictures: overlays, contact sheets, curves. No TensorFlow here."""
