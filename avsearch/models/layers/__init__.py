"""Building blocks of the papers' models."""
