"""v1's multi-agent environments, in the one form of them that could be run."""
