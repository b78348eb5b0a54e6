"""v1's single-agent environments."""
