"""A solved power flow as tables for people: ``network.power_flow()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from powergrid.networks.flow_result import FlowResult, Slack
from powergrid.networks.kinds import AnyNetwork
from powergrid.plugins.registries import register_study
from powergrid.powerflow import method as method_module
from powergrid.powerflow import newton
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.compiled import Compiled, injected_powers
from powergrid.powerflow.generation import Fed, generation, units
from powergrid.studies.power_flow_phases import solve_tables, through_switch
from powergrid.studies.settled import controlled

if TYPE_CHECKING:
    import pandas as pd

    from powergrid.networks.network import Network


@register_study("power_flow")
def power_flow(network: AnyNetwork, method: str = "auto", tol_pu: float = 1e-8, control: str = "fixed") -> FlowResult:
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
    control
        ``"fixed"`` keeps the taps of regulators; ``"local"`` has them step to where their relays bring them first, see
        :func:`powergrid.studies.settled.settled`.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    NetworkError
        If the network cannot be solved by any method, or `control` is neither.
    """
    network = controlled(network, control, method, tol_pu)
    if network.is_three_phase:
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
        s_from[branch] = through_switch(compiled, int(branch), powers)
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
