"""Deletion, verification and pruning."""
