"""Scripts of the project's own commands; no part of what is installed."""
