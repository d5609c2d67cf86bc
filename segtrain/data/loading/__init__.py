"""Training batches by step, and full-size images one by one."""
