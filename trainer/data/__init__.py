"""Data sets: readers, splits, caches, and a synthetic world to try everything on."""
