"""Who decides for whom, and who pays for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.engine.layout import SHARED, UTILITY

_OUTSIDE = ("learned", "centralized")


class Ownership:
    """Acting agents and accounts of an environment.

    An agent acts from outside if it is learned and has something to choose, unless a coordinator that commands its
    children speaks for it. An account is whoever pays: an actor, a coordinator with an area of its own, or a device
    nobody above answers for. What belongs to none of them, such as the utility's feeder, its regulators and its own
    generation, is shared equally by the actors; where nobody acts, it is on the account of the utility.

    Parameters
    ----------
    agents
        All agents in configuration order.
    vertical
        Vertical protocol of each coordinator.
    horizontal
        Horizontal protocols with their members.
    """

    def __init__(
        self,
        agents: Sequence[Any],
        vertical: Mapping[str, Any],
        horizontal: Sequence[tuple[Any, Sequence[str]]],
    ):
        self._vertical = vertical
        members = {id for protocol, ids in horizontal if protocol.action_entries() for id in ids}
        devices = [agent for agent in agents if hasattr(agent, "role")]
        deciders = [self.decider(agent) for agent in devices if agent.action_entries()]
        acting = {by for by, policy in deciders if not policy}
        for agent in agents:
            sends = agent.id in vertical and agent.policy != "centralized" and vertical[agent.id].action_entries()
            if agent.policy in _OUTSIDE and (sends or agent.id in members):
                acting.add(agent.id)
        self.actors = [agent.id for agent in agents if agent.id in acting]
        self._acting = frozenset(self.actors)
        payers = {self.payer(agent) for agent in devices} | members
        self.accounts = [
            *self.actors,
            *(agent.id for agent in agents if agent.id in payers - self._acting),
            *([] if self.actors else [UTILITY]),
        ]
        self._row = {id: row for row, id in enumerate(self.accounts)}
        self._areas = {agent.area: agent.id for agent in agents if getattr(agent, "area", "") and agent.id in self._row}
        at_source = {self.payer(agent) for agent in devices if agent.role == "meter" and agent.bus == ""}
        if len(self.actors) == 1 and self.actors[0] in at_source:
            self._areas[""] = self.actors[0]  # with nobody to share it with, the feeder is its operator's own

    def policy_of(self, agent: Any) -> str:
        """Local policy that decides for an agent, empty if it acts from outside."""
        return "" if agent.id in self._acting else str(agent.policy)

    def decider(self, device: Any) -> tuple[str, str]:
        """Agent that chooses a device's commands, and its local policy, which is empty if it acts from outside."""
        agent = device
        if device.policy in _OUTSIDE:
            while agent.parent is not None and self._commands(agent.parent):
                agent = agent.parent
        return agent.id, "" if agent.policy in _OUTSIDE else agent.policy

    def _commands(self, coordinator: Any) -> bool:
        protocol = self._vertical.get(coordinator.id)
        return coordinator.policy == "centralized" or (protocol is not None and protocol.commands_children)

    def payer(self, device: Any) -> str | None:
        """Id of the account that pays for an agent; ``None`` where it is shared."""
        chain = [device, *device.ancestors()]
        for agent in chain:
            if agent.id in self._acting or getattr(agent, "area", None):
                return str(agent.id)
        if device.parent is None and (getattr(device, "role", "") in ("tap", "cap") or device.of_network):
            return None
        return str(chain[-1].id)

    def account(self, agent: Any) -> int:
        """Index of the account that pays for a device, or for the meter of a coordinator."""
        payer = self.payer(agent)
        return SHARED if payer is None else self._row.get(payer, SHARED)

    def account_of(self, id: str) -> int:
        """Index of the account that an agent is."""
        return self._row[id]

    @property
    def sharing(self) -> np.ndarray:
        """Whether each account takes an equal part of what nobody owns: the actors do, else the utility."""
        return np.array([id in self._acting or id == UTILITY for id in self.accounts])

    def by_area(self, areas: Sequence[str]) -> np.ndarray:
        """Account of each area name; :data:`~powergrid.engine.layout.SHARED` where nobody owns it."""
        return np.array([self._row[self._areas[a]] if a in self._areas else SHARED for a in areas], dtype=int)
