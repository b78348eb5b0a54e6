"""Why a power flow has no solution: where power is missing, and up to which loading there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Flow, NodeLoad
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.tables import Buses
from powergrid.powerflow import choose, method
from powergrid.powerflow.compile import Compiled, compile_network

if TYPE_CHECKING:
    import pandas as pd

MOST_LOADING = 64.0
"""Where the search for the largest loading ends [1]."""
CLOSE = 1e-3
"""Relative width of the interval that it leaves."""
_MAX_ITER = {"newton": 50, "sparse_lu": 500}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Result of :func:`explain`.

    Attributes
    ----------
    name
        The network's name.
    method, reason
        The method that ``"auto"`` takes at the network's own loads, and why.
    loading
        Factor on all loads that is examined [1].
    converged
        Whether there is a solution at it.
    solved_loading, failed_loading
        Largest factor found to have a solution and smallest found to have none [1]; NaN where there is none.
    buses
        The buses with the largest residual, largest first: ``bus``, ``phase``, ``p_mw`` and ``q_mvar``, power that the
        last iterate leaves unbalanced there, ``v_pu`` at it, and ``v_solved_pu`` at `solved_loading`. The iterate is
        that at `loading`, or where this has a solution, at `failed_loading`.
    branches
        The branches with the largest residual at either end: ``branch``, ``from_bus``, ``to_bus``, ``residual_mva``,
        and at `solved_loading` ``drop_pu``, the voltage between the ends, and ``loading_percent``.
    """

    name: str
    method: str
    reason: str
    loading: float
    converged: bool
    solved_loading: float
    failed_loading: float
    buses: pd.DataFrame
    branches: pd.DataFrame

    def __str__(self) -> str:
        head = f'"{self.name}" at {self.loading:g} times its loads: '
        if np.isnan(self.solved_loading):
            return head + "no solution, nor without any load"
        state = "solved" if self.converged else "no solution"
        if np.isnan(self.failed_loading):
            return head + f"{state}, and up to {self.solved_loading:g} times"
        bounds = f"{self.solved_loading:.4g} times has a solution, {self.failed_loading:.4g} times has none"
        return f"{head}{state}; {bounds}"


def explain(network: AnyNetwork, loading: float = 1.0, rows: int = 8) -> Explanation:
    """Find what prevents a power flow, or how far it is from having no solution.

    All loads are scaled together; generators, shunts and taps stay. Loadings are bisected with Newton's method, in
    three-phase networks with the fixed point. A flow that diverges ends where no step lessens the mismatch any
    further: the buses that are short of most power there are those that the network cannot feed.

    Parameters
    ----------
    network
        A :class:`~powergrid.networks.Network` or :class:`~powergrid.networks.UnbalancedNetwork`.
    loading
        Factor on all of its loads [1].
    rows
        Length of the tables.

    Returns
    -------
    Explanation

    Raises
    ------
    NetworkError
        If the network cannot be compiled, or `loading` is negative or not a number.
    """
    if not 0.0 <= loading < np.inf:
        raise NetworkError(f"the loading is a factor on all loads from 0 on, not {loading}")
    case = _Case(network)
    at_loading = case.solve(loading)
    solved, failed, below = _bounds(case, loading, at_loading)
    shown = failed if at_loading.converged else loading
    ended = at_loading if shown == loading or np.isnan(shown) else case.solve(shown)
    missing = case.residual(loading if np.isnan(shown) else shown, ended)
    rows = 0 if np.isnan(shown) else rows
    name, reason = choose(network)
    return Explanation(
        name=network.name,
        method=name,
        reason=reason,
        loading=float(loading),
        converged=bool(at_loading.converged),
        solved_loading=solved,
        failed_loading=failed,
        buses=_bus_table(case, missing, ended, below, rows),
        branches=_branch_table(case, np.abs(missing), below, rows),
    )


class _Case:
    """A network that is solved at one loading after the other."""

    def __init__(self, network: AnyNetwork):
        self.network = network
        self.three = network.is_three_phase
        name = "sparse_lu" if self.three else "newton"
        self.solver: Any = method(name, network)
        self.plan = self.solver.plan(network, tol_pu=1e-9, max_iter=_MAX_ITER[name])

    def load(self, loading: float) -> NodeLoad:
        own: NodeLoad = self.network.node_load(loading)
        return own

    def solve(self, loading: float, start: Flow | None = None) -> Flow:
        flow: Flow = self.solver.solve(self.plan, self.load(loading), None, start)
        return flow

    def residual(self, loading: float, flow: Flow) -> np.ndarray:
        """Power that a flow leaves unbalanced at each bus [MW + j Mvar], ``(m,)``; zero at the sources."""
        grid: Compiled = compile_network(self.network) if self.three else self.plan.compiled
        v = np.zeros(grid.n_node + grid.n_source, complex)
        v[grid.node] = flow.v_re + 1j * flow.v_im
        current = grid.ybus() @ v + self._load_currents(grid, loading, v)
        missing = v * np.conj(current)
        missing[grid.n_node :] = 0.0
        if not self.three:
            own = self.plan.units
            np.subtract.at(missing, own.node, own.p_mw)
            missing[own.held] = missing[own.held].real  # a generator's reactive power is whatever is missing
            missing[[grid.n_node, *own.source_node]] = 0.0
        shown = np.zeros(grid.n_bus, complex)
        _, first = np.unique(grid.node, return_index=True)
        shown[first] = missing[grid.node[first]]
        return shown

    def _load_currents(self, grid: Compiled, loading: float, v: np.ndarray) -> np.ndarray:
        """Current that loads and switchable shunts draw from each node [pu]."""
        a, b = grid.place_nodes
        across = v[a] - np.where(b >= 0, v[b], 0.0)
        size = np.abs(across) / np.where(b >= 0, np.sqrt(3.0), 1.0)
        p, q, p_i, q_i, p_z, q_z = (np.zeros(len(a)) if part is None else part for part in self.load(loading))
        power = p + 1j * q + (p_i + 1j * q_i) * size + (p_z + 1j * q_z) * size**2
        drawn = np.conj(np.divide(power, across, out=np.zeros(len(a), complex), where=across != 0))
        total = np.zeros(len(v), complex)
        np.add.at(total, a, drawn)
        np.subtract.at(total, b[b >= 0], drawn[b >= 0])
        np.add.at(total, grid.node[grid.cap_bus], np.conj(grid.cap) * v[grid.node[grid.cap_bus]])
        return total


def _bounds(case: _Case, loading: float, at_loading: Flow) -> tuple[float, float, Flow | None]:
    """Largest loading with a solution, smallest without one, and the flow at the former."""
    if at_loading.converged:
        solved, below = loading, at_loading
        failed = max(2.0 * loading, 1.0)
        while failed <= MOST_LOADING:
            tried = case.solve(failed)
            if not tried.converged:
                break
            solved, below, failed = failed, tried, 2.0 * failed
        else:
            return solved, np.nan, below
    else:
        solved, below, failed = 0.0, case.solve(0.0), loading
        if not below.converged:
            return np.nan, loading, None
    while failed - solved > CLOSE * failed:
        middle = 0.5 * (solved + failed)
        tried = case.solve(middle)
        if not tried.converged:  # perhaps for its start only: once more from the nearest solution
            tried = case.solve(middle, below)
        if tried.converged:
            solved, below = middle, tried
        else:
            failed = middle
    return solved, failed, below


def _bus_table(case: _Case, missing: np.ndarray, flow: Flow, below: Flow | None, rows: int) -> pd.DataFrame:
    import pandas as pd

    buses = case.network.buses
    worst = np.argsort(-np.abs(missing), kind="stable")[:rows]
    names, phases = (buses.name, ("",) * len(missing)) if isinstance(buses, Buses) else (buses.bus, buses.phase)
    return pd.DataFrame(
        {
            "bus": [names[k] for k in worst],
            "phase": [phases[k] for k in worst],
            "p_mw": missing[worst].real,
            "q_mvar": missing[worst].imag,
            "v_pu": flow.v_pu[worst],
            "v_solved_pu": np.nan if below is None else below.v_pu[worst],
        }
    )


def _branch_table(case: _Case, missing: np.ndarray, below: Flow | None, rows: int) -> pd.DataFrame:
    import pandas as pd

    network = case.network
    branches = network.branches
    f, t = np.asarray(branches.from_bus), np.asarray(branches.to_bus)
    size = np.where(branches.closed, np.fmax(missing[f], missing[t]), -1.0)
    worst = np.argsort(-size, kind="stable")[:rows]
    names = network.buses.bus if network.is_three_phase else network.buses.name
    columns: dict[str, Any] = {
        "branch": [branches.name[k] for k in worst],
        "from_bus": [names[f[k]] for k in worst],
        "to_bus": [names[t[k]] for k in worst],
        "residual_mva": size[worst],
        "drop_pu": np.nan,
        "loading_percent": np.nan,
    }
    if below is not None:
        v = below.v_re + 1j * below.v_im
        columns["drop_pu"] = np.abs(v[f[worst]]) - np.abs(v[t[worst]])
        loading_percent = np.where(np.asarray(branches.rating) > 0, below.loading, np.nan)
        columns["loading_percent"] = loading_percent[worst]
    return pd.DataFrame(columns)
