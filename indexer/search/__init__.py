"""Exact nearest-neighbour search over vectors."""
