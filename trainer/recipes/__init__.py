"""How the shipped checkpoints were trained, each one command."""
