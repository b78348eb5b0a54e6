"""Operation at the least cost over a horizon, as linear programs."""
