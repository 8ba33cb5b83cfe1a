"""What the README's figures are made with; each file is one command."""
