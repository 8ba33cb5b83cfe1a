"""The runtimes of networks, their threads, and checkpoint files."""
