"""Files of a run folder: checkpoints, manifests, classes, metrics. No TensorFlow here."""
