"""Which meter pays for which energy: every unit of energy passes exactly one paying meter.

Meters on branches cut the network into zones. A zone hangs on the meter between it and the source, and so does every
meter inside it: what the inner meters read is theirs, and the outer one pays for the rest, as in subtractive metering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from powergrid.core.errors import NetworkError, nearest
from powergrid.networks import terminals

SOURCE = ""
"""Place of a meter that sits at the network's source."""
UNIT = "unit:"
"""Prefix of the place of a meter that sits at a device's own terminal."""


class Metering(NamedTuple):
    """Places of meters and what lies directly behind each.

    Attributes
    ----------
    places
        A branch, :data:`SOURCE` or :data:`UNIT` and a device, each once.
    outer
        Index of the place directly around each, -1 where nothing meters what it reads once more, ``(p,)``.
    of_node
        Index of the place that meters each node of the network first, -1 where none does, ``(m,)``.
    of_unit
        Index of the place that meters each unit first, by id; -1 where none does.
    """

    places: tuple[str, ...]
    outer: np.ndarray
    of_node: np.ndarray
    of_unit: Mapping[str, int]

    @property
    def nested(self) -> dict[int, list[int]]:
        """Indices of the places directly behind each that has any."""
        found: dict[int, list[int]] = {}
        for place, outer in enumerate(self.outer.tolist()):
            if outer >= 0:
                found.setdefault(outer, []).append(place)
        return found


def moving_branches(network: Any, agents: Sequence[Any], outages: Sequence[Any] = ()) -> list[int]:
    """Rows of the branches that switches move and outages open during an episode."""
    switched = [agent.bus for agent in agents if getattr(agent, "role", "") == "switch"]
    found = [row for place in switched for row in terminals.branch_rows(network, place)]
    return found + [row for outage in outages for rows in outage.branches for row in rows]


def metering(
    network: Any, places: Sequence[str], units: Mapping[str, Sequence[int]], moving: Sequence[int] = ()
) -> Metering:
    """Find out what each meter measures first.

    Parameters
    ----------
    network
        The network's columns.
    places
        Places of meters, each once.
    units
        Nodes of each injecting unit.
    moving
        Rows of branches that switch or fail during an episode: they count as closed.

    Raises
    ------
    NetworkError
        If a metered branch does not exist, or what lies behind it is also fed another way.
    """
    at_branch = [place for place in places if place != SOURCE and not place.startswith(UNIT)]
    rows = {place: terminals.branch_rows(network, place) for place in at_branch}
    for place in at_branch:
        if not rows[place]:
            raise NetworkError(f'no branch "{place}" to meter; {nearest(place, network.branches.name)}')
    index = {place: i for i, place in enumerate(places)}
    zone, hangs_on = _zones(network, rows, moving)
    of_node = np.array([index.get(place, -1) for place in hangs_on], dtype=int)[zone]
    of_unit = {id: _one(of_node[list(nodes)], id, places) for id, nodes in units.items()}
    outer = np.full(len(places), -1)
    for place, branches in rows.items():
        outer[index[place]] = of_node[network.branches.from_bus[branches[0]]]
    for id, around in of_unit.items():
        own = index.get(UNIT + id)
        if own is not None:
            outer[own], of_unit[id] = around, own
    return Metering(tuple(places), outer, of_node, of_unit)


def _one(around: np.ndarray, unit: str, places: Sequence[str]) -> int:
    if len(set(around.tolist())) > 1:
        found = " and ".join(f'"{places[i] or "source"}"' if i >= 0 else "none" for i in sorted(set(around.tolist())))
        raise NetworkError(f'the phases of device "{unit}" lie behind different meters ({found}); meter all its phases')
    return int(around[0])


def _zones(network: Any, rows: Mapping[str, Sequence[int]], moving: Sequence[int]) -> tuple[np.ndarray, list[Any]]:
    """Zone of each node, and the place of the meter that each zone hangs on; ``None`` where nothing feeds it."""
    branches, count = network.branches, len(network.buses.name)
    closed = np.array(branches.closed, dtype=bool)
    closed[list(moving)] = True
    for metered in rows.values():
        closed[list(metered)] = False
    source = np.array(network.source_nodes if network.is_three_phase else [network.source_bus])
    alike = [source]  # the phases of a meter, and those of the source, lie on the same side
    alike += [side[list(metered)] for metered in rows.values() for side in (branches.from_bus, branches.to_bus)]
    one = np.concatenate([branches.from_bus[closed], *(nodes[:1].repeat(len(nodes)) for nodes in alike)])
    other = np.concatenate([branches.to_bus[closed], *alike])
    links = coo_array((np.ones(len(one)), (one, other)), shape=(count, count))
    zones, zone = connected_components(links, directed=False)
    hangs_on: list[str | None] = [None] * zones
    hangs_on[zone[source[0]]] = SOURCE
    waiting = dict(rows)
    while waiting:
        fed = [p for p, metered in waiting.items() if hangs_on[zone[branches.from_bus[metered[0]]]] is not None]
        for place in fed or waiting:
            behind = zone[branches.to_bus[rows[place][0]]]
            if not fed or hangs_on[behind] is not None:
                raise NetworkError(
                    f'meter "{place}" does not separate what lies behind it from the source, so that it would charge '
                    "for energy that goes another way; put it on a branch that alone connects its to bus, with its "
                    "from bus towards the source"
                )
            hangs_on[behind] = place
            del waiting[place]
    return zone, hangs_on
