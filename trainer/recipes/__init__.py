"""Recipes of the shipped checkpoints, each one command."""
