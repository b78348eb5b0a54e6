"""The columns of a three-phase network to the tables that the power-flow methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.powerflow.compile import Compiled, PhaseTables, connected_parts
from powergrid.powerflow.topology import SWITCH_PU, Topologies, moving_blocks

if TYPE_CHECKING:
    from powergrid.networks.unbalanced import UnbalancedNetwork


def compile_phases(network: UnbalancedNetwork, topologies: Sequence[Any] = (), forming: Sequence[Any] = ()) -> Compiled:
    """Fuse closed switches, look for faults, and number the nodes, the source last.

    Raises
    ------
    NetworkFaults
        If the network cannot be solved as it stands, with every fault: see :func:`powergrid.powerflow.faults.check`.
    """
    from powergrid.powerflow.faults import check

    branches, m = network.branches, len(network.buses.name)
    kind, closed = np.array(branches.kind, dtype=object), np.asarray(branches.closed, bool)
    from_bus, to_bus = np.asarray(branches.from_bus, np.int64), np.asarray(branches.to_bus, np.int64)
    given = Topologies(network, topologies, forming)
    switch, live = closed & (kind == "switch") & ~given.moves, closed & (kind == "regulator")
    part = connected_parts(m, from_bus[switch], to_bus[switch])
    tables = phase_tables(network)
    check(network)
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
        moving=moving_blocks(given, tables, m, lambda closed: edges(network, tables, closed)),
    )


def phase_tables(network: UnbalancedNetwork) -> PhaseTables:
    """Blocks, pairs and source nodes of a network."""
    blocks = network.blocks
    return PhaseTables(
        blocks.size, blocks.node, blocks.y_pu, blocks.row, blocks.at_to,
        np.divide(100.0, blocks.rated_pu, out=np.zeros(len(blocks.node)), where=blocks.rated_pu > 0),
        network.pairs.first, network.pairs.second, network.source_nodes,
    )  # fmt: skip


def edges(network: UnbalancedNetwork, tables: PhaseTables, closed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between nodes with the branches `closed`: switches and regulators, and what blocks couple."""
    branches = network.branches
    (rows, columns), own = tables.entries, closed & np.isin(branches.kind, ("switch", "regulator"))
    couples = closed[tables.row[rows]] & (tables.y != 0)
    return (
        np.concatenate([np.asarray(branches.from_bus, np.int64)[own], tables.bus[rows[couples]]]),
        np.concatenate([np.asarray(branches.to_bus, np.int64)[own], tables.bus[columns[couples]]]),
    )


def _node_of_bus(part: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Number the parts in order of their first bus, the source's parts last, phase by phase."""
    _, first = np.unique(part, return_index=True)
    held = part[sources].tolist()
    order = [label for label in part[np.sort(first)] if label not in held] + held
    number = np.empty(len(first), np.int64)
    number[order] = np.arange(len(order))
    return number[part]
