"""Feeders up to voltage collapse: what is solved just below the nose, and that nothing is beyond it.

    python bench/nose.py

The nose is how far all loads may be scaled, with taps locked. It is found by continuation, the flows as environments on
the CPU solve them, and compared with Newton's method at 1e-11.

Predictor and corrector in the load scale and the rectangular voltages, parametrised by the voltage that falls fastest,
so that the corrector does not become singular at the nose (Ajjarapu and Christy, "The continuation power flow", IEEE
Trans. Power Systems 7(1), 1992). Dense and independent of the package's own Newton method.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from powergrid.core.types import NodeLoad
from powergrid.networks import Network, network
from powergrid.powerflow import newton, sparse_lu
from powergrid.powerflow.compile import compile_network, no_load_voltages
from powergrid.powerflow.retry import with_retry

FEEDERS = ("case33bw", "case69", "ieee13", "ieee34", "ieee123", "microgrid_park")
SHARES = (0.5, 0.9, 0.95, 0.97, 0.99, 1.03, 1.1, 2.0)
"""Loads to solve, as shares of the nose."""


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


def row(name: str) -> list[str]:
    """One feeder's line of the table: the nose, the largest error below it, and what converged at each share."""
    grid = network(name)
    limit, own = nose(grid), grid.node_load()
    share = np.array(SHARES)[:, None]
    load = NodeLoad(*(None if part is None else limit * share * part for part in own))
    solver = with_retry(sparse_lu)
    flow = solver.solve(solver.plan(grid), load)
    exact = newton.solve(newton.plan(grid, tol_pu=1e-11), load)
    both = flow.converged & exact.converged
    error = np.abs(flow.v_pu - exact.v_pu)[both].max()
    lowest = flow.v_pu.min(axis=1)
    cells = [f"{v:.3f}" if fine else "no" for fine, v in zip(flow.converged, lowest, strict=True)]
    return [name, f"{limit:.4f}", f"{error:.0e}", *cells]


def main() -> None:
    table = Table(title="lowest voltage [pu] by share of the nose; no: not converged", box=None)
    for column in ("network", "nose", "error", *(f"{share:.0%}" for share in SHARES)):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in FEEDERS:
        table.add_row(*row(name))
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    main()
