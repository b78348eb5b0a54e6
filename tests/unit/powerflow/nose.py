"""The nose of a network by continuation: how far all of its loads may be scaled, with taps locked.

Predictor and corrector in the load scale and the rectangular voltages, parametrised by the voltage that falls fastest,
so that the corrector does not become singular at the nose (Ajjarapu and Christy, "The continuation power flow", IEEE
Trans. Power Systems 7(1), 1992). Dense and independent of the package's own Newton method.
"""

from __future__ import annotations

import numpy as np

from powergrid.networks import Network
from powergrid.powerflow.compile import compile_network, no_load_voltages


def nose(network: Network) -> float:
    """Largest factor on all loads at which a solution exists, to 1e-6."""
    compiled = compile_network(network)
    n, y = compiled.n_node, compiled.ybus().toarray()
    np.add.at(y, (compiled.node[compiled.cap_bus],) * 2, np.conj(compiled.cap))
    load = network.node_load()
    s = np.zeros(n + 1, complex)
    np.add.at(s, compiled.node, load.p_mw + 1j * load.q_mvar)
    v0 = compiled.source_v_pu * no_load_voltages(compiled)[:n]
    source = compiled.source_v_pu * y[:n, n]
    inner, s = y[:n, :n], s[:n]

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residual and Jacobian of ``conj(V) (Y V + I) + scale * conj(S)`` in [re V, im V, scale]."""
        v = x[:n] + 1j * x[n : 2 * n]
        current = inner @ v + source
        f = np.conj(v) * current + x[-1] * np.conj(s)
        by_re = np.diag(current) + np.conj(v)[:, None] * inner
        by_im = -1j * np.diag(current) + 1j * np.conj(v)[:, None] * inner
        jacobian = np.concatenate([by_re, by_im, np.conj(s)[:, None]], axis=1)
        return np.concatenate([f.real, f.imag]), np.concatenate([jacobian.real, jacobian.imag])

    x = np.concatenate([v0.real, v0.imag, [0.0]])
    tangent = np.zeros(2 * n + 1)
    tangent[-1] = 1.0
    step, best = 0.2, 0.0
    while step > 1e-7:
        k = int(np.argmax(np.abs(tangent)))
        direction = np.linalg.solve(np.vstack([parts(x)[1], np.eye(2 * n + 1)[k]]), np.eye(2 * n + 1)[-1])
        direction *= np.sign(direction @ tangent) / np.linalg.norm(direction)
        tried = _corrected(parts, x + step * direction, int(np.argmax(np.abs(direction))))
        if tried is None or tried[-1] < x[-1]:  # beyond the nose, or too far to correct
            step /= 2
            continue
        x, tangent, best = tried, direction, max(best, float(tried[-1]))
    return best


def _corrected(parts, x: np.ndarray, held: int) -> np.ndarray | None:
    for _ in range(12):
        f, jacobian = parts(x)
        row = np.eye(len(x))[held]
        change = np.linalg.solve(np.vstack([jacobian, row]), np.append(f, 0.0))
        x = x - change
        if np.abs(change).max() < 1e-9:
            return x
    return None
