"""Published systems with the costs of their generators, and the linear program of a DC-OPF in its textbook form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandapower as pp
import pandapower.networks as nw
from scipy.optimize import linprog

from powergrid import markets
from powergrid.markets import Blocks


class Published(NamedTuple):
    """Buses and blocks of a system's generators."""

    buses: list[str]
    blocks: Blocks


def pjm_5_bus() -> Published:
    """F. Li and R. Bo, "Small test systems for power system economic studies", IEEE PES GM 2010."""
    return Published(
        ["0", "0", "2", "3", "4"],
        Blocks(np.array([40.0, 170.0, 520.0, 200.0, 600.0]), np.array([14.0, 15.0, 30.0, 40.0, 10.0])),
    )


def case30_generators(count: int = 10) -> Published:
    """Generators of case30 as shipped with pandapower: ``c1 p + c2 p^2`` in blocks."""
    net = nw.case30()
    units = {"ext_grid": net.ext_grid, "gen": net.gen}
    buses, linear, quadratic, most = [], [], [], []
    for row in net.poly_cost.itertuples():
        unit = units[row.et].loc[row.element]
        buses += [str(net.bus.name[unit.bus])] * count
        linear.append(row.cp1_eur_per_mw)
        quadratic.append(row.cp2_eur_per_mw2)
        most.append(unit.max_p_mw)
    return Published(buses, markets.quadratic_blocks(linear, quadratic, most, count))


class Optimum(NamedTuple):
    """Cost, dispatch, bus prices and flows."""

    cost: float
    p_mw: np.ndarray
    price: np.ndarray
    flow: np.ndarray


def angles_optimum(net: pp.pandapowerNet, bus: list[int], blocks: Blocks, load_mw: np.ndarray) -> Optimum:
    """DC-OPF with bus angles as variables, on the tables that pandapower itself solves a DC power flow with."""
    pp.rundcpp(net)
    ppc = net._ppc["internal"]
    branch, order = ppc["branch"].real, net._pd2ppc_lookups["bus"]
    f, t = branch[:, 0].astype(int), branch[:, 1].astype(int)
    ratio = np.where(branch[:, 8] == 0, 1.0, branch[:, 8])
    b = net.sn_mva / (branch[:, 3] * ratio)
    m, n = len(ppc["bus"]), len(bus)
    incidence = np.zeros((len(b), m))
    incidence[np.arange(len(b)), f] = 1.0
    incidence[np.arange(len(b)), t] -= 1.0
    flows = b[:, None] * incidence
    at = np.zeros((m, n))
    at[order[bus], np.arange(n)] = 1.0
    drawn = np.zeros(m)
    np.add.at(drawn, order[net.bus.index.to_numpy()], load_mw)
    balance = np.hstack([at, -incidence.T @ flows])
    limit = branch[:, 5]
    inequality = np.hstack([np.zeros((2 * len(b), n)), np.vstack([flows, -flows])])
    found = linprog(
        np.concatenate([blocks.price_per_mwh, np.zeros(m)]),
        A_ub=inequality,
        b_ub=np.tile(limit, 2),
        A_eq=np.vstack([balance, np.eye(n + m)[n + order[net.ext_grid.bus.iloc[0]]]]),
        b_eq=np.append(drawn, 0.0),
        bounds=[(0.0, q) for q in blocks.quantity_mw] + [(None, None)] * m,
        method="highs-ds",
    )
    assert found.status == 0, found.message
    price = found.eqlin.marginals[:m][order[net.bus.index.to_numpy()]]
    return Optimum(found.fun, found.x[:n], price, flows @ found.x[n:])
