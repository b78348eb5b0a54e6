"""The one-line diagram of a three-phase network: one row per bus and per element, for pictures and summaries."""

from __future__ import annotations

import numpy as np

from powergrid.networks.layout import tree_layout
from powergrid.networks.network import Network
from powergrid.networks.tables import Branches, Buses, Loads, Regulators, Shunts
from powergrid.networks.unbalanced import UnbalancedNetwork


def one_line(network: UnbalancedNetwork) -> Network:
    """A network of the buses and elements, without loads and impedances; a bus with fewer phases names them.

    A bus ``611`` that has only phase c is called ``611 c``. Capacitors in delta are left out.
    """
    nodes, rows = network.buses, network.branches
    bus_of, first = bus_of_node(network), first_nodes(network)
    present = {bus: network.phases_of(bus) for bus in dict.fromkeys(nodes.bus)}
    names = tuple(bus if phases == "abc" else f"{bus} {phases}" for bus, phases in present.items())
    buses = Buses(names, nodes.vn_kv[first], tuple(nodes.area[k] for k in first), nodes.x[first], nodes.y[first])
    kept = first_rows(network)
    kept = kept[bus_of[rows.from_bus[kept]] != bus_of[rows.to_bus[kept]]]
    nothing, shunts, zeros = np.zeros(0), network.shunts, np.zeros(len(kept))
    branches = Branches(
        name=tuple(rows.name[k][:-2] for k in kept),
        kind=tuple(rows.kind[k] for k in kept),
        from_bus=bus_of[rows.from_bus[kept]],
        to_bus=bus_of[rows.to_bus[kept]],
        r_pu=zeros,
        x_pu=zeros,
        g_pu=zeros,
        b_pu=zeros,
        ratio=np.ones(len(kept)),
        shift_degree=zeros,
        rating=rows.rating[kept],
        closed=rows.closed[kept],
    )
    return Network(
        name=network.name,
        buses=buses,
        branches=branches,
        regulators=Regulators(nothing.astype(int), *[nothing] * (len(Regulators._fields) - 1)),
        loads=Loads((), nothing.astype(int), nothing, nothing),
        shunts=Shunts(shunts.name, bus_of[shunts.bus], shunts.p_mw, shunts.q_mvar, shunts.switchable),
        source_bus=int(bus_of[network.source_bus]),
        source_v_pu=network.source_v_pu,
        f_hz=network.f_hz,
        source_note=network.source_note,
    )


def positions(network: Network | UnbalancedNetwork) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every bus or node: the network's own, or :func:`tree_layout` where any are missing."""
    buses = network.buses
    if np.isfinite(buses.x).all() and np.isfinite(buses.y).all():
        return buses.x, buses.y
    if network.is_three_phase:
        x, y = tree_layout(one_line(network))
        return x[bus_of_node(network)], y[bus_of_node(network)]
    return tree_layout(network)


def first_nodes(network: UnbalancedNetwork) -> np.ndarray:
    """First node of every bus."""
    return np.unique(bus_of_node(network), return_index=True)[1]


def first_rows(network: UnbalancedNetwork) -> np.ndarray:
    """First row of every element of the branches."""
    elements: dict[str, int] = {}
    for k, name in enumerate(network.branches.name):
        elements.setdefault(name[:-2], k)
    return np.array(list(elements.values()), dtype=int)


def furthest(network: UnbalancedNetwork, v_pu: np.ndarray) -> np.ndarray:
    """Voltage of that phase of every bus which lies furthest from 1 pu."""
    found = np.ones(len(first_nodes(network)))
    for bus, v in zip(bus_of_node(network), np.asarray(v_pu, float), strict=True):
        if abs(v - 1.0) > abs(found[bus] - 1.0):
            found[bus] = v
    return found


def highest(network: UnbalancedNetwork, loading: np.ndarray) -> np.ndarray:
    """Loading of the fullest phase of every element that :func:`one_line` draws."""
    found: dict[str, float] = {}
    buses, rows = network.buses.bus, network.branches
    for name, f, t, value in zip(rows.name, rows.from_bus, rows.to_bus, np.asarray(loading, float), strict=True):
        if buses[f] != buses[t]:
            found[name[:-2]] = float(np.fmax(found.get(name[:-2], np.nan), value))
    return np.array(list(found.values()))


def bus_of_node(network: UnbalancedNetwork) -> np.ndarray:
    """Number of every node's bus."""
    number = {name: k for k, name in enumerate(dict.fromkeys(network.buses.bus))}
    return np.array([number[name] for name in network.buses.bus], dtype=int)
