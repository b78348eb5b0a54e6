"""The CPU method against the oracle, against itself in batches, and at its limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.networks import Network, network
from powergrid.powerflow import method, sparse_lu
from powergrid.powerflow.compile import injected_powers

from .conftest import BUILDERS, microgrids, odd_network, own_load, pick, scenarios

TIGHT = 1e-11


def voltages(flow: Flow) -> np.ndarray:
    return np.asarray(flow.v_re) + 1j * np.asarray(flow.v_im)


def no_switches(grid: Network) -> tuple[int, ...]:
    return tuple(index for index, kind in enumerate(grid.branches.kind) if kind != "switch")


@pytest.mark.parametrize("by_voltage", [False, True])
def test_equals_newton_raphson(grid: Network, by_voltage: bool) -> None:
    oracle, meters = method("pandapower"), no_switches(grid)
    load, control = scenarios(grid, (3,), by_voltage=by_voltage)
    flow = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=TIGHT, meters=meters), load, control)
    truth = oracle.solve(oracle.plan(grid, meters=meters), load, control)
    assert truth.converged.all()
    assert flow.converged.all()
    np.testing.assert_allclose(voltages(flow), voltages(truth), atol=1e-8)
    np.testing.assert_allclose(flow.v_pu, truth.v_pu, atol=1e-8)
    for name in ("loading", "loss_mw", "p_slack_mw", "q_slack_mvar", "p_meter_mw", "q_meter_mvar"):
        np.testing.assert_allclose(getattr(flow, name), getattr(truth, name), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("by_voltage", [False, True])
@pytest.mark.parametrize("count", [7, 34, 100])
def test_alone_and_in_a_batch_are_the_same_bits(grid: Network, count: int, by_voltage: bool) -> None:
    plan = sparse_lu.plan(grid, meters=(1, 2))
    load, control = scenarios(grid, (count,), seed=count, by_voltage=by_voltage)
    load.p_mw[3] *= 60  # one that diverges must not disturb the others
    load.q_mvar[5, 2] = np.nan
    start = sparse_lu.solve(plan, own_load(grid))
    for begin in (None, start):
        together = sparse_lu.solve(plan, load, control, begin)
        for index in range(count):
            alone = sparse_lu.solve(plan, pick(load, index), pick(control, index), begin)
            for name, one, all_of_them in zip(Flow._fields, alone, together, strict=True):
                np.testing.assert_array_equal(one, all_of_them[index], err_msg=name)


def test_threads_do_not_disturb_each_other() -> None:
    """Each works in its own memory, which earlier flows of another network and size have filled."""
    grids = [odd_network(), network("case33bw"), network("ieee34")]
    cases = [
        (sparse_lu.plan(grid), *scenarios(grid, (count,), seed=count))
        for grid, count in zip(grids, (50, 200, 21), strict=True)
    ]
    truth = [sparse_lu.solve(*case).v_re for case in cases]
    with ThreadPoolExecutor(3) as pool:
        for index, found in enumerate(pool.map(lambda k: sparse_lu.solve(*cases[k % 3]).v_re, range(60))):
            np.testing.assert_array_equal(found, truth[index % 3])


def test_leading_axes_broadcast(grid: Network) -> None:
    plan = sparse_lu.plan(grid)
    load, control = scenarios(grid, (2, 5))
    flow = sparse_lu.solve(plan, load, control._replace(tap_ratio=control.tap_ratio[0, 0], v_source_pu=1.02))
    assert flow.v_pu.shape == (2, 5, len(grid.buses.name))
    assert flow.loss_mw.shape == flow.converged.shape == flow.iterations.shape == (2, 5)
    one = sparse_lu.solve(
        plan, NodeLoad(load.p_mw[1, 3], load.q_mvar[1, 3]),
        Control(tap_ratio=control.tap_ratio[0, 0], cap_on=control.cap_on[1, 3], v_source_pu=1.02),
    )  # fmt: skip
    np.testing.assert_array_equal(flow.v_re[1, 3], one.v_re)
    assert one.loss_mw.shape == one.converged.shape == ()


@pytest.mark.parametrize("name", ["odd", "ieee13", "ieee34", "ieee123", "microgrids"])
def test_taps_satisfy_a_rebuilt_admittance_matrix(name: str) -> None:
    grid = BUILDERS[name]()
    plan = sparse_lu.plan(grid, tol_pu=1e-13)
    load, control = scenarios(grid, (40,))
    flow, compiled = sparse_lu.solve(plan, load, control), plan.compiled
    n = compiled.n_node
    for index in range(40):
        y = compiled.ybus(control.tap_ratio[index])
        v = np.zeros(n + 1, complex)
        v[compiled.node] = voltages(pick_flow(flow, index))
        drawn = np.zeros(n + 1, complex)
        np.add.at(drawn, compiled.node, load.p_mw[index] + 1j * load.q_mvar[index])
        on = np.zeros(n + 1, complex)
        np.add.at(on, compiled.node[compiled.cap_bus], compiled.cap * control.cap_on[index])
        current = -np.conj((drawn + on * np.abs(v) ** 2) / v)
        exact = np.linalg.solve(y[:n, :n].toarray(), current[:n] - y[:n, n].toarray()[:, 0] * v[n])
        np.testing.assert_allclose(v[:n], exact, atol=1e-12)


def pick_flow(flow: Flow, index: int) -> Flow:
    return Flow(*(value[index] for value in flow))


@pytest.mark.parametrize("by_voltage", [False, True])
def test_source_gives_what_loads_and_losses_take(grid: Network, by_voltage: bool) -> None:
    plan = sparse_lu.plan(grid, tol_pu=TIGHT)
    load, control = scenarios(grid, (64,), seed=4, by_voltage=by_voltage)
    flow, compiled = sparse_lu.solve(plan, load, control), plan.compiled
    p = [part if part is not None else 0.0 for part in (load.p_mw, load.p_i_mw, load.p_z_mw)]
    drawn = p[0] + p[1] * flow.v_pu + (p[2] + compiled.shunt.real) * flow.v_pu**2
    caps = (compiled.cap.real * control.cap_on * flow.v_pu[:, compiled.cap_bus] ** 2).sum(-1)
    np.testing.assert_allclose(flow.p_slack_mw, drawn.sum(-1) + caps + flow.loss_mw, atol=1e-9)
    assert (flow.loss_mw > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.3, 0.6), min_size=9, max_size=9), st.floats(0.95, 1.05), st.floats(0.9, 1.1))
def test_balance_holds_for_any_load(p_mw: list[float], v_source_pu: float, tap: float) -> None:
    grid = odd_network()
    plan, p = sparse_lu.plan(grid, tol_pu=TIGHT), np.array(p_mw)
    control = Control(tap_ratio=np.array([tap, 2 - tap]), v_source_pu=v_source_pu)
    flow = sparse_lu.solve(plan, NodeLoad(p, 0.3 * p), control)
    assert flow.converged
    powers = injected_powers(plan.compiled, voltages(flow), p, plan.compiled.gains(control.tap_ratio))
    losses = powers[: 2 * plan.compiled.n_branch].real.sum()
    np.testing.assert_allclose(flow.loss_mw, losses, atol=1e-10)


def test_two_buses_have_the_textbook_solution_up_to_the_nose() -> None:
    """Resistive line and load: V^2 - V + r P = 0, so V = (1 + sqrt(1 - 4 r P)) / 2 and P_max = 1 / (4 r)."""
    grid, r = network("case33bw"), 0.05
    keep = np.array([0])
    two = Network(
        name="two", buses=type(grid.buses)(*(column[:2] for column in grid.buses)),
        branches=type(grid.branches)(*(tuple(c[:1]) if isinstance(c, tuple) else c[keep] for c in grid.branches))
        ._replace(r_pu=np.array([r]), x_pu=np.zeros(1), g_pu=np.zeros(1), b_pu=np.zeros(1)),
        regulators=grid.regulators, shunts=grid.shunts,
        loads=type(grid.loads)(("a",), np.array([1]), np.ones(1), np.zeros(1)), source_bus=0,
    )  # fmt: skip
    plan = sparse_lu.plan(two, tol_pu=1e-10, max_iter=200)
    share = np.array([0.1, 0.5, 0.9, 0.97, 1.03, 1.5])
    load = share[:, None] / (4 * r) * np.array([0.0, 1.0])
    flow = sparse_lu.solve(plan, NodeLoad(load, 0 * load))
    np.testing.assert_array_equal(flow.converged, share < 1)
    exact = (1 + np.sqrt(1 - share[:4])) / 2
    np.testing.assert_allclose(flow.v_pu[:4, 1], exact, atol=1e-8)
    np.testing.assert_allclose(flow.loss_mw[:4], (1 - exact) ** 2 / r, atol=1e-6)


def test_warm_start_saves_iterations_and_changes_nothing(grid: Network) -> None:
    plan = sparse_lu.plan(grid, tol_pu=1e-10)
    own = own_load(grid)
    before = sparse_lu.solve(plan, own)
    later = NodeLoad(1.02 * own.p_mw, 1.02 * own.q_mvar)
    cold, warm = sparse_lu.solve(plan, later), sparse_lu.solve(plan, later, start=before)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.v_pu, cold.v_pu, atol=1e-9)
    assert sparse_lu.solve(plan, later, start=cold).iterations == 1
    lost = before._replace(v_re=np.full_like(before.v_re, np.nan))
    np.testing.assert_array_equal(sparse_lu.solve(plan, later, start=lost).v_pu, cold.v_pu)


def test_overload_is_data_not_an_error(grid: Network) -> None:
    plan = sparse_lu.plan(grid, meters=(1,))
    own = own_load(grid)
    factor = np.array([1.0, 50.0, 1e6, 1e200])[:, None]
    flow = sparse_lu.solve(plan, NodeLoad(own.p_mw * factor, own.q_mvar * factor))
    np.testing.assert_array_equal(flow.converged, [True, False, False, False])
    assert (flow.residual_pu[1:] > plan.tol_pu).all()
    for name, value in zip(Flow._fields, flow, strict=True):
        assert np.isfinite(value).all(), name


@pytest.mark.parametrize("what", ["p_mw", "q_mvar", "p_z_mw", "tap_ratio", "cap_on", "v_source_pu"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_input_that_is_no_number_does_not_converge(what: str, bad: float) -> None:
    grid = odd_network()
    plan, own = sparse_lu.plan(grid, meters=(0,)), own_load(grid)
    load = own._replace(p_z_mw=0 * own.p_mw)
    control = Control(tap_ratio=plan.tap_ratio.copy(), cap_on=np.ones(2), v_source_pu=np.array(1.0))
    value = getattr(load, what, None) if hasattr(load, what) else getattr(control, what)
    for place in range(value.size):
        spoilt = value.copy()
        spoilt.flat[place] = bad
        is_load = hasattr(load, what)
        flow = sparse_lu.solve(
            plan, load._replace(**{what: spoilt}) if is_load else load,
            control if is_load else control._replace(**{what: spoilt}),
        )  # fmt: skip
        assert not flow.converged, place
        for name, column in zip(Flow._fields, flow, strict=True):
            assert np.isfinite(column).all(), (place, name)


def test_stragglers_are_solved_in_the_end() -> None:
    grid = network("ieee34")
    plan, own = sparse_lu.plan(grid, max_iter=400), own_load(grid)
    factor = np.full((200, 1), 0.2)
    factor[[0, 40, 41, 150]] = 1.25  # slow but solvable
    load = NodeLoad(own.p_mw * factor, own.q_mvar * factor)
    load.p_mw[41, grid.source_bus] = np.nan  # moves no voltage: seen only in the source's power
    flow = sparse_lu.solve(plan, load)
    np.testing.assert_array_equal(flow.converged, np.arange(200) != 41)
    alone = sparse_lu.solve(plan, NodeLoad(own.p_mw * 1.25, own.q_mvar * 1.25))
    for index in (0, 40, 150):
        np.testing.assert_array_equal(flow.v_re[index], alone.v_re)
        assert flow.iterations[index] == alone.iterations > 2 * flow.iterations[1]


def test_meter_at_a_closed_switch_reads_what_flows_behind_it() -> None:
    grid = network("ieee123")
    names = grid.branches.name
    meters = [names.index(name) for name in ("13-152", "152-52", "RG1-149", "150-RG1")]
    flow = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=TIGHT, meters=meters), own_load(grid))
    np.testing.assert_allclose(flow.p_meter_mw[0], flow.p_meter_mw[1], atol=1e-9)
    assert flow.p_meter_mw[2] == pytest.approx(flow.p_meter_mw[3], abs=1e-9)  # the regulator has no resistance

    odd = odd_network()
    plan = sparse_lu.plan(odd, tol_pu=TIGHT, meters=(0, 1, 7, 8))
    flow = sparse_lu.solve(plan, own_load(odd))
    at_source, v2 = own_load(odd).p_mw[1] + 0.02 * flow.v_pu[1] ** 2, flow.v_pu[6] ** 2
    np.testing.assert_allclose(flow.p_meter_mw[0], at_source + flow.p_meter_mw[1], atol=1e-9)
    np.testing.assert_allclose(flow.p_meter_mw[2], own_load(odd).p_mw[6] + flow.p_meter_mw[3], atol=1e-9)
    assert v2 > 0.5


def test_inputs_that_do_not_fit_are_refused_by_name() -> None:
    grid = microgrids()
    plan, own = sparse_lu.plan(grid), own_load(grid)
    with pytest.raises(NetworkError, match=r"p_mw has shape \(77,\).*78 wide"):
        sparse_lu.solve(plan, NodeLoad(own.p_mw[1:], own.q_mvar))
    with pytest.raises(NetworkError, match=r"tap_ratio has shape \(4,\).*5 wide"):
        sparse_lu.solve(plan, own, Control(tap_ratio=np.ones(4)))
    with pytest.raises(NetworkError, match="topology"):
        sparse_lu.solve(plan, own, Control(topology=np.array(1)))
    with pytest.raises(NetworkError, match="meter 999"):
        sparse_lu.plan(grid, meters=(999,))
