"""Results as tables, files and pages. No TensorFlow here."""
