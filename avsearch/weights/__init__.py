"""The checkpoints that are shipped, each with its card beside it."""
