"""Who decides for whom, and who pays for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.coordination.deciders import (
    Candidate,
    Deciders,
    commanded_fields,
    commands_all,
    members_send,
    parent_sends,
)
from powergrid.coordination.layers import Peers
from powergrid.engine.layout import SHARED, UTILITY


class Ownership:
    """Acting agents and accounts of an environment.

    An agent acts from outside if it is learned and has something to choose, unless a coordinator that commands its
    children speaks for it. Agents that decide in Python act like actors, and pay like agents with a local policy. An
    account is whoever pays: an actor, a coordinator with an area of its own, a member of a horizontal protocol or of a
    vertical one that settles bills, the parent that a vertical protocol settles with, or a device nobody above answers
    for. What
    belongs to none of them, such as the utility's feeder, its regulators and its own generation, is shared equally by
    the actors; where nobody acts from outside, it is on the account of the utility.

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
        horizontal: Sequence[Peers],
    ):
        members = {id for peers in horizontal for id in peers.members}
        speakers = {id for peers in horizontal if peers.protocol.speaks for id in peers.members}
        speakers |= {id for agent in agents if members_send(vertical.get(agent.id)) for id in _told(agent)}
        self.on_network = {
            id for agent in agents if _on_network(vertical.get(agent.id)) for id in (agent.id, *_told(agent))
        }
        """Members and operators of a market on the network, who pay its prices and no tariff."""
        self._settled = {id for agent in agents if _settles(vertical.get(agent.id)) for id in _told(agent)}
        self._commanded = {
            agent.id: commanded_fields(agent, [vertical.get(above.id) for above in agent.ancestors()])
            for agent in agents
        }
        devices = [agent for agent in agents if hasattr(agent, "role")]
        self._deciders = Deciders(
            _candidate(agent, vertical.get(agent.id), agent.id in speakers, self._commanded[agent.id])
            for agent in agents
        )
        acting = self._deciders.acting
        self.actors = [agent.id for agent in agents if agent.id in acting]
        self.python_agents = [agent.id for agent in agents if agent.id in self._deciders.in_python]
        self._acting = frozenset(self.actors)
        parents = [a for a in agents if pays(vertical.get(a.id)) and not commands_all(a.policy, vertical[a.id])]
        payers = {self.payer(agent) for agent in (*devices, *parents)} | members | self._settled
        other_payers = payers - self._acting - self._deciders.in_python
        self.accounts = [
            *self.actors,
            *self.python_agents,
            *(agent.id for agent in agents if agent.id in other_payers),
            *([] if self.actors else [UTILITY]),
        ]
        self._row = {id: row for row, id in enumerate(self.accounts)}
        self._areas = {agent.area: agent.id for agent in agents if getattr(agent, "area", "") and agent.id in self._row}
        at_source = {self.payer(agent) for agent in devices if agent.role == "meter" and agent.bus == ""}
        if len(self.actors) == 1 and self.actors[0] in at_source:
            self._areas[""] = self.actors[0]  # with nobody to share it with, the feeder is its operator's own

    def policy_of(self, agent: Any) -> str:
        """Local policy that decides for an agent, empty if it acts from outside or in Python."""
        return self._deciders.policy_of(agent.id)

    def decider(self, device: Any) -> tuple[str, str]:
        """Agent that chooses a device's commands, and its local policy: none if it acts from outside or in Python."""
        by = self._deciders.decider(device.id)
        return by, self._deciders.policy_of(by)

    def commanded(self, device: Any) -> frozenset[str]:
        """Fields of a device's command that a protocol above it keeps to itself."""
        return self._commanded[device.id]

    def decides(self, agent: Any) -> bool:
        """Whether an agent decides something, whatever its policy."""
        return agent.id in self._deciders.deciding

    def payer(self, device: Any) -> str | None:
        """Id of the account that pays for an agent; ``None`` where it is shared."""
        chain = [device, *device.ancestors()]
        for agent in chain:
            if agent.id in self._acting or agent.id in self._settled or getattr(agent, "area", None):
                return str(agent.id)
        nobodys = getattr(device, "role", "") in ("tap", "cap") or getattr(device, "of_network", False)
        if device.parent is None and nobodys:
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


def pays(protocol: Any) -> bool:
    """Whether the members of a vertical protocol are paid by their parent."""
    return protocol is not None and protocol.counterparty == "parent"


def _settles(protocol: Any) -> bool:
    """Whether the bills of the children of a vertical protocol's parent are settled by it."""
    return protocol is not None and protocol.settles_bills


def _on_network(protocol: Any) -> bool:
    """Whether a vertical protocol settles all energy that passes the network."""
    return protocol is not None and protocol.settles_source


def _told(agent: Any) -> list[str]:
    """Children of a parent that are members of its protocol: all but meters."""
    return [child.id for child in agent.subordinates if getattr(child, "role", "") != "meter"]


def _candidate(agent: Any, protocol: Any, member: bool, commanded: frozenset[str]) -> Candidate:
    central = commands_all(agent.policy, protocol)
    return Candidate(
        id=agent.id,
        policy=agent.policy,
        parent=None if agent.parent is None else agent.parent.id,
        device=hasattr(agent, "role"),
        offers=hasattr(agent, "role") and bool(agent.action_entries().keys() - commanded),
        sends=member or (not central and parent_sends(protocol)),
        commands=central or (protocol is not None and protocol.commands_children),
    )
