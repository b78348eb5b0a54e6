"""How a network answers to currents: dense linear maps in float64, made once, that keep their digits in float32.

With the taps of its regulators at rest a network is linear in the currents its loads inject. A regulator that moves by
``delta`` adds two sources to it: a voltage ``e = delta V_from`` in series with its impedance, and a current
``g = delta I`` drawn at its from node, `I` being the current through it. So node voltages and branch currents are a
fixed matrix times ``[V_source, i, e, g]``. All of its entries are of order one (impedances, not admittances), because
the stiff branches of regulators and short lines are eliminated here, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import splu

from powergrid.core.errors import NetworkError
from powergrid.powerflow.compile import Compiled


@dataclass(frozen=True, eq=False)
class Responses:
    """Complex responses; columns are ``[source, i (a), e (k), g (k)]``.

    Attributes
    ----------
    v
        Node voltages, source last, ``(n_node + 1, 1 + a + 2k)``.
    i_from, i_to
        Currents entering each branch at its ends, a regulator's `g` included, ``(b, ...)``.
    i_regulator
        Current through each regulator, as its to side sees it, ``(k, ...)``.
    """

    v: np.ndarray
    i_from: np.ndarray
    i_to: np.ndarray
    i_regulator: np.ndarray


def respond(compiled: Compiled, active: np.ndarray) -> Responses:
    """Responses to currents injected at the nodes `active` and to the regulators' sources.

    Raises
    ------
    NetworkError
        If the admittance matrix is singular.
    """
    n, branch = compiled.n_node, compiled.regulator
    gain, series, half = compiled.gain[branch], compiled.series[branch], compiled.half_shunt[branch]
    f, t, k, a = compiled.from_node[branch], compiled.to_node[branch], len(branch), len(active)
    own = np.arange(k)
    currents = np.zeros((n + 1, 1 + a + 2 * k), complex)
    currents[active, 1 + np.arange(a)] = 1.0
    # the series voltage as the current source that stands for it behind the branch's admittances
    np.add.at(currents, (f, 1 + a + own), -np.conj(gain) * (series + half))
    np.add.at(currents, (t, 1 + a + own), series)
    np.add.at(currents, (f, 1 + a + k + own), -1.0)
    y = compiled.ybus()
    right = currents[:n].copy()
    right[:, :1] -= y[:n, n].toarray()
    try:
        inner = splu(y[:n, :n].tocsc()).solve(right) if n else right
    except RuntimeError as error:
        raise NetworkError("the network's admittance matrix is singular; check its impedances and shunts") from error
    v = np.concatenate([inner, np.zeros((1, right.shape[1]))])
    v[n, 0] = 1.0

    behind = compiled.gain[:, None] * v[compiled.from_node]
    behind[branch, 1 + a + own] += 1.0
    through = compiled.series[:, None] * (behind - v[compiled.to_node])
    into = through + compiled.half_shunt[:, None] * behind
    i_from = np.conj(compiled.gain)[:, None] * into
    i_from[branch, 1 + a + k + own] += 1.0
    return Responses(
        v=v,
        i_from=i_from,
        i_to=compiled.half_shunt[:, None] * v[compiled.to_node] - through,
        i_regulator=into[branch],
    )


def real(matrix: np.ndarray) -> np.ndarray:
    """Real form of a complex map for row vectors: ``[re, im] @ real(M)`` is ``[re, im]`` of ``M @ x``."""
    return np.block([[matrix.real.T, matrix.imag.T], [-matrix.imag.T, matrix.real.T]])
