"""The protocols of an evaluation: published lists, and generated ones."""
