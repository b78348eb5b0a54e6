"""The factors where much moves: exact, and as sparse as the network."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.networks import Network, network
from powergrid.networks.compose import compose
from powergrid.powerflow import method
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.factors import factorise
from powergrid.powerflow.sparse_lu import _diagonal, _targets

from .conftest import scenarios

TRANSFORMER = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}


def with_guests(count: int) -> Network:
    """The 123-bus feeder with `count` small 13-bus feeders, each with a regulator of its own."""
    grid = network("ieee123")
    buses = [bus for bus in grid.buses.name if bus.isdigit()]
    for i in range(count):
        grid = compose(
            grid, network("ieee13"), buses[2 * i], name=f"mg{i}", transformer=TRANSFORMER, load_scale=0.2 / count
        )
    return grid


def test_work_grows_with_what_moves_and_not_with_its_square():
    changed = []
    for count in (20, 40):
        trailing = factorise(compile_network(with_guests(count))).trailing
        changed.append(len(_targets(trailing, _diagonal(trailing))))
    assert changed[1] < 2.5 * changed[0]  # without the forks it is 6.5 times


def test_many_regulators_equal_newton_raphson():
    grid = with_guests(20)
    assert len(grid.regulators.branch) > 16
    load, control = scenarios(grid, (2,), by_voltage=False)
    sparse, oracle = method("sparse_lu"), method("pandapower")
    flow = sparse.solve(sparse.plan(grid, tol_pu=1e-11), load, control)
    truth = oracle.solve(oracle.plan(grid), load, control)
    assert truth.converged.all()
    assert flow.converged.all()
    found, wanted = (np.asarray(f.v_re) + 1j * np.asarray(f.v_im) for f in (flow, truth))
    assert found == pytest.approx(wanted, abs=1e-8)
