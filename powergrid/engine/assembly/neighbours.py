"""Which agents are electrical neighbours: those connected nearest along the feeder."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from powergrid.networks import terminals
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.regulation import regulators_at

MOST = 4
"""Most neighbours of an agent, so that what all agents observe grows linearly with their number."""


def neighbours(network: AnyNetwork, agents: Sequence[Any]) -> dict[str, list[str]]:
    """The nearest other agents of the same level of each agent, nearest first.

    Parameters
    ----------
    network
        The network.
    agents
        Agents to choose from.

    Returns
    -------
    dict
        Up to :data:`MOST` ids by id. Distance is the number of closed branches between the buses at which agents are
        connected; of agents at the same distance the first listed are nearer.
    """
    places = {agent.id: bus_of(network, agent) for agent in agents}
    linked = _linked(network)
    found = {}
    for level in {agent.level for agent in agents}:
        at = defaultdict(list)
        for agent in agents:
            if agent.level == level:
                at[places[agent.id]].append(agent.id)
        for ids in at.values():
            for id in ids:
                found[id] = _nearest(id, places[id], at, linked)
    return found


def bus_of(network: AnyNetwork, agent: Any) -> str:
    """Bus at which an agent is connected: at its meter, else its first device, else the source.

    An agent that moves a regulator or a switch is at the end of that branch.
    """
    devices = [device for device in (agent, *agent.descendants()) if hasattr(device, "role")]
    for device in sorted(devices, key=lambda device: device.role != "meter"):
        if device.role == "injection":
            return _bus(network, terminals.device_nodes(network, device)[0])
        if device.role == "tap":
            rows: Iterable[int] = (network.regulators.branch[row] for row in regulators_at(network, device.bus))
        else:
            rows = terminals.branch_rows(network, device.bus)
        for row in rows:
            return _bus(network, network.branches.to_bus[row])
    return _bus(network, network.source_nodes[0] if network.is_three_phase else network.source_bus)


def _bus(network: AnyNetwork, node: int) -> str:
    names = network.buses.bus if network.is_three_phase else network.buses.name
    return str(names[node])


def _linked(network: AnyNetwork) -> Mapping[str, Iterable[str]]:
    """Buses on the other side of each bus's closed branches."""
    linked: dict[str, dict[str, None]] = defaultdict(dict)
    table = network.branches
    for start, end, closed in zip(table.from_bus, table.to_bus, table.closed, strict=True):
        if closed:
            one, other = _bus(network, start), _bus(network, end)
            linked[one][other] = linked[other][one] = None
    return linked


def _nearest(id: str, start: str, at: Mapping[str, Sequence[str]], linked: Mapping[str, Iterable[str]]) -> list[str]:
    """Other ids in the order in which a search in breadth meets them."""
    found: list[str] = []
    seen, waiting = {start}, deque([start])
    while waiting and len(found) < MOST:
        layer = list(waiting)
        waiting.clear()
        here = [other for bus in layer for other in at.get(bus, ()) if other != id]
        found += here
        for bus in layer:
            for other in linked.get(bus, ()):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
    return found[:MOST]
