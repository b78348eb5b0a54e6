"""Change of voltages and losses with power: the network's own impedance, and what holds around a solved flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.core.types import NodeLoad
from powergrid.networks.kinds import AnyNetwork
from powergrid.powerflow.compile import Compiled, compile_network, no_load_voltages


class FlowSensitivity(NamedTuple):
    """Changes for one more MW or Mvar injected at a bus or node, all taps and shunts as they are.

    Attributes
    ----------
    v_by_p, v_by_q
        Of each voltage's magnitude, ``(m, m)`` [pu/MW, pu/Mvar]; the column is where power is injected.
    loss_by_p, loss_by_q
        Of the losses, ``(m,)`` [MW/MW, MW/Mvar].
    """

    v_by_p: np.ndarray
    v_by_q: np.ndarray
    loss_by_p: np.ndarray
    loss_by_q: np.ndarray


def voltage_sensitivity(network: AnyNetwork, terminals: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rise of each terminal's voltage for active and for reactive power at each other, without load.

    ``dV_i = Z_ij conj(dS_j / V_j)`` with the impedance matrix `Z`, and the part of it along `V_i` is the change of the
    magnitude. What load and taps change in it, some tens of percent at most on usual feeders, is left out.

    Parameters
    ----------
    network
        A balanced or three-phase network.
    terminals
        Rows of ``network.buses`` of each terminal; its voltage is their mean, its power spreads over them in equal
        parts.

    Returns
    -------
    r_pu, x_pu
        ``(n, n)`` each [pu/MW, pu/Mvar].
    """
    compiled, n = compile_network(network, generators=True), len(terminals)
    nodes = [compiled.node[list(rows)] for rows in terminals]
    used = np.unique(np.concatenate([*nodes, np.zeros(0, int)]))
    used = used[used < compiled.n_node]  # the voltage at a source does not change
    if not len(used):
        return np.zeros((n, n)), np.zeros((n, n))
    inner = compiled.ybus()[: compiled.n_node, : compiled.n_node].tocsc()
    right = np.zeros((compiled.n_node, len(used)), complex)
    right[used, np.arange(len(used))] = 1.0
    phase = no_load_voltages(compiled)[used]
    phase = phase / np.maximum(np.abs(phase), 1e-9)
    z = np.conj(phase)[:, None] * splu(inner).solve(right)[used] * phase
    share = np.zeros((n, len(used)))
    for k, at in enumerate(nodes):
        live = at[at < compiled.n_node]
        np.add.at(share[k], np.searchsorted(used, live), 1.0 / len(at))
    seen = share @ z @ share.T
    return seen.real.copy(), seen.imag.copy()


def flow_sensitivity(compiled: Compiled, load: NodeLoad, v: np.ndarray) -> FlowSensitivity:
    """Changes around a solved flow, exact to first order: one factorisation of its Jacobian.

    The nodes' currents are ``Y V = I - i(V)`` with the currents `i` that loads draw. So ``(Y + di/dV) dV = dI`` with
    ``dI_k = conj(dS_k / V_k)`` for power injected at node k, in real form, since `i` depends on ``conj(V)`` as well.

    Parameters
    ----------
    compiled
        The network.
    load
        What each place draws, ``(w,)`` each.
    v
        Complex voltages of the solved flow [pu], ``(m,)``.
    """
    n, source = compiled.n_node, compiled.n_source
    ybus = compiled.ybus()
    at_node = np.zeros(n + source, complex)
    at_node[compiled.node] = v
    by_v, by_conjugate = _load_currents(compiled, load, at_node)
    direct = (ybus + by_v).tocsr()[:n, :n]
    mixed = by_conjugate.tocsr()[:n, :n]
    real_form = sp.bmat(
        [
            [direct.real + mixed.real, mixed.imag - direct.imag],
            [direct.imag + mixed.imag, direct.real - mixed.real],
        ],
        format="csc",
    )
    current = 1.0 / np.conj(at_node[:n])
    right = np.block([[np.diag(current.real), np.diag(current.imag)], [np.diag(current.imag), np.diag(-current.real)]])
    found = splu(real_form).solve(right)
    change = np.zeros((n + source, 2, n + source), complex)
    change[:n, :, :n] = (found[:n] + 1j * found[n:]).reshape(n, 2, n)
    shunt = np.zeros(n + source, complex)
    np.add.at(shunt, compiled.node, np.conj(compiled.shunt))
    branches = ybus - sp.diags(shunt)
    along = np.conj((branches + branches.conj().T) @ at_node)
    loss = np.einsum("i,ikj->kj", along, change).real[:, compiled.node]
    size = np.maximum(np.abs(at_node), 1e-9)
    rise = ((np.conj(at_node) / size)[:, None, None] * change).real[compiled.node][:, :, compiled.node]
    return FlowSensitivity(rise[:, 0], rise[:, 1], loss[0], loss[1])


def _load_currents(compiled: Compiled, load: NodeLoad, at_node: np.ndarray) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Derivatives of what loads draw from the nodes, by the voltages and by their conjugates."""
    size, places = len(at_node), compiled.n_place
    first, second = compiled.place_nodes
    pair = second >= 0
    across = at_node[first] - np.where(pair, at_node[second], 0.0)
    scale = np.where(pair, np.sqrt(1.0 / 3.0), 1.0)  # 1 pu between two phases is sqrt(3) of that to earth
    p, q, p_i, q_i, p_z, q_z = (np.zeros(places) if part is None else np.asarray(part) for part in load)
    z = p_z + 1j * q_z
    np.add.at(z, compiled.cap_bus, compiled.cap)
    magnitude = np.abs(across)
    live = magnitude > 0.0
    v, m = np.where(live, across, 1.0), np.where(live, magnitude, 1.0)
    power = p + 1j * q + (p_i + 1j * q_i) * (scale * m) + z * (scale * m) ** 2
    slope = (p_i + 1j * q_i) * scale + 2.0 * z * scale**2 * m
    by_v = np.where(live, np.conj(slope) / (2.0 * m), 0.0)
    by_conjugate = np.where(live, np.conj(slope) * v / (2.0 * m * np.conj(v)) - np.conj(power) / np.conj(v) ** 2, 0.0)
    ends = sp.csr_matrix((np.ones(places), (first, np.arange(places))), shape=(size, places))
    back = sp.csr_matrix((np.ones(pair.sum()), (second[pair], np.flatnonzero(pair))), shape=(size, places))
    between = ends - back
    return between @ sp.diags(by_v) @ between.T, between @ sp.diags(by_conjugate) @ between.T
