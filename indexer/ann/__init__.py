"""Approximate indexes: HNSW and IVF."""
