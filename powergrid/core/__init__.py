"""Words and tools that every other room uses. This package imports nothing else of PowerGrid."""
