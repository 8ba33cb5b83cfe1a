"""The catalog: one SQLite file that holds everything an index knows."""
