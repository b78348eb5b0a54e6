"""SystemAgent: the operator above the coordinators."""

from __future__ import annotations

from powergrid.agents.grid_agent import GridAgent


class SystemAgent(GridAgent):
    """An agent of level 3, such as a system operator; it coordinates grid agents as they coordinate devices."""

    level = 3
