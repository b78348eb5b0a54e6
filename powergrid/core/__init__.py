"""Types and tools that every other package uses. This package imports nothing else of PowerGrid."""
