"""Questions an evaluation asks: published lists as they were published, and generated ones."""
