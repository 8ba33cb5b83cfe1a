"""From a gallery to the index."""
