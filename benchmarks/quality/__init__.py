"""Quality: how often the models, the names and the figures are right."""
