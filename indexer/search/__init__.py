"""Exact search over vectors."""
