"""SBD's labels of VOC's images, converted to PNG."""
