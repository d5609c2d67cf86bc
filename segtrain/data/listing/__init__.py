"""Which image belongs to which label file: folders, list files, names."""
