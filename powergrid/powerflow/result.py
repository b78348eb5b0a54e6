"""A solved power flow as tables for people: ``network.power_flow()``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.powerflow import method as method_module
from powergrid.powerflow import newton
from powergrid.powerflow.compile import Compiled, Terms, compile_network, injected_powers
from powergrid.powerflow.generation import Fed, generation, units
from powergrid.powerflow.result_phases import solve_tables

if TYPE_CHECKING:
    import pandas as pd

    from powergrid.networks.network import Network


class Slack(NamedTuple):
    """Power the sources feed in [MW, Mvar]."""

    p_mw: float
    q_mvar: float


@dataclass(frozen=True, eq=False)
class FlowResult:
    """Tables of one power flow.

    Attributes
    ----------
    converged
        Look at it before believing the rest.
    iterations
        Iterations taken.
    losses_mw
        Active losses of all branches [MW].
    slack
        What all sources feed in [MW, Mvar].
    bus
        One row a node: ``bus``, ``phase`` (empty for a balanced network), ``v_pu``, ``va_degree``, and ``p_mw``,
        ``q_mvar``, the net power that sources, generators, loads and shunts inject there (positive into the network).
    branch
        One row a branch, named by its index: ``element`` (its kind), ``index`` (its row in ``network.branches``),
        ``from_bus``, ``to_bus``, ``phase``, ``i_ka`` (the larger of both ends), ``loading_percent`` (NaN without a
        rating), and the power entering it at its ends, ``p_from_mw``, ``q_from_mvar``, ``p_to_mw``, ``q_to_mvar``. A
        closed switch in a loop of closed switches has NaN.
    generators
        One row a generator, named: ``bus``, ``p_mw``, ``q_mvar``, ``v_pu``, ``v_set_pu``, and ``at_limit``, True where
        it feeds in a reactive limit and does not hold its voltage.
    method
        The method that solved it.
    unbalance
        Of a three-phase network: ``bus`` and ``unbalance_percent``, the negative over the positive sequence voltage of
        every bus that has three phases.
    """

    converged: bool
    iterations: int
    losses_mw: float
    slack: Slack
    bus: pd.DataFrame
    branch: pd.DataFrame
    generators: pd.DataFrame
    method: str
    unbalance: pd.DataFrame | None = None

    def __str__(self) -> str:
        v = self.bus["v_pu"]
        state = f"converged in {self.iterations} iterations" if self.converged else "NOT CONVERGED"
        return (
            f"power flow {state}: source {self.slack.p_mw:.4f} MW, {self.slack.q_mvar:.4f} Mvar; "
            f"losses {1000 * self.losses_mw:.2f} kW; voltages {v.min():.4f} to {v.max():.4f} pu"
        )


def power_flow(network: Any, method: str = "auto", tol_pu: float = 1e-8) -> FlowResult:
    """Solve a network with its own loads, taps and shunts.

    Parameters
    ----------
    network
        The network.
    method
        One of :data:`powergrid.powerflow.METHODS`, or ``"auto"``: the fixed point, and Newton's method where it
        gives up or where generators hold a voltage.
    tol_pu
        Largest change of a voltage in the last iteration [pu].

    Raises
    ------
    UnknownNameError
        If there is no such method.
    NetworkError
        If the network cannot be solved by any method.
    """
    if hasattr(network, "blocks"):
        found = solve_tables(network, method_module(method, network), tol_pu)
        return FlowResult(**{**found, "slack": Slack(*found["slack"])})
    held = len(network.generators.name) + len(network.sources.name)
    name = ("newton" if held else "sparse_lu") if method == "auto" else method
    solver, load = method_module(name, network), network.node_load()
    flow = solver.solve(solver.plan(network, tol_pu=tol_pu), load)
    if method == "auto" and not held and not flow.converged:
        again = newton.solve(newton.plan(network, tol_pu=tol_pu), load)
        if again.converged:
            name, flow = "newton", again
    compiled = compile_network(network, generators=True)
    v = np.asarray(flow.v_re, float) + 1j * np.asarray(flow.v_im, float)
    vm = np.abs(v)
    shunt = compiled.shunt.copy()
    np.add.at(shunt, compiled.cap_bus, compiled.cap)
    parts = [0.0 if part is None else part for part in load]
    drawn = parts[0] + 1j * parts[1] + (parts[2] + 1j * parts[3]) * vm + (parts[4] + 1j * parts[5] + shunt) * vm**2
    powers = injected_powers(compiled, v, drawn, compiled.gain)
    fed = generation(units(network, compiled), compiled, powers)
    np.add.at(drawn, network.generators.bus, -fed.generators)
    np.add.at(drawn, network.sources.bus, -fed.sources)
    powers[2 * compiled.n_branch :] = drawn
    slack = Slack(float(flow.p_slack_mw), float(flow.q_slack_mvar))
    injected = -drawn
    injected[compiled.source_bus] += complex(*slack) - fed.sources.sum()
    return FlowResult(
        converged=bool(flow.converged),
        iterations=int(flow.iterations),
        losses_mw=float(flow.loss_mw),
        slack=slack,
        bus=_bus_table(network, v, injected),
        branch=_branch_table(network, compiled, v, powers, np.asarray(flow.loading, float)),
        generators=_generator_table(network, vm, fed),
        method=name,
    )


def _generator_table(network: Network, vm: np.ndarray, fed: Fed) -> pd.DataFrame:
    import pandas as pd

    own = network.generators
    columns = {
        "bus": [network.buses.name[bus] for bus in own.bus],
        "p_mw": fed.generators.real,
        "q_mvar": fed.generators.imag,
        "v_pu": vm[own.bus],
        "v_set_pu": own.v_set_pu,
        "at_limit": np.abs(vm[own.bus] - own.v_set_pu) > 1e-9,
    }
    return pd.DataFrame(columns, index=pd.Index(own.name, name="name"))


def _bus_table(network: Network, v: np.ndarray, injected: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    columns = {
        "bus": list(network.buses.name),
        "phase": "",
        "v_pu": np.abs(v),
        "va_degree": np.rad2deg(np.angle(v)),
        "p_mw": injected.real,
        "q_mvar": injected.imag,
    }
    return pd.DataFrame(columns)


def _branch_table(
    network: Network, compiled: Compiled, v: np.ndarray, powers: np.ndarray, loading: np.ndarray
) -> pd.DataFrame:
    import pandas as pd

    b = compiled.n_branch
    s_from, s_to = powers[:b].copy(), powers[b : 2 * b].copy()
    for branch in np.flatnonzero(compiled.switch):
        s_from[branch] = _through_switch(compiled, int(branch), powers)
        s_to[branch] = -s_from[branch]
    kv = np.asarray(network.buses.vn_kv, float) * np.abs(v)
    names, f, t = network.buses.name, compiled.from_bus, compiled.to_bus
    columns = {
        "element": list(network.branches.kind),
        "index": np.arange(b),
        "from_bus": [names[bus] for bus in f],
        "to_bus": [names[bus] for bus in t],
        "phase": "",
        "i_ka": np.fmax(np.abs(s_from) / kv[f], np.abs(s_to) / kv[t]) / np.sqrt(3.0),
        "loading_percent": np.where(compiled.is_rated, loading, np.nan),
        "p_from_mw": s_from.real,
        "q_from_mvar": s_from.imag,
        "p_to_mw": s_to.real,
        "q_to_mvar": s_to.imag,
    }
    return pd.DataFrame(columns, index=pd.Index(compiled.branch_name, name="name"))


def _through_switch(compiled: Compiled, branch: int, powers: np.ndarray) -> complex:
    try:
        terms: Terms = compiled.terms([branch])
    except NetworkError:  # a loop of closed switches shares the current in an undetermined way
        return complex(np.nan, np.nan)
    stop = terms.start[1]
    return complex(terms.sign[:stop] @ powers[terms.power[:stop]])
