"""Tables of a three-phase power flow, one row per node and one row per phase of a branch."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import NodeLoad
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.compiled import Compiled, Terms, injected_powers
from powergrid.powerflow.sequence import three_phase_buses, unbalance

if TYPE_CHECKING:
    import pandas as pd

    from powergrid.networks.unbalanced import UnbalancedNetwork


def solve_tables(network: UnbalancedNetwork, solver: ModuleType, tol_pu: float) -> dict[str, Any]:
    """Solve a network with its own loads, taps and shunts; the fields of a ``FlowResult`` by name."""
    import pandas as pd

    load, grid = network.node_load(), compile_network(network)
    flow = solver.solve(solver.plan(network, tol_pu=tol_pu), load)
    v = np.asarray(flow.v_re, float) + 1j * np.asarray(flow.v_im, float)
    powers = _powers(grid, load, v)
    return {
        "converged": bool(flow.converged),
        "iterations": int(flow.iterations),
        "losses_mw": float(flow.loss_mw),
        "slack": (float(flow.p_slack_mw), float(flow.q_slack_mvar)),
        "bus": _bus_table(network, grid, v, powers),
        "generators": pd.DataFrame(columns=["bus", "p_mw", "q_mvar", "v_pu", "v_set_pu", "at_limit"]),
        "method": solver.__name__.rpartition(".")[2],
        "branch": _branch_table(network, grid, v, powers, np.asarray(flow.loading, float)),
        "unbalance": _unbalance_table(network, v),
    }


def _powers(grid: Compiled, load: NodeLoad, v: np.ndarray) -> np.ndarray:
    """The powers that :class:`~powergrid.powerflow.compiled.Terms` counts [MW + j Mvar]."""
    assert grid.phases is not None
    m, a, b = grid.n_bus, grid.phases.pair_a, grid.phases.pair_b
    v_pair = v[a] - v[b]
    size = np.concatenate([np.abs(v), np.abs(v_pair) / np.sqrt(3.0)])
    parts = [np.zeros(grid.n_place) if part is None else np.asarray(part) for part in load]
    p, q, p_i, q_i, p_z, q_z = parts
    drawn = p + 1j * q + (p_i + 1j * q_i) * size + (p_z + 1j * q_z) * size**2
    shunt = grid.shunt.copy()
    np.add.at(shunt, grid.cap_bus, grid.cap)
    inward = np.divide(drawn[m:], v_pair, out=np.zeros(len(a), complex), where=v_pair != 0)
    own = drawn[:m] + shunt * np.abs(v) ** 2
    return np.concatenate([injected_powers(grid, v, own, grid.gain), v[a] * inward, -v[b] * inward])


def _bus_table(network: UnbalancedNetwork, grid: Compiled, v: np.ndarray, powers: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    assert grid.phases is not None
    m, b, pairs = grid.n_bus, grid.n_branch, len(grid.phases.pair_a)
    injected = -powers[2 * b : 2 * b + m]
    for ends, first in ((grid.phases.pair_a, 2 * b + m), (grid.phases.pair_b, 2 * b + m + pairs)):
        np.add.at(injected, ends, -powers[first : first + pairs])
    for k, bus in enumerate(grid.phases.source_buses):
        injected[bus] += powers[grid.leaving(grid.node == grid.n_node + k)].sum()
    columns = {
        "bus": list(network.buses.bus),
        "phase": list(network.buses.phase),
        "v_pu": np.abs(v),
        "va_degree": np.rad2deg(np.angle(v)),
        "p_mw": injected.real,
        "q_mvar": injected.imag,
    }
    return pd.DataFrame(columns)


def _branch_table(
    network: UnbalancedNetwork, grid: Compiled, v: np.ndarray, powers: np.ndarray, loading: np.ndarray
) -> pd.DataFrame:
    import pandas as pd

    assert grid.phases is not None
    b, buses = grid.n_branch, network.buses
    s_from, s_to = powers[:b].copy(), powers[b : 2 * b].copy()
    for branch in np.flatnonzero(grid.switch):
        s_from[branch] = through_switch(grid, int(branch), powers)
        s_to[branch] = -s_from[branch]
    kv = np.asarray(buses.vn_kv, float) * np.abs(v) / np.sqrt(3.0)
    rated = np.zeros(b, bool)
    rated[grid.phases.row[grid.phases.percent > 0]] = True
    f, t = grid.from_bus, grid.to_bus
    columns = {
        "element": list(network.branches.kind),
        "index": np.arange(b),
        "from_bus": [buses.bus[node] for node in f],
        "to_bus": [buses.bus[node] for node in t],
        "phase": [buses.phase[node] for node in f],
        "i_ka": np.fmax(np.abs(s_from) / kv[f], np.abs(s_to) / kv[t]),
        "loading_percent": np.where(rated, loading, np.nan),
        "p_from_mw": s_from.real,
        "q_from_mvar": s_from.imag,
        "p_to_mw": s_to.real,
        "q_to_mvar": s_to.imag,
    }
    return pd.DataFrame(columns, index=pd.Index(grid.branch_name, name="name"))


def through_switch(compiled: Compiled, branch: int, powers: np.ndarray) -> complex:
    """Power through a closed switch [MW + j Mvar]; NaN in a loop of closed switches."""
    try:
        terms: Terms = compiled.terms([branch])
    except NetworkError:  # a loop of closed switches shares the current in an undetermined way
        return complex(np.nan, np.nan)
    stop = terms.start[1]
    return complex(terms.sign[:stop] @ powers[terms.power[:stop]])


def _unbalance_table(network: UnbalancedNetwork, v: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    names, nodes = three_phase_buses(network.buses)
    percent = 100.0 * unbalance(np, v.real, v.imag, nodes)
    return pd.DataFrame({"bus": list(names), "unbalance_percent": percent})
