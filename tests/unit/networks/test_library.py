"""Every registered network: its recorded base case, its source, its drawing, and what made-up ones promise."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from powergrid.core.errors import NetworkError
from powergrid.networks import NETWORKS, Network, network
from powergrid.studies.one_line import positions

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
NAMES = NETWORKS.names()
SMALL = [name for name in NAMES if name not in ("radial", "ieee_european_lv")]


def test_there_are_networks_of_many_kinds() -> None:
    assert len(NAMES) >= 16


@pytest.mark.parametrize("name", NAMES)
def test_the_base_case_equals_the_record(name: str) -> None:
    golden = json.loads((GOLDEN / name / "base_case.json").read_text())
    result = network(name).power_flow(tol_pu=1e-10)
    assert result.converged
    assert list(golden["v_pu"]) == result.bus.bus.tolist()
    np.testing.assert_allclose(result.bus.v_pu, list(golden["v_pu"].values()), atol=1e-6)
    np.testing.assert_allclose(result.bus.va_degree, list(golden["va_degree"].values()), atol=1e-4)
    load_mw = golden["load_mw"]
    assert result.losses_mw == pytest.approx(golden["loss_mw"], abs=1e-6 * load_mw)
    assert result.slack.p_mw == pytest.approx(golden["source_mw"], abs=1e-6 * load_mw)
    assert result.slack.q_mvar == pytest.approx(golden["source_mvar"], abs=1e-5 * load_mw)


@pytest.mark.parametrize("name", NAMES)
def test_figures_have_a_source_and_the_record_a_provenance(name: str) -> None:
    assert network(name).source_note
    assert "Source:" in (inspect.getdoc(NETWORKS.get(name)) or "")
    readme = (GOLDEN / name / "README.txt").read_text()
    assert "Computed by pandapower" in readme
    assert "Source of the network" in readme


@pytest.mark.parametrize("name", SMALL)
def test_load_scale_multiplies_the_load(name: str) -> None:
    assert network(name, load_scale=0.5).loads.p_mw.sum() == pytest.approx(0.5 * network(name).loads.p_mw.sum())


@pytest.mark.parametrize("name", SMALL)
def test_the_way_to_pandapower_and_back_changes_nothing(name: str) -> None:
    grid = network(name)
    again = Network.from_pandapower(grid.to_pandapower())
    assert again.buses.name == grid.buses.name
    assert len(again.branches.name) == len(grid.branches.name)
    first, second = grid.power_flow(tol_pu=1e-11), again.power_flow(tol_pu=1e-11)
    np.testing.assert_allclose(second.bus.v_pu, first.bus.v_pu, atol=1e-9)
    assert second.losses_mw == pytest.approx(first.losses_mw, abs=1e-9 * grid.loads.p_mw.sum())


@pytest.mark.parametrize("name", SMALL)
def test_no_two_buses_are_drawn_at_one_place(name: str) -> None:
    x, y = positions(network(name))
    assert np.isfinite(x).all()
    places = set(zip(np.round(x, 9).tolist(), np.round(y, 9).tolist(), strict=True))
    assert len(places) == len(x)


@pytest.mark.parametrize("microgrids", range(1, 7))
def test_a_microgrid_park_keeps_its_voltages(microgrids: int) -> None:
    result = network("microgrid_park", microgrids=microgrids).power_flow()
    assert result.converged
    assert result.bus.v_pu.min() >= 0.95
    assert result.bus.v_pu.max() <= 1.05
    assert result.branch.loading_percent.max() <= 100


def test_a_microgrid_park_has_six_places() -> None:
    with pytest.raises(NetworkError, match="1 to 6 microgrids, not 7"):
        network("microgrid_park", microgrids=7)


@pytest.mark.parametrize("n", [2, 3, 7, 30, 151, 1000, 10_000])
def test_made_up_feeders_are_feasible_trees_of_the_size_asked_for(n: int) -> None:
    for seed in range(3 if n < 5000 else 1):
        grid = network("radial", n=n, seed=seed)
        assert len(grid.buses.name) == n
        assert len(grid.branches.name) == n - 1  # and connected, or it would not solve: a tree
        result = grid.power_flow()
        assert result.converged
        assert result.bus.v_pu.min() >= 0.94
        assert result.branch.loading_percent.max() <= 100
        drop = grid.source_v_pu - result.bus.v_pu.min()
        assert drop > 0.02 or n < 100  # not an idle one either


def test_made_up_feeders_follow_their_seed() -> None:
    first, same, other = (network("radial", n=200, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.branches.r_pu, same.branches.r_pu)
    assert not np.array_equal(first.branches.r_pu, other.branches.r_pu)


@pytest.mark.parametrize("n", [1, 100_001])
def test_made_up_feeders_have_a_range(n: int) -> None:
    with pytest.raises(NetworkError, match="between 2 and 100000"):
        network("radial", n=n)
