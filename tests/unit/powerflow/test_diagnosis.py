"""What is said about a power flow without a solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from powergrid.core.errors import NetworkError
from powergrid.networks import network
from powergrid.studies import explain

from .nose import nose


@pytest.mark.parametrize("loading", [1.0, 6.0])
def test_the_limit_is_the_nose_however_it_is_approached(loading: float) -> None:
    limit = nose(network("case33bw"))
    found = explain(network("case33bw"), loading)
    assert found.converged == (loading < limit)
    assert found.solved_loading <= limit * (1 + 1e-6)
    assert limit <= found.failed_loading * (1 + 1e-6)
    assert found.failed_loading / found.solved_loading < 1.002


def test_the_bus_that_cannot_be_fed_comes_first() -> None:
    grid = network("case33bw")
    heavy = grid.loads.p_mw.copy()
    row = grid.loads.bus.tolist().index(grid.bus("17"))
    heavy[row] *= 60.0  # the end of the longest branch
    found = explain(replace(grid, loads=grid.loads._replace(p_mw=heavy)), rows=3)
    assert not found.converged
    assert found.buses.bus[0] == "17"
    assert found.branches.branch[0] == "line_16"
    assert len(found.buses) == len(found.branches) == 3
    size = np.hypot(found.buses.p_mw, found.buses.q_mvar)
    assert np.all(np.diff(size) <= 0)
    assert size[0] == pytest.approx(found.branches.residual_mva[0])
    assert "no solution" in str(found)


def test_generators_are_balanced_where_a_flow_is_solved() -> None:
    found = explain(network("case30"))
    assert found.converged
    assert found.method == "newton"
    assert 1.0 < found.solved_loading < found.failed_loading
    assert not {"p_mw", "q_mvar", "v_pu", "v_solved_pu"} - set(found.buses)
    assert np.isfinite(found.buses[["p_mw", "q_mvar", "v_pu"]].to_numpy()).all()


def test_branches_without_a_rating_have_a_drop_and_no_loading() -> None:
    found = explain(network("case33bw"))
    v_pu = dict(zip(found.buses.bus, found.buses.v_solved_pu, strict=True))
    assert found.branches.loading_percent.isna().all()
    for row in found.branches.itertuples():
        if row.from_bus in v_pu and row.to_bus in v_pu:
            assert row.drop_pu == pytest.approx(v_pu[row.from_bus] - v_pu[row.to_bus])
    assert (found.branches.drop_pu > 0.0).all()


def test_phases_are_named() -> None:
    found = explain(network("ieee13", phases="three"), 20.0)
    assert not found.converged
    assert set(found.buses.phase) <= set("abc")
    assert 1.0 < found.solved_loading < 20.0


def test_a_network_that_is_never_solved() -> None:
    grid = network("case5")
    far = replace(grid, generators=grid.generators._replace(p_mw=100.0 * grid.generators.p_mw))
    found = explain(far)
    assert np.isnan(found.solved_loading)
    assert "nor without any load" in str(found)


@pytest.mark.parametrize("loading", [-1.0, float("nan")])
def test_a_loading_is_a_factor(loading: float) -> None:
    with pytest.raises(NetworkError, match="factor on all loads"):
        explain(network("case5"), loading)
