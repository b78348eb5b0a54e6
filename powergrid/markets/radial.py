"""Tables of a radial feeder: who feeds whom, and with which impedance."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from powergrid.core.errors import NetworkError
from powergrid.markets.model import RadialFlow
from powergrid.networks.network import Network
from powergrid.powerflow.compile import Compiled


def tree(network: Network, compiled: Compiled) -> RadialFlow:
    """Order a feeder by its nodes, each with the branch that feeds it.

    Raises
    ------
    NetworkError
        If the network is meshed, or has generators that hold a voltage.
    """
    _refuse_generators(network)
    n, size, live = compiled.n_node, compiled.n_node + 1, np.flatnonzero(compiled.live)
    ends = compiled.from_node[live], compiled.to_node[live]
    graph = coo_array((np.ones(len(live)), ends), shape=(size, size))
    order, feeder = breadth_first_order(graph.tocsr(), n, directed=False)
    branch, forward = np.full(n, -1), np.zeros(n, bool)
    used = np.zeros(compiled.n_branch, bool)
    for row, start, end in zip(live.tolist(), *ends, strict=True):
        for child, parent, is_forward in ((end, start, True), (start, end, False)):
            if child < n and feeder[child] == parent and branch[child] < 0:
                branch[child], forward[child], used[row] = row, is_forward, True
    _refuse_meshes(network, compiled, used)

    parent, above = np.zeros((n, n)), np.zeros((n, n))
    for node in order[1:]:  # from the source outwards
        above[node, node] = 1.0
        if feeder[node] < n:
            parent[node, feeder[node]] = 1.0
            above[node] += above[feeder[node]]
    impedance, gain = 1.0 / compiled.series[branch], np.abs(compiled.gain[branch])
    near, far = _gains(gain, forward)
    half, shunt = compiled.half_shunt[branch], np.zeros(size, complex)
    np.add.at(shunt, compiled.node, np.conj(compiled.shunt))
    np.add.at(shunt, np.where(feeder[:n] < 0, n, feeder[:n]), half * near)
    np.add.at(shunt, np.arange(n), half / far)
    return RadialFlow(
        node=np.where(compiled.node < n, compiled.node, -1),
        branch=branch,
        forward=forward,
        below=above.T.copy(),
        parent=parent,
        r_pu=impedance.real.copy(),
        x_pu=impedance.imag.copy(),
        g_pu=shunt.real.copy(),
        b_pu=shunt.imag.copy(),
        gain=gain,
        regulator=np.array([int(np.flatnonzero(branch == row)[0]) for row in compiled.regulator], np.int64),
        cap_node=np.where(compiled.node[compiled.cap_bus] < n, compiled.node[compiled.cap_bus], -1),
        cap_g_pu=compiled.cap.real.copy(),
        cap_b_pu=-compiled.cap.imag,
        source_v_pu=compiled.source_v_pu,
    )


def _gains(gain: np.ndarray, forward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared gains before and behind the series impedance, seen from the source."""
    return np.where(forward, gain**2, 1.0), np.where(forward, 1.0, gain**-2.0)


def voltage_scale(radial: RadialFlow, buses: np.ndarray) -> np.ndarray:
    """Power that moves each bus's voltage by one pu in the network without load [MW/pu].

    In the feeder without load ``dv = r dp / v`` with the resistance `r` of the way to the source. A way without
    resistance counts as 1 mpu.
    """
    path_r = radial.below.T @ radial.r_pu
    scale: np.ndarray = 1.0 / np.maximum(path_r[radial.node[buses]], 1e-3)
    return scale


def _refuse_generators(network: Network) -> None:
    if network.generators.name:
        names = ", ".join(f'"{name}"' for name in network.generators.name[:5])
        raise NetworkError(
            f'market on "{network.name}": the generators {names} hold voltages, which the lindistflow model lacks; '
            "take them out of the network and place offers at their buses, or take the dc model"
        )


def _refuse_meshes(network: Network, compiled: Compiled, used: np.ndarray) -> None:
    loops = np.flatnonzero(compiled.live & ~used)
    if len(loops):
        names = ", ".join(f'"{compiled.branch_name[i]}"' for i in loops[:5])
        raise NetworkError(
            f'market on "{network.name}": lindistflow needs a radial network, and {len(loops)} branches close loops '
            f"({names}); open one branch of each loop, or take the dc model"
        )
