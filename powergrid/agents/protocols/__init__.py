"""Protocols between agents, one file each."""
