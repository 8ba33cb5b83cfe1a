"""One file a version of the tables, named after it; each says which version it starts from."""
