"""Three-phase flows: the published solution, an independent program, a dense Newton, and textbook identities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import root

from powergrid.core.errors import NetworkError, NetworkFaults
from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.networks import UnbalancedNetwork, network
from powergrid.networks.phase_builder import PhaseBuilder
from powergrid.networks.phase_elements import transformer_matrix
from powergrid.powerflow import method, sparse_lu
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.sequence import unbalance

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FEEDERS = ("ieee13", "ieee34", "ieee123")
# The published solution of the 13-bus feeder (IEEE PES Distribution System Analysis Subcommittee, 24 June 2004).
PUBLISHED_13 = {
    "RG60": (1.0625, 1.0500, 1.0687), "632": (1.0210, 1.0420, 1.0174), "633": (1.0180, 1.0401, 1.0148),
    "634": (0.9940, 1.0218, 0.9960), "645": (None, 1.0329, 1.0155), "646": (None, 1.0311, 1.0134),
    "671": (0.9900, 1.0529, 0.9778), "680": (0.9900, 1.0529, 0.9778), "684": (0.9881, None, 0.9758),
    "611": (None, None, 0.9738), "652": (0.9825, None, None), "692": (0.9900, 1.0529, 0.9777),
    "675": (0.9835, 1.0553, 0.9758),
}  # fmt: skip


@pytest.fixture(scope="module", params=FEEDERS)
def feeder(request: pytest.FixtureRequest) -> UnbalancedNetwork:
    return network(request.param, phases="three")


def test_published_solution_of_the_13_bus_feeder() -> None:
    found = network("ieee13", phases="three").power_flow()
    v = found.bus.set_index(["bus", "phase"])["v_pu"]
    for bus, row in PUBLISHED_13.items():
        for phase, value in zip("abc", row, strict=True):
            if value is not None:
                assert v[bus, phase] == pytest.approx(value, abs=0.0003), (bus, phase)
    assert 1000 * found.losses_mw == pytest.approx(111.063, rel=0.002)
    assert 1000 * found.slack.p_mw == pytest.approx(3577.191, rel=0.001)
    assert 1000 * found.slack.q_mvar == pytest.approx(1724.772, rel=0.001)


def test_feeders_agree_with_opendss(feeder: UnbalancedNetwork) -> None:
    golden = json.loads((GOLDEN / f"{feeder.name}_three_phase" / "three_phase.json").read_text())
    found = feeder.power_flow(tol_pu=1e-10)
    assert found.converged
    assert sum(map(len, golden["v_pu"].values())) == len(found.bus)
    for row in found.bus.itertuples():
        assert row.v_pu == pytest.approx(golden["v_pu"][row.bus][row.phase], abs=5e-5), row
        apart = row.va_degree - golden["va_degree"][row.bus][row.phase]
        assert (apart + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.005), row
    assert found.losses_mw == pytest.approx(golden["loss_mw"], rel=5e-4)
    assert found.slack.p_mw == pytest.approx(golden["source_mw"], rel=5e-5)
    assert found.slack.q_mvar == pytest.approx(golden["source_mvar"], rel=5e-4)


def dense_newton(grid: UnbalancedNetwork) -> np.ndarray:
    """Node voltages from SciPy's root finder on the dense current balance, written anew from the network's columns."""
    m, b = len(grid.buses.name), grid.branches
    y = np.zeros((m, m), complex)
    at = value = 0
    for size in grid.blocks.size:
        nodes = grid.blocks.node[at : at + size]
        y[np.ix_(nodes, nodes)] += grid.blocks.y_pu[value : value + size**2].reshape(size, size)
        at, value = at + size, value + size**2
    for row, kind in enumerate(b.kind):
        f, t = b.from_bus[row], b.to_bus[row]
        if kind == "switch" and b.closed[row]:
            y[np.ix_([f, t], [f, t])] += 1e6 * np.array([[1, -1], [-1, 1]])
        elif kind == "regulator":
            n, series = 1 / b.ratio[row], 1 / (1j * b.x_pu[row])
            y[np.ix_([f, t], [f, t])] += series * np.array([[n * n, -n], [-n, 1]])
    np.add.at(y, (grid.shunts.bus, grid.shunts.bus), -1j * grid.shunts.q_mvar)
    source = grid.source_v_pu * np.exp(1j * np.deg2rad(grid.source_angle_degree))
    free = np.setdiff1d(np.arange(m), grid.source_nodes)
    loads, place = (
        grid.loads,
        np.array([[n, -1] for n in range(m)] + list(zip(*grid.pairs, strict=True)))[grid.loads.bus],
    )

    def balance(x: np.ndarray) -> np.ndarray:
        v = np.zeros(m + 1, complex)  # the last is earth
        v[grid.source_nodes], v[free] = source, x[: len(free)] + 1j * x[len(free) :]
        current = y @ v[:m]
        across = v[place[:, 0]] - v[place[:, 1]]
        size = np.abs(across) / np.where(place[:, 1] < 0, 1.0, np.sqrt(3.0))
        p = loads.p_mw * (1 - loads.i_share_p - loads.z_share_p + loads.i_share_p * size + loads.z_share_p * size**2)
        q = loads.q_mvar * (1 - loads.i_share_q - loads.z_share_q + loads.i_share_q * size + loads.z_share_q * size**2)
        drawn, total = np.conj((p + 1j * q) / across), np.append(current, 0)
        np.add.at(total, place[:, 0], drawn)
        np.add.at(total, place[:, 1], -drawn)
        return np.concatenate([total[free].real, total[free].imag])

    start = np.array([source["abc".index(phase)] for phase in grid.buses.phase])[free]
    found = root(balance, np.concatenate([start.real, start.imag]), method="hybr", tol=1e-12)
    assert np.abs(found.fun).max() < 1e-6
    v = np.zeros(m, complex)
    v[grid.source_nodes], v[free] = source, found.x[: len(free)] + 1j * found.x[len(free) :]
    return v


@pytest.mark.parametrize("name", ["ieee13", "ieee34"])
def test_feeders_agree_with_a_dense_newton(name: str) -> None:
    grid = network(name, phases="three")
    flow = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-11), grid.node_load())
    np.testing.assert_allclose(
        flow.v_re + 1j * flow.v_im, dense_newton(grid), atol=1e-6
    )  # a closed switch is 1e-6 pu there


def test_tables_balance(feeder: UnbalancedNetwork) -> None:
    found = feeder.power_flow(tol_pu=1e-11)
    assert found.bus["p_mw"].sum() == pytest.approx(found.losses_mw, abs=1e-8)
    ends = [
        found.branch.groupby([f"{end}_bus", "phase"])[[f"p_{end}_mw", f"q_{end}_mvar"]]
        .sum()
        .set_axis(["p", "q"], axis=1)
        .rename_axis(["bus", "phase"])
        for end in ("from", "to")
    ]
    carried = ends[0].add(ends[1], fill_value=0.0)
    bus = found.bus.set_index(["bus", "phase"]).sort_index()
    np.testing.assert_allclose(bus["p_mw"], carried.reindex(bus.index)["p"], atol=1e-8)
    np.testing.assert_allclose(bus["q_mvar"], carried.reindex(bus.index)["q"], atol=1e-8)
    source = bus.loc[feeder.buses.bus[feeder.source_bus]]
    assert source["p_mw"].sum() == pytest.approx(found.slack.p_mw, abs=1e-9)


def test_a_batch_equals_its_scenarios_to_the_bit(feeder: UnbalancedNetwork) -> None:
    plan, own, rng = sparse_lu.plan(feeder), feeder.node_load(), np.random.default_rng(0)
    factor = rng.uniform(0.3, 1.1, (9, len(feeder.places)))
    load = NodeLoad(*(part * factor for part in own))
    taps = plan.tap_ratio * rng.uniform(0.97, 1.03, (9, len(plan.tap_ratio)))
    batch = sparse_lu.solve(plan, load, Control(tap_ratio=taps))
    assert batch.converged.all()
    for k in range(9):
        one = sparse_lu.solve(plan, NodeLoad(*(part[k] for part in load)), Control(tap_ratio=taps[k]))
        for name, whole, single in zip(Flow._fields, batch, one, strict=True):
            np.testing.assert_array_equal(whole[k], single, err_msg=name)


def test_taps_as_controls_equal_taps_in_the_columns() -> None:
    neutral, published = (network("ieee34", phases="three", taps=taps) for taps in ("neutral", "published"))
    control = Control(tap_ratio=compile_network(published).tap_ratio)
    moved = sparse_lu.solve(sparse_lu.plan(neutral, tol_pu=1e-11), neutral.node_load(), control)
    own = sparse_lu.solve(sparse_lu.plan(published, tol_pu=1e-11), published.node_load())
    np.testing.assert_allclose(moved.v_re, own.v_re, atol=1e-10)
    assert moved.loss_mw == pytest.approx(own.loss_mw, abs=1e-10)


def test_a_meter_adds_up_the_phases_of_its_branch() -> None:
    grid = network("ieee13", phases="three")
    head, line, switch = (grid.rows(name) for name in ("650-RG60", "632-671", "671-692"))
    flow = sparse_lu.solve(sparse_lu.plan(grid, meters=(head, line, switch)), grid.node_load())
    table = grid.power_flow().branch
    assert flow.p_meter_mw[0] == pytest.approx(flow.p_slack_mw, abs=1e-9)
    for meter, name in ((1, "632-671"), (2, "671-692")):
        rows = table.loc[[f"{name}.{phase}" for phase in "abc"]]
        assert flow.p_meter_mw[meter] == pytest.approx(rows["p_from_mw"].sum(), abs=1e-7)
        assert flow.q_meter_mvar[meter] == pytest.approx(rows["q_from_mvar"].sum(), abs=1e-7)


def bank(vector_group: str, *, phases: str = "abc", load_at: str = "Y") -> UnbalancedNetwork:
    """A source, a bank of 1 MVA 12.47/4.16 kV, and a load of which phase a draws more."""
    builder = PhaseBuilder()
    builder.bus("high", 12.47, "abc")
    builder.bus("low", 4.16, phases)
    builder.transformer("high", "low", vector_group, sn_mva=1.0, z_pu=0.01 + 0.06j, kv=(12.47, 4.16), phases=phases)
    kw, kvar = (150.0, 100.0, 100.0), (60.0, 40.0, 40.0)
    builder.load("load", "low", load_at, "PQ", kw, kvar)
    return builder.build("bank", "high", source_v_pu=1.0, f_hz=60.0, source_note="")


@pytest.mark.parametrize(
    ("group", "load_at", "shift"),
    [("YNyn0", "Y", 0), ("Dyn1", "Y", -30), ("Dyn11", "Y", 30), ("Dyn5", "Y", -150), ("YNd1", "D", -30),
     ("Yd11", "D", 30), ("Dd0", "D", 0), ("Yy0", "D", 0), ("Vv0", "D", 0)],
)  # fmt: skip
def test_banks_turn_the_voltage_by_their_clock_number(group: str, load_at: str, shift: float) -> None:
    grid = bank(group, load_at=load_at)
    idle = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-10), NodeLoad(*(0 * part for part in grid.node_load())))
    v = (idle.v_re + 1j * idle.v_im)[3:]
    for k, mate in ((0, 1), (1, 2), (2, 0)):
        between = (v[k] - v[mate]) / np.sqrt(3)
        assert abs(between) == pytest.approx(1.0, abs=2e-6)
        turn = np.rad2deg(np.angle(between * np.exp(-1j * np.deg2rad(30 - 120 * k))))
        assert turn == pytest.approx(shift, abs=1e-3)
    loaded = grid.power_flow()
    assert loaded.converged
    assert loaded.bus["p_mw"].sum() == pytest.approx(loaded.losses_mw, abs=1e-8)


@pytest.mark.parametrize("hour", [1, 3, 5, 7, 9, 11])
def test_a_loaded_star_is_fed_by_the_delta_winding_that_its_clock_number_names(hour: int) -> None:
    """Winding by winding with a stiff source: ``v = u - z i``, `u` the delta winding voltage that lags by the hour."""
    grid = bank(f"Dyn{hour}")
    found = grid.power_flow(tol_pu=1e-12)
    v = (found.bus.v_pu * np.exp(1j * np.deg2rad(found.bus.va_degree))).to_numpy()
    source, z = np.exp(-2j * np.pi / 3 * np.arange(3)), (0.01 + 0.06j) * 3
    windings = [(i, j) for i in range(3) for j in range(3) if i != j]
    power = 0.0
    for k, load in enumerate((0.15 + 0.06j, 0.1 + 0.04j, 0.1 + 0.04j)):
        target = source[k] * np.exp(-1j * np.deg2rad(30 * hour))
        i, j = min(windings, key=lambda ends: abs((source[ends[0]] - source[ends[1]]) / np.sqrt(3) - target))
        u = (source[i] - source[j]) / np.sqrt(3)
        assert u == pytest.approx(target, abs=1e-12)
        own = u
        for _ in range(60):
            own = u - z * np.conj(load / own)
        assert v[3 + k] == pytest.approx(own, abs=1e-6)  # the path to earth of the delta moves the seventh digit
        power += u * load / own  # enters the winding: u conj(i)
    assert complex(*found.slack) == pytest.approx(power, abs=2e-6)


def test_no_load_losses_are_drawn_from_the_source() -> None:
    builder = PhaseBuilder()
    builder.bus("high", 12.47, "abc")
    builder.bus("low", 4.16, "abc")
    no_load = 0.004 - 0.02j
    builder.transformer(
        "high", "low", "YNyn0", sn_mva=1.5, z_pu=0.01 + 0.06j, kv=(12.47, 4.16), no_load_pu=no_load
    )  # fmt: skip
    builder.load("idle", "low", "Y", "PQ", [0.0] * 3, [0.0] * 3)
    idle = builder.build("bank", "high", source_v_pu=1.0, f_hz=60.0, source_note="").power_flow(tol_pu=1e-12)
    # half behind the leakage impedance, in per unit of the bank
    y = no_load / 2 + 1 / ((0.01 + 0.06j) + 2 / no_load)
    assert complex(*idle.slack) == pytest.approx(1.5 * np.conj(y), rel=1e-9)
    assert idle.losses_mw == pytest.approx(idle.slack.p_mw, rel=1e-9)


def small_feeder(add: object) -> UnbalancedNetwork:
    """A line to an unevenly loaded bus, at which `add` puts something."""
    builder = PhaseBuilder()
    builder.bus("one", 4.16, "abc")
    builder.bus("two", 4.16, "abc")
    z = np.full((3, 3), 0.1 + 0.3j) + np.eye(3) * (0.2 + 0.4j)
    builder.line("one", "two", "abc", z, np.zeros((3, 3)), 0.3)
    builder.load("star", "two", "Y", "PQ", [300.0, 100.0, 200.0], [80.0] * 3)
    add(builder)
    return builder.build("small", "one", source_v_pu=1.0, f_hz=60.0, source_note="")


def test_a_delta_capacitor_is_three_susceptances_between_phases() -> None:
    bank = small_feeder(lambda builder: builder.delta_capacitor("two", 300.0)).power_flow(tol_pu=1e-12)
    loads = small_feeder(lambda builder: builder.load("c", "two", "D", "Z", [0.0] * 3, [-100.0] * 3))
    between = loads.power_flow(tol_pu=1e-12)
    np.testing.assert_allclose(bank.bus.v_pu, between.bus.v_pu, atol=1e-10)
    assert bank.slack.q_mvar == pytest.approx(between.slack.q_mvar, abs=1e-9)
    without = small_feeder(lambda builder: None).power_flow()
    assert bank.bus.v_pu.min() > without.bus.v_pu.min() + 0.005


def test_unbalance_is_negative_over_positive_sequence() -> None:
    turn = np.exp(2j * np.pi / 3)
    positive, negative, zero = np.array([1, turn**2, turn]), np.array([1, turn, turn**2]), np.ones(3)
    v = np.array([1.02 * positive, positive + 0.03 * np.exp(0.7j) * negative, positive + 0.2j * zero])
    found = unbalance(np, v.real, v.imag, np.array([[0, 1, 2]]))
    np.testing.assert_allclose(found[:, 0], [0.0, 0.03, 0.0], atol=1e-12)


def test_a_floating_winding_s_path_to_earth_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for floating in (1e-6, 1e-7):
        monkeypatch.setattr("powergrid.networks.phase_elements.FLOATING_PU", floating)
        grid = bank("Dd0", load_at="D")
        flow = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-11), grid.node_load())
        v = (flow.v_re + 1j * flow.v_im)[3:]
        found.append(np.append(v - np.roll(v, 1), flow.p_slack_mw))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_a_delta_winding_carries_no_zero_sequence() -> None:
    y = transformer_matrix("Dyn1", "abc", 0.06j, 1.0)
    earth_fault = np.concatenate([np.zeros(3), np.ones(3)])  # equal voltages at the star
    current = y @ earth_fault
    assert np.abs(current[:3]).max() < 1e-12  # circulates in the delta
    assert np.abs(current[3:]).min() > 1.0


def test_balanced_load_on_a_transposed_line_is_balanced() -> None:
    builder = PhaseBuilder()
    builder.bus("one", 4.16, "abc")
    builder.bus("two", 4.16, "abc")
    z = np.full((3, 3), 0.1 + 0.3j) + np.eye(3) * (0.2 + 0.4j)
    builder.line("one", "two", "abc", z, np.zeros((3, 3)), 0.3)
    builder.load("star", "two", "Y", "PQ", [200.0] * 3, [80.0] * 3)
    builder.load("delta", "two", "D", "Z", [100.0] * 3, [40.0] * 3)
    builder.load("current", "two", "D", "I", [100.0] * 3, [0.0] * 3)
    found = builder.build("line", "one", source_v_pu=1.0, f_hz=60.0, source_note="").power_flow(tol_pu=1e-12)
    v = found.bus["v_pu"].to_numpy()[3:]
    np.testing.assert_allclose(v, v[0], atol=1e-10)
    # positive sequence alone: z = self - mutual
    y = 4.16**2 / (0.2 + 0.4j)
    v_1 = root(lambda x: _residual(complex(*x), y), [1.0, 0.0], tol=1e-13).x
    assert v[0] == pytest.approx(abs(complex(*v_1)), abs=1e-9)
    assert found.unbalance is not None
    assert found.unbalance["unbalance_percent"].max() < 1e-7


def _residual(v: complex, y: complex) -> list[float]:
    s = 0.6 + 0.24j + (0.3 + 0.12j) * abs(v) ** 2 + 0.3 * abs(v)
    current = y * (1 - v) - np.conj(s / v)
    return [current.real, current.imag]


def test_faults_are_named() -> None:
    grid = network("ieee13", phases="three")
    with pytest.raises(NetworkError, match='bus "611" has no phase a; it has c'):
        grid.place("611", "a")
    with pytest.raises(NetworkError, match="no bus"):
        grid.place("9999", "a")
    with pytest.raises(NetworkError, match="have an odd clock number, not 2"):
        bank("Dyn2")
    with pytest.raises(NetworkError, match="needs three phases"):
        transformer_matrix("Dyn1", "ab", 0.06j, 1.0)
    with pytest.raises(NetworkError, match='line "one-two": an impedance matrix is singular'):
        small_feeder(lambda builder: builder.line("one", "two", "abc", np.zeros((3, 3)), np.zeros((3, 3)), 0.3))


def test_all_faults_of_a_three_phase_network_come_at_once() -> None:
    z, nothing = np.eye(3) * (0.2 + 0.4j), np.zeros((3, 3))
    builder = PhaseBuilder()
    for bus in ("one", "two", "three", "four", "five", "six"):
        builder.bus(bus, 4.16, "abc" if bus != "six" else "a")
    builder.line("one", "two", "abc", z, nothing, -0.3)
    builder.line("two", "three", "abc", z * np.nan, nothing, 0.3)
    builder.line("four", "five", "abc", z, nothing, 0.3)
    builder.load("works", "two", "Y", "PQ", [np.nan, 0.0, 0.0], [0.0] * 3)
    spoilt = builder.build("spoilt", "one", source_v_pu=1.0, f_hz=60.0, source_note="")
    found = []
    for name in ("sparse_lu", "zbus"):
        with pytest.raises(NetworkFaults) as caught:
            method(name).plan(spoilt)
        found.append({issue.path: issue.message for issue in caught.value.issues})
    lost = 'island of 2 buses without a path to the source at bus "one"'
    assert found[0] == found[1]
    assert found[0] == {
        "loads[0].p_mw": 'load "works.a" has p_mw = nan',
        "blocks[1].y_pu": 'line "two-three" has an admittance that is no number',
        "branches[0].rating": 'line "one-two" has a rating of -0.3',
        **{f"buses[{9 + k}]": f"{lost}: four.{phase}, five.{phase}" for k, phase in enumerate("abc")},
        "buses[15]": 'nothing feeds bus "six.a": it has no path to the source at bus "one"',
    }
    unloaded = PhaseBuilder()
    unloaded.bus("one", 4.16, "abc")
    with pytest.raises(NetworkFaults, match="the network has no load and no generator"):
        unloaded.build("unloaded", "one", source_v_pu=1.0, f_hz=60.0, source_note="").power_flow()


def test_unbalance_has_a_finite_derivative_where_there_is_none():
    jax = pytest.importorskip("jax")
    nodes = np.array([[0, 1, 2]])
    slope = jax.grad(lambda v: unbalance(jax.numpy, v, v, nodes).sum())(jax.numpy.zeros(3))
    assert np.isfinite(slope).all()
