"""Process-level support: memory limits, threads, imports and child processes. No TensorFlow here."""
