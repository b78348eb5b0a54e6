"""Tables of one power flow, and the oracle's own manners."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from powergrid.core.errors import NetworkError
from powergrid.core.types import Flow, NodeLoad
from powergrid.networks import Network, network, scaled
from powergrid.powerflow import METHODS, method

from .conftest import odd_network, own_load

BUS = ["bus", "phase", "v_pu", "va_degree", "p_mw", "q_mvar"]
BRANCH = [
    "element", "index", "from_bus", "to_bus", "phase", "i_ka", "loading_percent", "p_from_mw", "q_from_mvar",
    "p_to_mw", "q_to_mvar",
]  # fmt: skip


def test_tables_balance(grid: Network) -> None:
    found = grid.power_flow(tol_pu=1e-11)
    assert found.converged
    assert list(found.bus.columns) == BUS
    assert list(found.branch.columns) == BRANCH
    assert found.bus["p_mw"].sum() == pytest.approx(found.losses_mw, abs=1e-9)
    # what a bus injects is what its branches carry away
    ends = pd.concat([
        found.branch.set_index("from_bus")[["p_from_mw", "q_from_mvar"]].set_axis(["p", "q"], axis=1),
        found.branch.set_index("to_bus")[["p_to_mw", "q_to_mvar"]].set_axis(["p", "q"], axis=1),
    ])  # fmt: skip
    carried = ends.groupby(level=0).sum().reindex(found.bus["bus"], fill_value=0.0)
    np.testing.assert_allclose(found.bus["p_mw"], carried["p"], atol=1e-8)
    np.testing.assert_allclose(found.bus["q_mvar"], carried["q"], atol=1e-8)


def test_currents_and_loadings_agree() -> None:
    grid = network("ieee123")
    lines = grid.power_flow().branch.query("element == 'line'")
    rated = ~np.isnan(grid.branches.rating[lines["index"]])
    assert rated.any()
    expected = 100 * lines["i_ka"][rated] / grid.branches.rating[lines["index"]][rated]
    np.testing.assert_allclose(lines["loading_percent"][rated], expected, rtol=1e-6)
    assert lines["loading_percent"][~rated].isna().all()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_same_tables(name: str) -> None:
    grid = network("ieee34")
    truth, found = grid.power_flow(tol_pu=1e-11), grid.power_flow(method=name)
    np.testing.assert_allclose(found.bus["v_pu"], truth.bus["v_pu"], atol=2e-6)
    np.testing.assert_allclose(found.losses_mw, truth.losses_mw, atol=1e-5)
    np.testing.assert_allclose(found.slack, truth.slack, atol=2e-5)


def test_text_says_whether_it_converged() -> None:
    assert "converged in" in str(network("ieee13").power_flow())
    lost = scaled(network("ieee13"), load=50).power_flow()
    assert not lost.converged
    assert "NOT CONVERGED" in str(lost)


def test_oracle_marks_what_it_cannot_solve() -> None:
    grid = network("ieee13")
    oracle, own = method("pandapower"), own_load(grid)
    factor = np.array([1.0, 50.0, np.nan])[:, None]
    flow = oracle.solve(oracle.plan(grid), NodeLoad(own.p_mw * factor, own.q_mvar * factor))
    np.testing.assert_array_equal(flow.converged, [True, False, False])
    for name, value in zip(Flow._fields, flow, strict=True):
        assert np.isfinite(value).all(), name


def test_oracle_reads_no_switch() -> None:
    with pytest.raises(NetworkError, match=r'closed switch "switch_0_1".*sparse_lu'):
        method("pandapower").plan(odd_network(), meters=(0,))
