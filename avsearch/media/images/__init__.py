"""Pictures to arrays."""
