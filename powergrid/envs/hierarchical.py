"""The multi-agent environment of a hierarchy: an operator above microgrids above devices, to any depth."""

from __future__ import annotations

from powergrid.agents.base import Agent
from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.grid_agent import GridAgent
from powergrid.core.errors import ArgumentError
from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv


class HierarchicalGridEnv(MultiAgentPowerGridEnv):
    """A :class:`MultiAgentPowerGridEnv` that names the levels of its hierarchy.

    A tick runs top down: an operator that is due decides, its vertical protocol speaks to its children, then those
    decide that are due, and so on to the devices. Who is not due holds; ``simulation.intervals`` and ``interval`` of an
    agent say who is.

    Level 1 are devices. A coordinator stands at least one level above the highest of its children: level 2 are usual
    for microgrid controllers, level 3 and more for system operators.
    """

    @property
    def levels(self) -> dict[int, list[Agent]]:
        """All agents by level, the highest first."""
        found: dict[int, list[Agent]] = {}
        for agent in sorted(self.world.agents, key=lambda agent: -agent.level):
            found.setdefault(agent.level, []).append(agent)
        return found

    def agents_of_level(self, level: int) -> dict[str, Agent]:
        """Agents of one level by id, in the order of the configuration.

        Raises
        ------
        ArgumentError
            If the hierarchy has no such level.
        """
        if level not in self.levels:
            known = ", ".join(map(str, self.levels))
            raise ArgumentError(f"level {level!r} has no agents; the levels of this hierarchy: {known}")
        return {agent.id: agent for agent in self.levels[level]}

    @property
    def device_agents(self) -> dict[str, DeviceAgent]:
        """Devices, by id."""
        return {agent.id: agent for agent in self.world.agents if isinstance(agent, DeviceAgent)}

    @property
    def grid_agents(self) -> dict[str, GridAgent]:
        """Coordinators that another one coordinates, or that stand above devices only, by id."""
        coordinators = [agent for agent in self.world.agents if isinstance(agent, GridAgent)]
        return {agent.id: agent for agent in coordinators if agent is not self.system_agent}

    @property
    def system_agent(self) -> GridAgent | None:
        """The operator above coordinators that nobody coordinates; ``None`` if there is none, or more than one."""
        tops = [agent for agent in self.world.agents if isinstance(agent, GridAgent) and agent.parent is None]
        operators = [agent for agent in tops if any(isinstance(child, GridAgent) for child in agent.subordinates)]
        return operators[0] if len(operators) == 1 else None

    def tree(self) -> str:
        """The hierarchy as text: each agent below its parent, with its level, its policy and its vertical protocol."""
        lines: list[str] = []
        for agent in self.world.agents:
            if agent.parent is None:
                lines += _branch(agent, "", "")
        return "\n".join(lines)


def _branch(agent: Agent, first: str, rest: str) -> list[str]:
    protocol = agent.protocol if isinstance(agent, GridAgent) and agent.protocol != "none" else ""
    maker = getattr(agent.make_policy, "name", "")
    parts = [f"level {agent.level}", agent.policy + (f" ({maker})" if maker else ""), *([protocol] if protocol else [])]
    lines = [f"{first}{agent.id}: {', '.join(parts)}"]
    children = agent.subordinates
    for k, child in enumerate(children):
        last = k == len(children) - 1
        own, below = ("`- ", "   ") if last else ("|- ", "|  ")
        lines += _branch(child, rest + own, rest + below)
    return lines
