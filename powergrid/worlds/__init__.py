"""Worlds: a configuration made real, with network, agents, data, layout and simulation. No library's API lives here."""
