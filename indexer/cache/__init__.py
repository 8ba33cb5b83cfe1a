"""The vectors on disk in the form that a search reads; it can be made again at any time."""
