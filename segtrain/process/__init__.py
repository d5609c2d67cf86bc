"""The process that segtrain runs in: memory, threads, imports. No TensorFlow here."""
