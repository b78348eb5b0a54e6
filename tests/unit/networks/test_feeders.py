"""The shipped feeders: published totals, hand-calculated lines, golden base cases, the published 13-node solution."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest
from network_equations import columns_equal, mismatch_mva, nodes

from powergrid.core.errors import NetworkError, UnknownNameError
from powergrid.networks import NETWORKS, Network, network
from powergrid.networks.feeders import positive_sequence_b, positive_sequence_z
from powergrid.networks.to_pandapower import upstream_gain, write_gains

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FEEDERS = ("ieee13", "ieee34", "ieee123")
ALL = (*FEEDERS, "case33bw")


def solve(grid: Network, net=None):
    net = grid.to_pandapower() if net is None else net
    start = grid.source_v_pu * upstream_gain(grid)
    pp.runpp(net, tolerance_mva=1e-9, init_vm_pu=start, init_va_degree="dc", numba=False)
    return net


@pytest.fixture(scope="module", params=ALL)
def solved(request):
    grid = network(request.param)
    return grid, solve(grid)


def test_golden_base_case(solved):
    grid, net = solved
    golden = json.loads((GOLDEN / grid.name / "base_case.json").read_text())
    assert list(golden["v_pu"]) == list(grid.buses.name)
    assert np.allclose(net.res_bus.vm_pu, list(golden["v_pu"].values()), atol=1e-9)
    assert np.allclose(net.res_bus.va_degree, list(golden["va_degree"].values()), atol=1e-7)
    loss_mw = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()
    assert loss_mw == pytest.approx(golden["loss_mw"], abs=1e-9)


def test_power_balances_in_our_own_equations(solved):
    grid, net = solved
    v = net.res_bus.vm_pu * np.exp(1j * np.deg2rad(net.res_bus.va_degree))
    assert mismatch_mva(grid, v.to_numpy()) < 1e-7


@pytest.mark.parametrize("name", ALL)
def test_round_trip_through_pandapower_gives_the_same_columns(name):
    grid = network(name)
    assert columns_equal(grid, Network.from_pandapower(grid.to_pandapower())) == []


@pytest.mark.parametrize(
    ("name", "buses", "p_mw", "q_mvar", "capacitors_mvar"),
    [
        ("ieee13", 14, 3.466, 2.102, 0.7),
        ("ieee34", 36, 1.769, 1.044, 0.75),
        ("ieee123", 128, 3.490, 1.920, 0.75),
        ("case33bw", 33, 3.715, 2.300, 0.0),
    ],
)
def test_published_totals(name, buses, p_mw, q_mvar, capacitors_mvar):
    grid = network(name)
    assert len(grid.buses.name) == buses
    assert grid.loads.p_mw.sum() == pytest.approx(p_mw, abs=1e-9)
    assert grid.loads.q_mvar.sum() == pytest.approx(q_mvar, abs=1e-9)
    assert -grid.shunts.q_mvar.sum() == pytest.approx(capacitors_mvar, abs=1e-12)
    assert grid.shunts.switchable.all()


@pytest.mark.parametrize("name", ALL)
def test_closed_branches_form_one_tree(name):
    grid = network(name)
    node, branches = nodes(grid), grid.branches
    lines = branches.closed & (np.array(branches.kind) != "switch")
    assert lines.sum() == node.max()
    reached = {node[grid.source_bus]}
    for _ in range(node.max() + 1):
        for a, b in zip(node[branches.from_bus[lines]], node[branches.to_bus[lines]], strict=True):
            if a in reached or b in reached:
                reached |= {a, b}
    assert len(reached) == node.max() + 1


def test_line_671_680_by_hand():
    """1000 ft of configuration 601: figures added up by hand from the published matrices."""
    grid = network("ieee13")
    line = grid.branch("671-680")
    z_base, miles = 4.16**2, 1000 / 5280
    r = (0.3465 + 0.3375 + 0.3414) / 3 - (0.156 + 0.158 + 0.1535) / 3
    x = (1.0179 + 1.0478 + 1.0348) / 3 - (0.5017 + 0.4236 + 0.3849) / 3
    b = ((6.2998 + 5.9597 + 5.6386) / 3 + (1.9958 + 1.2595 + 0.7417) / 3) * 1e-6
    assert grid.branches.r_pu[line] == pytest.approx(r * miles / z_base)
    assert grid.branches.x_pu[line] == pytest.approx(x * miles / z_base)
    assert grid.branches.b_pu[line] == pytest.approx(b * miles * z_base)
    assert grid.branches.rating[line] == 0.73


def test_laterals_by_hand():
    grid = network("ieee13")
    z_base = 4.16**2
    single, double = grid.branch("684-652"), grid.branch("671-684")
    assert grid.branches.r_pu[single] == pytest.approx(1.3425 * 800 / 5280 / z_base)
    assert grid.branches.x_pu[double] == pytest.approx(((1.3569 + 1.3471) / 2 - 0.4591) * 300 / 5280 / z_base)
    # Charging keeps the reactive power of the phases present: 652's one cable, at 4.16 kV / sqrt(3) to ground.
    assert grid.branches.b_pu[single] == pytest.approx(88.9912e-6 * 800 / 5280 * (4.16**2 / 3))


def test_positive_sequence_of_full_matrices_is_that_of_fortescue():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    matrix = matrix + matrix.T
    a = np.exp(2j * np.pi / 3) ** np.array([0, 2, 1])
    assert positive_sequence_z(matrix) == pytest.approx(np.conj(a) @ matrix @ a / 3)
    assert positive_sequence_b(matrix.real) == pytest.approx((np.conj(a) @ matrix.real @ a / 3).real)


def test_three_phase_codes_agree_with_the_sequence_impedances_of_version_1(shared):
    """PowerGrid 1 converted the three-phase codes independently, in ohm per km."""
    tables = json.loads((shared / "reference/v1/v1_reference.json").read_text())["networks"]
    checked = 0
    for name in FEEDERS:
        data = json.loads(files("powergrid.networks").joinpath("data", f"{name}.json").read_text())
        for row in tables[name]["lines"]:
            configuration = data["configurations"][row[3].removeprefix("CF-")]
            if configuration["phases"] != "ABC":
                continue
            pairs = np.array(configuration["z_ohm_per_mile"])
            z = positive_sequence_z(pairs[..., 0] + 1j * pairs[..., 1]) / 1.609344
            assert z.real == pytest.approx(row[5], rel=2e-3)
            assert z.imag == pytest.approx(row[6], rel=2e-3)
            checked += 1
    assert checked == 88


def test_loads_agree_with_the_published_tables(shared):
    for name in FEEDERS:
        published = json.loads((shared / f"reference/feeders/{name}.json").read_text())
        grid = network(name)
        at_bus = np.bincount(grid.loads.bus, grid.loads.p_mw, len(grid.buses.name))
        expected = dict.fromkeys(grid.buses.name, 0.0)
        for row in published["spot_loads"]:
            expected[row["node"]] += sum(row["kw"]) / 1000
        for row in published["distributed_loads"]:
            for bus in (row["from"], row["to"]):
                expected[bus] += sum(row["kw"]) / 2000
        assert np.allclose(at_bus, list(expected.values()), atol=1e-12)


def test_published_13_node_voltages(shared):
    """The equivalent stays close to the published positive sequence; what it cannot know is bounded, not hidden."""
    published = json.loads((shared / "reference/feeders/ieee13.json").read_text())["published"]["voltage"]
    grid = network("ieee13")
    v_pu = dict(zip(grid.buses.name, solve(grid).res_bus.vm_pu, strict=True))
    a = np.exp(2j * np.pi / 3)
    turn = {"A": 1.0, "B": a, "C": a * a}
    for bus, phases in published.items():
        phasors = [turn[p] * v * np.exp(1j * np.deg2rad(angle)) for p, (v, angle) in phases.items()]
        difference = abs(v_pu[bus] - abs(np.mean(phasors)))
        # Loads of constant current and impedance are constant power here; a lateral shows the three-phase mean.
        bound = 0.0015 if len(phases) == 3 else 0.03
        assert difference < bound, f"bus {bus}: {v_pu[bus]:.4f} against {abs(np.mean(phasors)):.4f}"


@pytest.mark.parametrize(
    ("name", "taps"),
    [("ieee13", [29 / 3]), ("ieee34", [22 / 3, 12.0]), ("ieee123", [7.0, -1.0, -0.5, 14 / 3])],
)
def test_regulators_carry_the_mean_of_the_published_taps(name, taps):
    grid = network(name)
    regulators, branches = grid.regulators, grid.branches
    assert np.allclose(regulators.tap, taps)
    assert np.allclose(1 / branches.ratio[regulators.branch], 1 + 0.00625 * np.array(taps))
    assert np.allclose(branches.x_pu[regulators.branch], 1e-4)
    assert (regulators.tap_min == -16).all()
    assert (regulators.tap_max == 16).all()


def test_ratings_by_configuration():
    grids = {name: network(name) for name in FEEDERS}

    def rating(name, branch):
        return grids[name].branches.rating[grids[name].branch(branch)]

    assert rating("ieee13", "632-633") == 0.34
    assert rating("ieee13", "632-645") == 0.23
    assert rating("ieee13", "692-675") == 0.26
    assert rating("ieee34", "800-802") == 0.23
    assert rating("ieee123", "149-1") == 0.53
    assert rating("ieee13", "633-634") == 0.5


def test_ieee123_ties_stay_open_and_foreign_feeders_are_left_out():
    grid = network("ieee123")
    open_ = [grid.branches.name[k] for k in np.flatnonzero(~grid.branches.closed)]
    assert sorted(open_) == ["151-300", "54-94"]
    assert not {"251", "350", "451"} & set(grid.buses.name)


def test_low_voltage_side_of_transformers():
    grid = network("ieee34")
    low = [name for name, kv in zip(grid.buses.name, grid.buses.vn_kv, strict=True) if kv == 4.16]
    assert low == ["888", "890"]
    assert network("ieee13").buses.vn_kv[network("ieee13").bus("634")] == 0.48


def test_options():
    grid = network("ieee34", source_v_pu=1.04, load_scale=0.5, taps="neutral")
    assert grid.source_v_pu == 1.04
    assert grid.loads.p_mw.sum() == pytest.approx(1.769 / 2)
    assert (grid.regulators.tap == 0).all()
    assert (grid.branches.ratio == 1).all()
    assert -grid.shunts.q_mvar.sum() == pytest.approx(0.75)


def test_written_gains_move_the_taps_of_a_converted_net():
    grid = network("ieee34", taps="neutral")
    published = network("ieee34")
    gain = 1 + published.regulators.tap * published.regulators.step_pu
    net = grid.to_pandapower()
    write_gains(net, grid, gain)
    start = grid.source_v_pu * upstream_gain(grid, gain)
    pp.runpp(net, tolerance_mva=1e-9, init_vm_pu=start, init_va_degree="dc", numba=False)
    assert np.allclose(net.res_bus.vm_pu, solve(published).res_bus.vm_pu, atol=1e-10)


def test_names_are_found_with_the_nearest_match():
    assert {"ieee13", "ieee34", "ieee123", "case33bw"} <= set(NETWORKS.names())
    with pytest.raises(UnknownNameError, match='did you mean "ieee34"'):
        network("iee34")
    with pytest.raises(NetworkError, match='did you mean "load_scale"'):
        network("ieee13", load_scal=2.0)
    with pytest.raises(NetworkError, match='phases="three" is not available'):
        network("case33bw", phases="three")
    with pytest.raises(NetworkError, match='"published" or "neutral"'):
        network("ieee13", taps="zero")
