"""Environments for learning libraries: one file per library, which is imported with its file and not before."""
