"""Image and label files: headers, decoding, refusals."""
