"""Files, locks, threads and optional libraries."""
