"""Plain Python devices in the loop of the engine."""
