"""Audited figures of a model, of vectors or of scores."""
