"""Setpoints: the parent's action holds the commands of its learned children."""

from powergrid.agents.protocol import VerticalProtocol
from powergrid.plugins import register_protocol


@register_protocol("setpoint")
class SetpointProtocol(VerticalProtocol):
    """The parent assigns a setpoint to each free quantity of its children; one with a local policy keeps that.

    Setpoints are in the child's own range: -1 is its lowest, 1 its highest value; the device's limits clip the rest.
    """

    commands_children = True
