"""Networks that cannot be solved say everything that is wrong with them, by table and row."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandapower as pp
import pytest

from powergrid.core.errors import NetworkError, NetworkFaults
from powergrid.networks import Generators, Loads, Network, Sources, network
from powergrid.powerflow import method


def changed(grid: Network, table: str, **cells: dict[int, float]) -> Network:
    """The network with some cells of a table replaced: ``r_pu={3: 0.0}``."""
    columns = getattr(grid, table)
    for column, values in cells.items():
        own = getattr(columns, column).copy()
        for row, value in values.items():
            own[row] = value
        columns = columns._replace(**{column: own})
    return replace(grid, **{table: columns})


def no_loads(grid: Network) -> Network:
    nothing = np.zeros(0)
    return replace(grid, loads=Loads((), nothing.astype(int), nothing, nothing))


def second_source(grid: Network, bus: int) -> Network:
    return replace(grid, sources=Sources(("second",), np.array([bus]), np.ones(1), np.zeros(1)))


def faults_of(grid: Network) -> dict[str, str]:
    """Place and message of every fault that each method's plan raises."""
    found = []
    for name in ("sparse_lu", "newton", "zbus"):
        with pytest.raises(NetworkFaults) as caught:
            method(name).plan(grid)
        found.append({issue.path: issue.message for issue in caught.value.issues})
        assert all(issue.hint for issue in caught.value.issues)
    assert found[0] == found[1] == found[2]
    return found[0]


CASES = {
    "island": (
        lambda g: changed(g, "branches", closed={24: False}),
        {"buses[25]": 'island of 8 buses without a path to the source at bus "0": 25, 26, 27, 28, 29, 30, 31, 32'},
    ),
    "unfed bus": (
        lambda g: changed(g, "branches", closed={20: False}),
        {"buses[21]": 'nothing feeds bus "21": it has no path to the source at bus "0"'},
    ),
    "no impedance": (
        lambda g: changed(g, "branches", r_pu={3: 0.0}, x_pu={3: 0.0}),
        {"branches[3].r_pu": 'branch "line_3" (line) has no impedance'},
    ),
    "two sources": (
        lambda g: second_source(g, 0),
        {"sources[0]": 'the source at bus "0" and source "second" are at one bus, "0"'},
    ),
    "negative rating": (
        lambda g: changed(g, "branches", rating={7: -0.4}),
        {"branches[7].rating": 'branch "line_7" (line) has a rating of -0.4'},
    ),
    "not a number": (
        lambda g: changed(g, "loads", p_mw={2: np.nan}),
        {"loads[2].p_mw": 'load "load_2" has p_mw = nan'},
    ),
    "infinite": (
        lambda g: changed(g, "branches", x_pu={2: np.inf}),
        {"branches[2].x_pu": 'branch "line_2" has x_pu = inf'},
    ),
    "nominal voltage": (
        lambda g: changed(g, "buses", vn_kv={4: 0.0}),
        {"buses[4].vn_kv": 'bus "4" has a nominal voltage of 0 kV'},
    ),
    "source voltage": (
        lambda g: replace(g, source_v_pu=float("nan")),
        {"source_v_pu": "the source has nan"},
    ),
    "no load": (no_loads, {"loads": "the network has no load and no generator"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_named_by_table_and_row(case: str) -> None:
    spoil, expected = CASES[case]
    assert faults_of(spoil(network("case33bw"))) == expected


def test_all_faults_come_at_once() -> None:
    grid, expected = network("case33bw"), {}
    for case in ("island", "unfed bus", "no impedance", "two sources", "negative rating", "not a number"):
        spoil, faults = CASES[case]
        grid, expected = spoil(grid), expected | faults
    assert faults_of(grid) == expected
    with pytest.raises(NetworkFaults) as caught:
        grid.power_flow()
    assert str(caught.value).startswith('network "case33bw" has 6 faults:')
    assert len(pickle.loads(pickle.dumps(caught.value)).issues) == 6


def test_sources_joined_by_a_switch_are_at_one_bus() -> None:
    net = pp.create_empty_network()
    a, b = pp.create_buses(net, 2, 20.0)
    pp.create_switch(net, a, b, et="b", closed=True)
    pp.create_load(net, b, 1.0)
    for bus in (a, b):
        pp.create_ext_grid(net, bus, name=f"grid {bus}")
    grid = Network.from_pandapower(net)
    assert list(faults_of(grid)) == ["sources[0]"]
    apart = replace(grid, branches=grid.branches._replace(closed=np.array([False])))
    assert apart.power_flow().converged


def test_an_island_with_a_source_of_its_own_is_none() -> None:
    grid = second_source(changed(network("case33bw"), "branches", closed={24: False}), 25)
    assert grid.power_flow().converged


def test_limits_may_be_infinite_and_a_load_may_be_zero() -> None:
    grid = network("case33bw")
    free = Generators(("g",), np.array([17]), np.zeros(1), np.ones(1), np.array([-np.inf]), np.array([np.inf]))
    assert replace(grid, generators=free).power_flow().converged
    idle = replace(grid, loads=Loads(("idle",), np.array([5]), np.zeros(1), np.zeros(1)))
    assert np.allclose(idle.power_flow().bus.v_pu, grid.source_v_pu)
    broken = replace(grid, generators=free._replace(q_max_mvar=np.array([np.nan])))
    with pytest.raises(NetworkError, match=r"generators\[0\]\.q_max_mvar: generator \"g\" has q_max_mvar = nan"):
        broken.power_flow()


def test_the_faults_of_a_pandapower_net_are_named_as_it_names_its_elements() -> None:
    net = pp.create_empty_network(name="small")
    a, b, _ = pp.create_buses(net, 3, 20.0)
    pp.create_ext_grid(net, a)
    line = {"r_ohm_per_km": 0.1, "x_ohm_per_km": 0.1, "c_nf_per_km": 0.0}
    pp.create_line_from_parameters(net, a, b, 0.0, max_i_ka=-0.2, name="cable", **line)
    pp.create_load(net, b, float("nan"), name="works")
    with pytest.raises(NetworkFaults) as caught:
        Network.from_pandapower(net).power_flow()
    assert [issue.path for issue in caught.value.issues] == [
        "loads[0].p_mw", "branches[0].rating", "branches[0].r_pu", "buses[2]",
    ]  # fmt: skip
    assert 'load "works"' in str(caught.value)
    assert 'branch "cable"' in str(caught.value)
