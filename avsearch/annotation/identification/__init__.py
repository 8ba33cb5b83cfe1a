"""Speakers compared with the people of an index, and named."""
