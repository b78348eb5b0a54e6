"""How voltages and losses answer to power: ``network.sensitivities()``."""

from __future__ import annotations

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.flow_result import Sensitivities
from powergrid.networks.kinds import AnyNetwork
from powergrid.plugins.registries import register_study
from powergrid.powerflow import method as method_module
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.sensitivity import flow_sensitivity
from powergrid.studies.settled import controlled


@register_study("sensitivities")
def sensitivities(network: AnyNetwork, tol_pu: float = 1e-10, control: str = "fixed") -> Sensitivities:
    """Derivatives of voltages and losses by injected power, around the flow with the network's own loads.

    They are those of the solved equations, ``(Y + di/dV) dV = dI``, with taps and shunts as they stand.

    Parameters
    ----------
    network
        A balanced or three-phase network.
    tol_pu
        Largest change of a voltage in the last iteration of the flow [pu].
    control
        ``"fixed"`` keeps the taps of regulators; ``"local"`` has them step to where their relays bring them first, see
        :func:`powergrid.studies.settled.settled`.

    Raises
    ------
    NetworkError
        If the flow does not converge, if generators or further sources hold voltages, or if `control` is neither.
    """
    import pandas as pd

    if not network.is_three_phase and (len(network.generators.name) or len(network.sources.name)):
        holders = ", ".join((*network.generators.name, *network.sources.name)[:5])
        raise NetworkError(
            f'network "{network.name}": sensitivities are for networks whose voltage one source holds, and {holders} '
            "hold voltages as well; model them as static generators"
        )
    network = controlled(network, control, "auto", tol_pu)
    solver, load = method_module("sparse_lu", network), network.node_load()
    flow = solver.solve(solver.plan(network, tol_pu=tol_pu), load)
    if not flow.converged:
        raise NetworkError(
            f'network "{network.name}": its flow does not converge, so that there is no point around which to '
            "linearise; `powergrid.studies.explain(network)` says where it fails"
        )
    v = np.asarray(flow.v_re, float) + 1j * np.asarray(flow.v_im, float)
    found = flow_sensitivity(compile_network(network), load, v)
    index = pd.Index(network.buses.name, name="bus")
    columns = pd.Index(network.buses.name, name="injected at")
    return Sensitivities(
        v_by_p=pd.DataFrame(found.v_by_p, index=index, columns=columns),
        v_by_q=pd.DataFrame(found.v_by_q, index=index, columns=columns),
        loss_by_p=pd.Series(found.loss_by_p, index=columns, name="MW/MW"),
        loss_by_q=pd.Series(found.loss_by_q, index=columns, name="MW/Mvar"),
    )
