"""The columns of a three-phase network to the tables that the power-flow methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from powergrid.powerflow.compiled import Compiled, connected_parts
from powergrid.powerflow.phase_faults import check_phases
from powergrid.powerflow.phase_tables import edges, phase_tables
from powergrid.powerflow.topology import SWITCH_PU, Elements, Place, Topologies, moving_blocks

if TYPE_CHECKING:
    from powergrid.networks.unbalanced import UnbalancedNetwork


def compile_phases(
    network: UnbalancedNetwork, topologies: Sequence[Elements] = (), forming: Sequence[Sequence[Place]] = ()
) -> Compiled:
    """Fuse closed switches, look for faults, and number the nodes, the source last.

    Raises
    ------
    NetworkFaults
        If the network cannot be solved as it stands, with every fault: see
        :func:`powergrid.powerflow.phase_faults.check_phases`.
    """
    branches, m = network.branches, len(network.buses.name)
    kind, closed = np.array(branches.kind, dtype=object), np.asarray(branches.closed, bool)
    from_bus, to_bus = np.asarray(branches.from_bus, np.int64), np.asarray(branches.to_bus, np.int64)
    chosen = Topologies(network, topologies, forming)
    switch, live = closed & (kind == "switch") & ~chosen.moves, closed & (kind == "regulator")
    part = connected_parts(m, from_bus[switch], to_bus[switch])
    tables = phase_tables(network)
    check_phases(network)
    node = _node_of_bus(part, network.source_nodes)
    series = np.divide(1.0, np.asarray(branches.r_pu) + 1j * np.asarray(branches.x_pu), where=live,
                       out=np.zeros(len(live), complex))  # fmt: skip
    series[chosen.moves & (kind == "switch")] = 1.0 / SWITCH_PU
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
        moving=moving_blocks(chosen, tables, m, lambda closed: edges(network, tables, closed)),
    )


def _node_of_bus(part: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Number the parts in order of their first bus, the source's parts last, phase by phase."""
    _, first = np.unique(part, return_index=True)
    held = part[sources].tolist()
    order = [label for label in part[np.sort(first)] if label not in held] + held
    number = np.empty(len(first), np.int64)
    number[order] = np.arange(len(order))
    node_of_bus: np.ndarray = number[part]
    return node_of_bus
