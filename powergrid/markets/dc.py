"""Flows without losses in a meshed network: angles are small, voltages are 1 pu, resistances play no part.

``f = b (theta_from - theta_to - shift)`` with ``b = 1 / (x ratio)``, eliminated to power transfer distribution factors
against the source (B. Stott, J. Jardim and O. Alsac, "DC power flow revisited", IEEE Trans. Power Syst. 24(3), 2009;
the factors of ratios and shifts are those of MATPOWER: R. D. Zimmerman, C. E. Murillo-Sanchez and R. J. Thomas, IEEE
Trans. Power Syst. 26(1), 2011, eq. 14).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.core.errors import NetworkError
from powergrid.markets.model import DcFlow, Linear, Plan
from powergrid.networks.network import Network
from powergrid.powerflow.compile import Compiled


def distribution_factors(network: Network, compiled: Compiled) -> DcFlow:
    """Power transfer distribution factors of all branches.

    Raises
    ------
    NetworkError
        If a closed branch has no reactance.
    """
    live = np.flatnonzero(compiled.live)
    x_pu = np.asarray(network.branches.x_pu, float)[live]
    if np.any(x_pu == 0):
        names = ", ".join(f'"{compiled.branch_name[i]}"' for i in live[x_pu == 0][:5])
        raise NetworkError(
            f'network "{network.name}": {names} have no reactance, on which the flows of the dc model depend; give '
            'them one, make them switches, or take model="lindistflow" for a radial feeder'
        )
    b_pu = np.abs(compiled.gain[live]) / x_pu
    n, size = compiled.n_node, compiled.n_node + 1
    rows, ones = np.arange(len(live)), np.ones(len(live))
    ends = np.concatenate([compiled.from_node[live], compiled.to_node[live]])
    across = sp.csr_matrix((np.concatenate([ones, -ones]), (np.tile(rows, 2), ends)), shape=(len(live), size))
    flows = sp.diags(b_pu) @ across
    inner = (across.T @ flows).tocsc()[:n, :n]
    factor = np.zeros((len(live), size))
    if n:
        factor[:, :n] = splu(inner.T.tocsc()).solve(flows[:, :n].T.toarray()).T
    # a phase shift drives the flow b * -shift through the branch, which enters and leaves its buses as injections do
    driven = b_pu * np.angle(compiled.gain[live])
    table, constant = np.zeros((compiled.n_branch, compiled.n_bus)), np.zeros(compiled.n_branch)
    table[live] = factor[:, compiled.node]
    constant[live] = driven - factor @ (across.T @ driven)
    return DcFlow(table, constant)


def linear(plan: Plan) -> Linear:
    """The equations of the model; they do not depend on the operating point. Shunts draw their power at 1 pu."""
    dc = plan.dc
    assert dc is not None
    m, limited = plan.n_bus, plan.limited_branch
    flow, none = dc.factor[limited], np.zeros((0, m), plan.load_mw.dtype)
    balance = np.ones_like(plan.load_mw)
    return Linear(
        balance=balance,
        balance_constant=plan.shunt_mw.sum(),
        flow=flow,
        flow_constant=dc.constant[limited] - flow @ plan.shunt_mw,
        flow_limit=plan.limit_mva,
        voltage=none,
        voltage_constant=none[:, 0],
        unserved_balance=balance,
        unserved_flow=flow,
        unserved_voltage=none,
    )
