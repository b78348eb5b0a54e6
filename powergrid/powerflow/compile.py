"""Network columns to the matrices and index tables that every power-flow method shares.

Everything is per unit on 1 MVA and the buses' nominal voltages, so a power in MW and its per-unit value are the same
number. A branch is a pi section behind an ideal ratio at its from bus (Zimmerman, Murillo-Sanchez and Thomas,
"MATPOWER", IEEE Trans. Power Syst. 26(1), 2011, eq. 2), with ``c = 1 / a`` the complex no-load gain::

    y_ff = (y_s + y_h) |c|^2    y_ft = -y_s conj(c)    y_tf = -y_s c    y_tt = y_s + y_h
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.kinds import AnyNetwork
from powergrid.powerflow.compile_phases import compile_phases
from powergrid.powerflow.compiled import (
    Compiled,
    PhaseTables,
    Terms,
    connected_parts,
    injected_powers,
    no_load_voltages,
)
from powergrid.powerflow.faults import check, fixed_topology
from powergrid.powerflow.inputs import batch_shape
from powergrid.powerflow.topology import SWITCH_PU, Elements, Place, Topologies, moving_elements

if TYPE_CHECKING:
    from powergrid.networks.network import Network
    from powergrid.networks.tables import Branches

__all__ = [
    "Compiled",
    "PhaseTables",
    "Terms",
    "batch_shape",
    "compile_network",
    "connected_parts",
    "injected_powers",
    "no_load_voltages",
]


def compile_network(
    network: AnyNetwork,
    topologies: Sequence[Elements] = (),
    forming: Sequence[Sequence[Place]] = (),
    *,
    generators: bool = False,
) -> Compiled:
    """Fuse closed switches, check the islands and turn the columns into per-unit admittances.

    Parameters
    ----------
    network
        A :class:`~powergrid.networks.Network` or an :class:`~powergrid.networks.UnbalancedNetwork`.
    topologies
        Branches that stand differently in each further topology. A switch that one of them opens or closes is not
        fused but becomes a branch of a negligible resistance.
    forming
        Buses that hold the islands of each further topology.
    generators
        True if the caller handles generators that hold a voltage, and several sources.

    Raises
    ------
    NetworkFaults
        If the network cannot be solved as it stands, with every fault: see :func:`powergrid.powerflow.faults.check`.
    NetworkError
        If it holds generators or several sources and the caller cannot handle them.
    """
    if network.is_three_phase:
        return compile_phases(network, topologies, forming)
    branches, buses, m = network.branches, network.buses, len(network.buses.name)
    kind = np.array(branches.kind, dtype=object)
    closed = np.asarray(branches.closed, bool)
    chosen = Topologies(network, topologies, forming)
    moves = chosen.moves
    check(network, moves)
    if not generators:
        _refuse_generators(network, bool(len(topologies)))
    switch, live = closed & (kind == "switch") & ~moves, closed & ((kind != "switch") | moves)
    from_bus, to_bus = np.asarray(branches.from_bus, np.int64), np.asarray(branches.to_bus, np.int64)
    node = _node_of_bus(connected_parts(m, from_bus[switch], to_bus[switch]), network.source_bus)

    impedance = np.asarray(branches.r_pu) + 1j * np.asarray(branches.x_pu)
    impedance = np.where((kind == "switch") & moves, SWITCH_PU, impedance)
    conducts = live | moves
    series = np.divide(1.0, impedance, out=np.zeros(len(live), complex), where=conducts)
    half_shunt = np.where(conducts, 0.5 * (np.asarray(branches.g_pu) + 1j * np.asarray(branches.b_pu)), 0)
    shift = np.deg2rad(np.asarray(branches.shift_degree, float))
    ratio, vn_kv = np.asarray(branches.ratio, float), np.asarray(buses.vn_kv, float)
    percent_from, percent_to = _percent_per_pu(branches, kind, vn_kv[from_bus], vn_kv[to_bus])
    shunts = network.shunts
    shunt_bus, drawn = np.asarray(shunts.bus, np.int64), np.asarray(shunts.p_mw) + 1j * np.asarray(shunts.q_mvar)
    switchable = np.asarray(shunts.switchable, bool)
    fixed = np.zeros(m, complex)
    np.add.at(fixed, shunt_bus[~switchable], drawn[~switchable])
    gain = np.exp(-1j * shift) / ratio
    return Compiled(
        n_bus=m,
        n_branch=len(live),
        n_node=int(node.max()),
        node=node,
        source_bus=int(network.source_bus),
        source_v_pu=float(network.source_v_pu),
        branch_name=tuple(branches.name),
        from_bus=from_bus,
        to_bus=to_bus,
        from_node=node[from_bus],
        to_node=node[to_bus],
        live=live,
        switch=switch,
        series=series,
        half_shunt=half_shunt,
        gain=gain,
        percent_from=percent_from,
        percent_to=percent_to,
        regulator=np.asarray(network.regulators.branch, np.int64),
        shunt=fixed,
        cap_bus=shunt_bus[switchable],
        cap=drawn[switchable],
        moving=moving_elements(chosen, from_bus, to_bus, series, half_shunt, gain),
        other_source_bus=np.asarray(network.sources.bus, np.int64),
    )


def _refuse_generators(network: Network, changing: bool) -> None:
    """Raise if something beside the source holds a voltage; the message names the remedy."""
    names = [*network.generators.name, *network.sources.name]
    if names:
        if changing:
            issue = fixed_topology(network, holding(network))
            raise NetworkError(f"{issue.message}; {issue.hint}")
        shown = ", ".join(f'"{name}"' for name in names[:5]) + (", ..." if len(names) > 5 else "")
        raise NetworkError(
            f'"{network.name}" holds {len(network.generators.name)} generators at a set voltage and '
            f'{len(network.sources.name)} further sources ({shown}); solve it with method="newton"'
        )


def holding(network: Network) -> str:
    """``3 generators and 1 further source hold a voltage``; an empty text where nothing beside the source does."""
    counted = ((len(network.generators.name), "generator"), (len(network.sources.name), "further source"))
    found = [f"{count} {what}{'s' * (count > 1)}" for count, what in counted if count]
    total = sum(count for count, _ in counted)
    return f"{' and '.join(found)} hold{'s' * (total == 1)} a voltage" if found else ""


def _node_of_bus(part: np.ndarray, source_bus: int) -> np.ndarray:
    """Number the parts in order of their first bus, the source's part last."""
    _, first = np.unique(part, return_index=True)
    order = [label for label in part[np.sort(first)] if label != part[source_bus]]
    number = np.empty(len(first), np.int64)
    number[order] = np.arange(len(order))
    number[part[source_bus]] = len(order)
    node_of_bus: np.ndarray = number[part]
    return node_of_bus


def _percent_per_pu(
    branches: Branches, kind: np.ndarray, from_kv: np.ndarray, to_kv: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Loading per pu of current at either end [%/pu].

    Lines are rated in kA. Everything else is rated in MVA: the rated current of a winding is that power over its rated
    voltage (IEC 60076-1, 3.4), where none is known over the to bus's nominal voltage, seen through the ideal ratio. A
    regulator, whose ratio moves, is read at its to end.
    """
    line, root3, rating = kind == "line", np.sqrt(3.0), np.asarray(branches.rating, float)
    winding_kv = [
        np.where(np.isnan(rated_kv), usual_kv, rated_kv)
        for rated_kv, usual_kv in ((branches.rated_from_kv, from_kv * branches.ratio), (branches.rated_to_kv, to_kv))
    ]
    rated_from, rated_to = (
        np.where(line, rating * root3 * kv, rating * np.divide(kv, own, out=np.full(len(kind), np.inf), where=own > 0))
        for kv, own in zip((from_kv, to_kv), winding_kv, strict=True)
    )
    percent_from = np.divide(100.0, rated_from, out=np.zeros(len(kind)), where=rated_from > 0)
    percent_to = np.divide(100.0, rated_to, out=np.zeros(len(kind)), where=rated_to > 0)
    return np.where(kind == "regulator", 0.0, percent_from), percent_to
