"""Names of observations and actions that agents of one role share, without ids, sites and buses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from powergrid.agents.base import Agent
from powergrid.core.types import Entry
from powergrid.worlds.world import World

Name = tuple[str, str]
"""A name and its unit."""


def roles_of(world: World) -> dict[str, tuple[str, ...]]:
    """Acting agents by role, in their order: those of one class, such as batteries or microgrid controllers.

    A role is called what its agents' ids have in common before the number, such as ``ess`` of ``ess_1`` and ``ess_2``,
    else what its class is called.
    """
    agents = {agent.id: agent for agent in world.agents}
    by_class: dict[str, list[str]] = {}
    for id in world.layout.actors:
        by_class.setdefault(_kind(agents[id]), []).append(id)
    found: dict[str, tuple[str, ...]] = {}
    for kind, ids in by_class.items():
        prefixes = {id.rpartition("_")[0] or id for id in ids}
        usual = prefixes.pop() if len(prefixes) == 1 else kind
        found[usual if usual not in found else kind] = tuple(ids)
    return found


class RoleNames:
    """Names of what an agent sees and does, from where it stands.

    The agent's own numbers have no owner, those of other things its kind, with a number from the second of a kind on:
    ``soc``, ``storage.p``, ``storage_2.p``, ``load_p_pu+1h``, ``storage.bus.v``.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    """

    def __init__(self, world: World):
        self._agents = {agent.id: agent for agent in world.agents}
        self._three_phase = world.network.is_three_phase
        self._longest_first = sorted(self._agents, key=len, reverse=True)

    def of(self, agent: str, entries: Sequence[tuple[str, Entry]]) -> list[Name]:
        """Names of an agent's entries, in order, each once."""
        numbers = _Numbers()
        beside = ""  # the device or meter whose buses come next
        found: list[Name] = []
        for owner, entry in entries:
            name = self._without_ids(entry.name, numbers)
            if owner == agent:
                full = name
            elif owner in self._agents:
                beside = numbers.of(_kind(self._agents[owner]), owner) + "."
                full = beside + name
            elif not owner:
                series, plus, hours = entry.name.partition("+")
                full = numbers.of(series.partition(":")[0], series) + plus + hours
            elif owner.startswith("bus_"):
                bus, dot, phase = owner.rpartition(".") if self._three_phase else (owner, "", "")
                full = f"{numbers.of(f'{beside}bus', bus)}{dot}{phase}.{name}"
            else:
                beside = ("source" if owner == "source" else numbers.of("meter", owner)) + "."
                full = beside + name
            found.append((full, entry.unit))
        return found

    def _without_ids(self, name: str, numbers: _Numbers) -> str:
        """A name such as ``msg_0_from_microgrid_2`` with another agent's id replaced."""
        for id in self._longest_first:
            if name.endswith(f"_{id}"):
                return name.removesuffix(id) + numbers.of("peer", id)
        return name


class _Numbers:
    """Numbers of things of one kind, in the order in which they appear."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}

    def of(self, kind: str, thing: str) -> str:
        """The kind, with the number of the thing from the second one on."""
        known = self._seen.setdefault(kind, {})
        number = known.setdefault(thing, len(known) + 1)
        return kind if number == 1 else f"{kind}_{number}"


def shared_order(names: Sequence[Sequence[Name]]) -> list[Name]:
    """Names of several agents in one order: first those that all have, then the others, each as it first appears."""
    every = dict.fromkeys(name for own in names for name in own)
    common = set(every).intersection(*map(set, names))
    return [name for name in every if name in common] + [name for name in every if name not in common]


def _kind(agent: Agent) -> str:
    """The class of an agent, such as ``ev_charger``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(agent).__name__).lower()
