"""The columns of a three-phase network to the tables that the power-flow methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.powerflow.compile import Compiled, PhaseTables, connected_parts
from powergrid.powerflow.topology import SWITCH_PU, Topologies, moving_blocks

if TYPE_CHECKING:
    from powergrid.networks.unbalanced import UnbalancedNetwork


def compile_phases(network: UnbalancedNetwork, topologies: Sequence[Any] = (), forming: Sequence[Any] = ()) -> Compiled:
    """Fuse closed switches, check that every node has a path to the source, and number the nodes, the source last.

    Raises
    ------
    NetworkError
        If nodes are not connected to the source.
    """
    branches, blocks, m = network.branches, network.blocks, len(network.buses.name)
    kind, closed = np.array(branches.kind, dtype=object), np.asarray(branches.closed, bool)
    from_bus, to_bus = np.asarray(branches.from_bus, np.int64), np.asarray(branches.to_bus, np.int64)
    given = Topologies(network, topologies, forming)
    switch, live = closed & (kind == "switch") & ~given.moves, closed & (kind == "regulator")
    part = connected_parts(m, from_bus[switch], to_bus[switch])
    tables = PhaseTables(
        blocks.size, blocks.node, blocks.y_pu, blocks.row, blocks.at_to,
        np.divide(100.0, blocks.rated_pu, out=np.zeros(len(blocks.node)), where=blocks.rated_pu > 0),
        network.pairs.first, network.pairs.second, network.source_nodes,
    )  # fmt: skip

    def joined(closed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edges between nodes with the branches `closed`: switches and regulators, and what blocks couple."""
        (rows, columns), own = tables.entries, closed & np.isin(kind, ("switch", "regulator"))
        couples = closed[tables.row[rows]] & (np.abs(tables.y) > 0)
        return (
            np.concatenate([from_bus[own], tables.bus[rows[couples]]]),
            np.concatenate([to_bus[own], tables.bus[columns[couples]]]),
        )

    _check_connected(network, joined(closed))
    node = _node_of_bus(part, network.source_nodes)
    series = np.divide(1.0, np.asarray(branches.r_pu) + 1j * np.asarray(branches.x_pu), where=live,
                       out=np.zeros(len(live), complex))  # fmt: skip
    series[given.moves & (kind == "switch")] = 1.0 / SWITCH_PU
    nothing, shunts = np.zeros(len(live)), network.shunts
    switchable = np.asarray(shunts.switchable, bool)
    drawn, fixed = shunts.p_mw + 1j * shunts.q_mvar, np.zeros(m, complex)
    np.add.at(fixed, shunts.bus[~switchable], drawn[~switchable])
    return Compiled(
        n_bus=m,
        n_branch=len(live),
        n_node=int(node.max()) + 1 - len(network.source_nodes),
        node=node,
        source_bus=network.source_bus,
        source_v_pu=float(network.source_v_pu),
        branch_name=tuple(branches.name),
        from_bus=from_bus,
        to_bus=to_bus,
        from_node=node[from_bus],
        to_node=node[to_bus],
        live=live,
        switch=switch,
        series=series,
        half_shunt=nothing.astype(complex),
        gain=1.0 / np.asarray(branches.ratio, complex),
        percent_from=nothing,
        percent_to=nothing,
        regulator=np.asarray(network.regulators.branch, np.int64),
        shunt=fixed,
        cap_bus=np.asarray(shunts.bus[switchable], np.int64),
        cap=drawn[switchable],
        source_phasor=np.exp(1j * np.deg2rad(network.source_angle_degree)),
        phases=tables,
        moving=moving_blocks(given, tables, m, joined),
    )


def _node_of_bus(part: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Number the parts in order of their first bus, the source's parts last, phase by phase."""
    _, first = np.unique(part, return_index=True)
    held = part[sources].tolist()
    order = [label for label in part[np.sort(first)] if label not in held] + held
    number = np.empty(len(first), np.int64)
    number[order] = np.arange(len(order))
    return number[part]


def _check_connected(network: UnbalancedNetwork, edges: tuple[np.ndarray, np.ndarray]) -> None:
    """Raise if a node has no path to the source."""
    names = network.buses.name
    island = connected_parts(len(names), *edges)
    dead = [names[i] for i in np.flatnonzero(~np.isin(island, island[network.source_nodes]))]
    if dead:
        shown = ", ".join(dead[:10]) + (f" and {len(dead) - 10} more" if len(dead) > 10 else "")
        raise NetworkError(
            f'"{network.name}" has {len(dead)} of {len(names)} nodes without a path to the source: {shown}; close a '
            "switch, or give the lines that lead there the missing phase"
        )
