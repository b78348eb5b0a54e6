"""No coordination: every agent below decides for itself."""

from powergrid.agents.protocol import VerticalProtocol
from powergrid.plugins import register_protocol


@register_protocol("none", aliases=("no_protocol",))
class NoProtocol(VerticalProtocol):
    """The parent sends nothing."""
