"""Comparison of speakers with the people of an index, and their names."""
