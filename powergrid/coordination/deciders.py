"""Who decides for whom: which agents act from outside, and which have nothing to choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from powergrid.agents.base import CENTRALIZED, LEARNED, PYTHON
from powergrid.agents.units import units_of

OUTSIDE = (LEARNED, CENTRALIZED)
"""Policies of agents that outside code acts for."""


class Candidate(NamedTuple):
    """One agent, as far as it matters who decides.

    Attributes
    ----------
    id, policy
        Its name, and ``"learned"``, ``"centralized"``, ``"python"`` or a local policy.
    parent
        Id of the agent above it, or ``None``.
    device
        Whether it is a device; otherwise it coordinates.
    offers
        Whether a device has numbers that somebody may choose: those that no protocol above keeps to itself.
    sends
        Whether it chooses something of its own: a price for its children, or a limit price on a market.
    commands
        Whether it chooses for its children.
    """

    id: str
    policy: str
    parent: str | None
    device: bool
    offers: bool
    sends: bool
    commands: bool


class Deciders:
    """Who decides for each agent.

    An agent acts from outside if it is learned and has something to choose, unless a coordinator that commands its
    children speaks for it. An agent that decides in Python is not commanded from above, as one with a local policy.

    Parameters
    ----------
    candidates
        All agents.
    """

    def __init__(self, candidates: Iterable[Candidate]):
        self._by_id: Mapping[str, Candidate] = {candidate.id: candidate for candidate in candidates}
        chosen = {self.decider(c.id) for c in self._by_id.values() if c.device and c.offers}
        self.deciding = frozenset(chosen | {c.id for c in self._by_id.values() if c.sends})
        """Agents that decide something, whatever their policy."""
        self.acting = frozenset(id for id in self.deciding if self._by_id[id].policy in OUTSIDE)
        """Agents that act from outside."""
        self.in_python = frozenset(id for id in self.deciding if self._by_id[id].policy == PYTHON)
        """Agents that decide in Python: the environment asks them before the step."""

    def decider(self, id: str) -> str:
        """Agent that chooses an agent's own numbers: itself, or the highest above it that commands down to it."""
        agent = self._by_id[id]
        if agent.policy not in OUTSIDE:
            return agent.id
        while agent.parent is not None and self._by_id[agent.parent].commands:
            agent = self._by_id[agent.parent]
        return agent.id

    def commander(self, id: str) -> str | None:
        """Agent from outside or in Python that chooses an agent's own numbers in its place, or ``None``."""
        by = self.decider(id)
        return by if by != id and self._by_id[by].policy in (*OUTSIDE, PYTHON) else None

    def policy_of(self, id: str) -> str:
        """Local policy that decides for an agent, empty if it acts from outside or in Python."""
        return "" if id in self.acting or id in self.in_python else self._by_id[id].policy


def parent_sends(protocol: Any) -> bool:
    """Whether the parent of a vertical protocol chooses what it sends."""
    return protocol is not None and protocol.speaks and protocol.speakers == "parent"


def members_send(protocol: Any) -> bool:
    """Whether the children of a vertical protocol's parent give its orders."""
    return protocol is not None and protocol.speaks and protocol.speakers == "members"


def commanded_fields(device: Any, above: Iterable[Any]) -> frozenset[str]:
    """Fields of a device's command that vertical protocols above it, from the nearest on, keep to themselves."""
    dispatching = [protocol for protocol in above if protocol is not None and protocol.commands_units]
    if not dispatching:
        return frozenset()
    units = units_of(device)
    return frozenset(unit.field for unit in units if any(protocol.dispatches(unit) for protocol in dispatching))


def commands_all(policy: str, protocol: Any) -> bool:
    """Whether a coordinator with this policy and vertical protocol commands everything below without a protocol."""
    voiced = protocol is not None and (protocol.speaks or protocol.commands_children)
    return policy == CENTRALIZED or (policy == PYTHON and not voiced)
