"""The vector cache: segments on disk, made from the catalog."""
