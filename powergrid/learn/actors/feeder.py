"""What a graph policy knows of a feeder: agents by role, features that mean the same on any feeder, and who is near.

**Roles.** Agents of one class that observe and set the same things have one role, wherever they are. What an agent
observes has a name without its id, its bus, and the site of a series: ``pv_1.p`` is ``p``, ``load_p_pu:res_2+1h`` is
``load_p_pu+1h``. Voltages of the buses that it sees become ``v_mean``, ``v_min`` and ``v_max``, so that plants on one,
two and three phases have one role. Powers and energies are divided by the agent's rating.

**Neighbours.** Nodes are the buses at which agents are connected. Two of them are neighbours where a path of closed
branches between them passes no third one; the edge holds the impedance of the path. Buses without agents pass messages
on and have no weights of their own, so that the reach of a round does not depend on how finely a feeder is modelled.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Entry
from powergrid.engine.assembly.neighbours import bus_of
from powergrid.networks import terminals

VOLTAGES = ("v_mean", "v_min", "v_max")
EDGE = ("log10(z / 0.01)", "r / z")
"""Features of an edge, of the path with the impedance ``z`` [pu on 1 MVA]."""

_SMALLEST_PU = 1e-4  # a closed switch
_POWERS = ("MW", "Mvar", "MVA", "MWh")


class Role(NamedTuple):
    """Agents that observe and set the same things.

    Attributes
    ----------
    name
        Name of the agents' class, with a number where a class has several roles.
    features, actions
        Names of what they observe and set.
    """

    name: str
    features: tuple[str, ...]
    actions: tuple[str, ...]


class Gather(NamedTuple):
    """Where the features of a group's agents are among what they observe.

    Attributes
    ----------
    role
        Number of the role.
    pick, divisor
        Place of each feature but the voltages, and what it is divided by, ``(n, P)``.
    volts, share
        Places of voltages, the first repeated where an agent sees fewer than others, and the share of each in the mean,
        ``(n, V)``; ``V`` is 0 where none is seen.
    node
        Node of each agent, ``(n,)``.
    """

    role: np.ndarray
    pick: np.ndarray
    divisor: np.ndarray
    volts: np.ndarray
    share: np.ndarray
    node: np.ndarray


class Feeder(NamedTuple):
    """What a graph policy knows of a feeder.

    Attributes
    ----------
    roles
        Roles of the agents.
    gathers
        By group.
    buses
        Names of the nodes.
    links
        Sender and receiver of each directed link, ``(E, 2)``.
    edges
        Features of the links, ``(E, 2)``, see :data:`EDGE`.
    sizes
        Length of one agent's observation, by group.
    """

    roles: tuple[Role, ...]
    gathers: Mapping[str, Gather]
    buses: tuple[str, ...]
    links: np.ndarray
    edges: np.ndarray
    sizes: Mapping[str, int]


def feeder_of(world: Any, groups: Mapping[str, Sequence[str]], trained: Sequence[Role] = ()) -> Feeder:
    """The feeder of a world, seen by the agents of `groups`.

    Parameters
    ----------
    world
        Network, agents and layout.
    groups
        Agents by group.
    trained
        Roles of a policy that agents take; those that they have here, if there are none.

    Raises
    ------
    ConfigError
        If agents of one group have different roles.
    """
    known = _Agents(world)
    members = [agent for group in groups.values() for agent in group]
    at = {agent: bus_name(world.network, known.agents[agent]) for agent in members}
    buses = tuple(dict.fromkeys(at.values()))
    own_roles = dict.fromkeys(known.role(agent) for agent in members)
    roles = _numbered(own_roles)
    order = tuple(trained) or tuple(roles.values())
    number = {role: order.index(taken(role, trained) if trained else roles[role]) for role in own_roles}
    gathers = {}
    for group, own in groups.items():
        mine = list(dict.fromkeys(known.role(agent) for agent in own))
        if len(mine) > 1:
            message = f'group "{group}" holds agents that are not alike: {difference(mine[0], mine[1])}'
            raise ConfigError([Issue("network", message, "give them ids that differ before the last underscore")])
        gathers[group] = known.gather(own, number[mine[0]], [buses.index(at[agent]) for agent in own])
    links, edges = _links(world.network, buses)
    sizes = {group: known.size(own[0]) for group, own in groups.items()}
    return Feeder(order, gathers, buses, links, edges, sizes)


def grouped(world: Any, agents: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Agents by role and length of their observations."""
    known = _Agents(world)
    alike: dict[tuple[Role, int], list[str]] = defaultdict(list)
    for agent in agents:
        alike[known.role(agent), known.size(agent)].append(agent)
    return {members[0]: tuple(members) for members in alike.values()}


def roles_of(world: Any) -> dict[str, Role]:
    """Role of each agent that acts, with the plain name of its class."""
    known = _Agents(world)
    return {agent: known.role(agent) for agent in world.layout.actors}


def taken(role: Role, trained: Sequence[Role]) -> Role:
    """The trained role that agents of a `role` take.

    Raises
    ------
    LookupError
        If there is none; the text says what differs from the most similar one.
    """
    alike = [other for other in trained if other.name == role.name or other.name.startswith(f"{role.name}_")]
    for other in alike:
        if other[1:] == role[1:]:
            return other
    if not alike:
        raise LookupError(f"has the role {role.name}, the run has trained {', '.join(other.name for other in trained)}")
    nearest = max(alike, key=lambda other: len({*other.features, *other.actions} & {*role.features, *role.actions}))
    said = difference(role, nearest._replace(name=role.name))
    raise LookupError(f"has the role {role.name} with other entries than in training: {said}")


def difference(one: Role, other: Role) -> str:
    """What two roles do not have in common, as a sentence."""
    said = [] if one.name == other.name else [f"{one.name} and {other.name}"]
    for what, mine, theirs in (("features", one.features, other.features), ("actions", one.actions, other.actions)):
        only = [[name for name in first if name not in second] for first, second in ((mine, theirs), (theirs, mine))]
        if any(only):
            said.append(f"{what} {_some(only[0])} here, {_some(only[1])} there")
        elif mine != theirs:
            said.append(f"{what} in another order")
    return "; ".join(said)


def bus_name(network: Any, agent: Any) -> str:
    """Bus at which an agent is connected; that of the shunt for a capacitor."""
    shunts = [device for device in (agent, *agent.descendants()) if getattr(device, "role", "") == "cap"]
    if shunts and shunts[0] is agent:
        names = network.buses.bus if network.is_three_phase else network.buses.name
        row = terminals_of_shunt(network, agent.bus)
        return str(names[row])
    return bus_of(network, agent)


def terminals_of_shunt(network: Any, name: str) -> int:
    """Node of the first shunt of this name, or of its bus."""
    table = network.shunts
    for row, shunt in enumerate(table.name):
        if shunt == name or str(network.buses.name[table.bus[row]]) == name:
            return int(table.bus[row])
    return int(terminals.node_of_place(network)[0])


class _Agents:
    """Agents of a world with their observations."""

    def __init__(self, world: Any):
        self._world, self._layout = world, world.layout
        every = [agent for top in world.agents for agent in (top, *top.descendants())]
        self.agents = {agent.id: agent for agent in every}
        self._row = {agent: row for row, agent in enumerate(self._layout.actors)}
        self._roles: dict[str, Role] = {}

    def size(self, agent: str) -> int:
        """Length of an observation."""
        return int(self._layout.view.sizes[self._row[agent]])

    def role(self, agent: str) -> Role:
        """Role of an agent."""
        if agent not in self._roles:
            names = [name for name in self._names(agent) if name != _VOLTAGE]
            voltages = VOLTAGES if len(names) < self.size(agent) else ()
            actions = [self._short(agent, *named) for named in self._layout.action_entries[self._row[agent]]]
            kind = type(self.agents[agent]).__name__
            self._roles[agent] = Role(kind, (*_distinct(names), *voltages), tuple(_distinct(actions)))
        return self._roles[agent]

    def gather(self, agents: Sequence[str], role: int, nodes: list[int]) -> Gather:
        """Places of the features of agents of one role and size."""
        view, rows = self._layout.view, []
        for agent in agents:
            names, rating = self._names(agent), self._rating(agent)
            entries = [view.entries[i][1] for i in view.features(self._row[agent])]
            plain = [place for place, name in enumerate(names) if name != _VOLTAGE]
            volts = [place for place, name in enumerate(names) if name == _VOLTAGE]
            rows.append((plain, [rating if entries[place].unit in _POWERS else 1.0 for place in plain], volts))
        most = max(len(volts) for *_, volts in rows)
        padded = [[*volts, *volts[:1] * (most - len(volts))] for *_, volts in rows]
        share = [[1.0 / max(len(volts), 1)] * len(volts) + [0.0] * (most - len(volts)) for *_, volts in rows]
        return Gather(
            np.array(role),
            np.array([plain for plain, *_ in rows], np.int64),
            np.array([divisor for _, divisor, _ in rows], np.float32),
            np.array(padded, np.int64).reshape(len(agents), most),
            np.array(share, np.float32).reshape(len(agents), most),
            np.array(nodes, np.int64),
        )

    def _rating(self, agent: str) -> float:
        """Largest power or energy that an agent sets, else 1 [MW, Mvar or MWh]."""
        entries = [entry for _, entry in self._layout.action_entries[self._row[agent]] if entry.unit in _POWERS]
        return max((max(abs(entry.low), abs(entry.high)) for entry in entries), default=0.0) or 1.0

    def _names(self, agent: str) -> list[str]:
        """Names of what an agent observes, in order, alike on any feeder."""
        view = self._layout.view
        return [self._short(agent, *view.entries[i]) for i in view.features(self._row[agent])]

    def _short(self, agent: str, owner: str, entry: Entry) -> str:
        """Name of one entry, without ids, buses and sites."""
        if not owner:
            name, _, site = entry.name.partition(":")
            return f"{name}{site[site.rindex('+') :]}" if "+" in site else name
        if owner == agent:
            return entry.name
        if owner.startswith("bus_") and entry.name == "v":
            return _VOLTAGE
        other = self.agents.get(owner)
        return f"{type(other).__name__ if other is not None else 'branch'}.{entry.name}"


_VOLTAGE = "v"


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, numbered where one stands several times."""
    count, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name}#{seen[name]}" if count[name] > 1 else name)
    return found


def _numbered(roles: Mapping[Role, None]) -> dict[Role, Role]:
    """Roles with names of their own."""
    kinds, found = Counter[str](), {}
    for role in roles:
        kinds[role.name] += 1
        number = kinds[role.name]
        found[role] = role if number == 1 else role._replace(name=f"{role.name}_{number}")
    return found


def _some(names: Sequence[str]) -> str:
    """A few names."""
    shown = ", ".join(names[:4]) or "none"
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def _links(network: Any, buses: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Directed links between neighbours in order of the receiver, and their features."""
    near = _impedances(network)
    number = {bus: node for node, bus in enumerate(buses)}
    links, edges = [], []
    for receiver, bus in enumerate(buses):
        for other, (r_pu, x_pu) in sorted(_reached(near, bus, number).items(), key=lambda pair: number[pair[0]]):
            z_pu = max(float(np.hypot(r_pu, x_pu)), _SMALLEST_PU)
            links.append((number[other], receiver))
            edges.append((np.log10(z_pu / 0.01), r_pu / z_pu))
    return np.array(links, np.int64).reshape(-1, 2), np.array(edges, np.float32).reshape(-1, 2)


def _impedances(network: Any) -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Impedance of the closed branches between two buses [pu on 1 MVA], the mean over phases and circuits."""
    names = network.buses.bus if network.is_three_phase else network.buses.name
    table, series = network.branches, _series(network)
    parts: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in np.flatnonzero(table.closed):
        one, other = str(names[table.from_bus[row]]), str(names[table.to_bus[row]])
        parts[one, other].append((float(series[row].real), float(series[row].imag)))
    near: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for (one, other), impedances in parts.items():
        r_pu, x_pu = np.abs(np.mean(impedances, axis=0)).tolist()
        near[one][other] = near[other][one] = (r_pu, x_pu)
    return near


def _series(network: Any) -> np.ndarray:
    """Series impedance of each branch, ``(b,)`` complex [pu on 1 MVA].

    Of a block of conductors it is the diagonal of the impedance matrix ``-Y_ft^-1`` between its ends; three-phase
    networks state impedances on 1 MVA a phase.
    """
    table = network.branches
    found: np.ndarray = np.nan_to_num(table.r_pu) + 1j * np.nan_to_num(table.x_pu)
    if not network.is_three_phase:
        return found
    blocks = network.blocks
    terminals_at, entries_at = (np.cumsum([0, *sizes]).tolist() for sizes in (blocks.size, blocks.size**2))
    for number, size in enumerate(blocks.size.tolist()):
        own = slice(terminals_at[number], terminals_at[number] + size)
        admittance = blocks.y_pu[entries_at[number] : entries_at[number] + size**2].reshape(size, size)
        at_to, row = blocks.at_to[own], blocks.row[own]
        ends = [np.flatnonzero(end)[np.argsort(row[end], kind="stable")] for end in (~at_to, at_to)]
        if len(ends[0]) == len(ends[1]):
            impedance = np.linalg.pinv(-admittance[np.ix_(*ends)])
            found[row[ends[0]]] += np.diag(impedance)
    return found / 3.0


def _reached(
    near: Mapping[str, Mapping[str, tuple[float, float]]], start: str, nodes: Mapping[str, int]
) -> dict[str, tuple[float, float]]:
    """Nodes that a path from `start` reaches before any other node, with the least impedance of such paths."""
    found: dict[str, tuple[float, float]] = {}
    done: set[str] = set()
    waiting = [(0.0, start, 0.0, 0.0)]
    while waiting:
        length, bus, r_pu, x_pu = heapq.heappop(waiting)
        if bus in done:
            continue
        done.add(bus)
        if bus in nodes and bus != start:
            found[bus] = (r_pu, x_pu)
            continue
        for other, (r, x) in near.get(bus, {}).items():
            if other not in done:
                heapq.heappush(waiting, (length + float(np.hypot(r, x)), other, r_pu + r, x_pu + x))
    return found
