"""From a network, agents and protocols to the layout of an engine."""
