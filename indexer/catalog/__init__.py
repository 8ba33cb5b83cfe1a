"""The catalog: one SQLite file with everything an index knows."""
