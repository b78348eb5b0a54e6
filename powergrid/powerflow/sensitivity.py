"""Change of one terminal's voltage with power at another: the network's own impedance between the two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse.linalg import splu

from powergrid.networks.kinds import AnyNetwork
from powergrid.powerflow.compile import compile_network, no_load_voltages


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
