"""A synthetic world of people to try everything on."""
