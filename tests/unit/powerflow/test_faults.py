"""Networks that cannot be solved say everything that is wrong with them, by table and row."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

import powergrid
from powergrid.core.errors import ConfigError, NetworkError, NetworkFaults
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


def everything_wrong(loaded: bool) -> pp.pandapowerNet:
    """A net with every fault at once; without any load, or with one of no known size."""
    net = pp.create_empty_network(name="small")
    b = pp.create_buses(net, 9, 20.0)
    pp.create_ext_grid(net, b[0])
    pp.create_ext_grid(net, b[0], vm_pu=1.02, name="second")
    line = {"r_ohm_per_km": 0.1, "x_ohm_per_km": 0.1, "c_nf_per_km": 0.0}
    for start, end, km, rating, name in [
        (0, 1, 1.0, -0.2, "cable"), (1, 2, 0.0, 0.2, "bar"), (2, 3, 1.0, 0.2, None), (4, 5, 1.0, 0.2, "far"),
    ]:  # fmt: skip
        pp.create_line_from_parameters(net, b[start], b[end], km, max_i_ka=rating, name=name, **line)
    net.line.loc[2, "x_ohm_per_km"] = np.nan
    shared = {"vn_hv_kv": 20.0, "vn_lv_kv": 20.0, "pfe_kw": 0.0, "i0_percent": 0.0}
    pp.create_transformer_from_parameters(
        net, b[0], b[7], sn_mva=-1.0, vkr_percent=1, vk_percent=6, name="small", **shared
    )
    pp.create_transformer_from_parameters(
        net, b[0], b[8], sn_mva=1.0, vkr_percent=0, vk_percent=0, name="ideal", **shared
    )
    if loaded:
        pp.create_load(net, b[1], np.nan, name="works")
    return net


WRONG = {
    "branches[2].r_pu": 'branch "line_2" has r_pu = nan and x_pu = nan',
    "branches[0].rating": 'branch "cable" (line) has a rating of -0.2',
    "branches[4].rating": 'branch "small" (transformer) has a rating of -1',
    "branches[1].r_pu": 'branch "bar" (line) has no impedance',
    "branches[5].r_pu": 'branch "ideal" (transformer) has no impedance',
    "buses[4]": 'island of 2 buses without a path to the source at bus "0": 4, 5',
    "buses[6]": 'nothing feeds bus "6": it has no path to the source at bus "0"',
    "sources[0]": 'the source at bus "0" and source "second" are at one bus, "0", at 1 and 1.02 pu',
}


@pytest.mark.parametrize("loaded", [True, False])
def test_everything_wrong_with_a_pandapower_net_comes_in_one_message(loaded: bool) -> None:
    of_loads = {"loads[0].p_mw": 'load "works" has p_mw = nan'}
    if not loaded:
        of_loads = {"loads": "the network has no load and no generator"}
    assert faults_of(Network.from_pandapower(everything_wrong(loaded))) == WRONG | of_loads


def test_a_configuration_tells_the_faults_of_its_network_by_file_and_line(tmp_path: Path) -> None:
    pp.to_json(everything_wrong(True), str(tmp_path / "net.json"))
    file = tmp_path / "spoilt.yaml"
    file.write_text("name: spoilt\nnetwork:\n  file: net.json\nagents:\n  - {id: a, type: ESS, bus: nowhere}\n")
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(file)
    issues = caught.value.issues
    told = {issue.message for issue in issues if issue.path == "network.file"}
    assert told == {f"{path}: {message}" for path, message in WRONG.items()} | {
        'loads[0].p_mw: load "works" has p_mw = nan'
    }
    assert {issue.line for issue in issues if issue.path == "network.file"} == {3}
    assert any(issue.path == "agents[0].bus" for issue in issues)


def test_external_grids_of_one_voltage_at_one_bus_are_one_source() -> None:
    net = pp.create_empty_network()
    a, b = pp.create_buses(net, 2, 20.0)
    pp.create_ext_grid(net, a, vm_pu=1.01)
    pp.create_ext_grid(net, a, vm_pu=1.01)
    pp.create_line(net, a, b, 1.0, "NAYY 4x150 SE")
    pp.create_load(net, b, 0.1)
    grid = Network.from_pandapower(net)
    assert not grid.sources.name
    assert grid.power_flow().bus.v_pu.iloc[0] == pytest.approx(1.01)
    net.ext_grid.loc[1, "va_degree"] = 5.0
    assert list(faults_of(Network.from_pandapower(net))) == ["sources[0]"]


def test_a_missing_number_at_one_end_of_an_impedance_is_found() -> None:
    net = pp.create_empty_network()
    a, b = pp.create_buses(net, 2, 20.0)
    pp.create_ext_grid(net, a)
    pp.create_impedance(net, a, b, 0.01, 0.01, 10.0, name="tie")
    pp.create_load(net, b, 0.1)
    net.impedance["gt_pu"] = np.nan
    assert faults_of(Network.from_pandapower(net)) == {
        "shunts[0].p_mw": 'shunt "tie.shunt" has p_mw = nan and q_mvar = nan'
    }
