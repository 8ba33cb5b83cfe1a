"""Deletion, checks and pruning."""
