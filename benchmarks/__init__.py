"""Commands that print the figures of the README, the docs and the model cards."""
