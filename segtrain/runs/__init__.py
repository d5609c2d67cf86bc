"""What lies in a run folder. No TensorFlow here."""
