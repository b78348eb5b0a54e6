"""Newton's method: equal to the fixed point and to pandapower, limits of generators, and the last percent of load."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

import powergrid
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.networks import Generators, Network, network, scaled
from powergrid.powerflow import choose, method, newton, sparse_lu
from powergrid.powerflow.retry import with_retry

from .conftest import BUILDERS, microgrids, own_load, pick, scenarios
from .nose import nose


@pytest.mark.parametrize("by_voltage", [False, True])
def test_equals_the_fixed_point_on_every_network(grid: Network, by_voltage: bool) -> None:
    load, control = scenarios(grid, (3,), by_voltage=by_voltage)
    meters = tuple(np.flatnonzero(grid.branches.closed)[:4])
    first = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-12, meters=meters), load, control)
    second = newton.solve(newton.plan(grid, tol_pu=1e-10, meters=meters), load, control)
    assert first.converged.all()
    assert second.converged.all()
    for name in ("v_re", "v_im", "v_pu", "loss_mw", "p_slack_mw", "q_slack_mvar", "p_meter_mw", "q_meter_mvar"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), atol=1e-8, err_msg=name)
    np.testing.assert_allclose(second.loading, first.loading, atol=1e-5)
    assert np.all(second.iterations < 12)


def test_a_batch_is_its_scenarios_and_a_given_start_does_not_matter() -> None:
    grid = BUILDERS["ieee34"]()
    load, control = scenarios(grid, (2, 3))
    plan = newton.plan(grid)
    flow = newton.solve(plan, load, control)
    assert flow.v_pu.shape == (2, 3, len(grid.buses.name))
    alone = newton.solve(plan, pick(pick(load, 1), 2), pick(pick(control, 1), 2))
    np.testing.assert_array_equal(alone.v_re, flow.v_re[1, 2])
    warm = newton.solve(plan, load, control, flow)
    np.testing.assert_allclose(warm.v_pu, flow.v_pu, atol=1e-9)
    assert np.all(warm.iterations <= flow.iterations)


def against_runpp(net: pp.pandapowerNet, *, q_limits: bool) -> float:
    grid = Network.from_pandapower(net)
    flow = newton.solve(newton.plan(grid, tol_pu=1e-9, q_limits=q_limits), grid.node_load())
    assert flow.converged
    pp.runpp(net, enforce_q_lims=q_limits, tolerance_mva=1e-8)
    degree = net.res_bus.va_degree - net.ext_grid.va_degree.iloc[0]
    theirs = (net.res_bus.vm_pu * np.exp(1j * np.deg2rad(degree))).to_numpy()
    assert np.isfinite(theirs).all()
    return float(np.abs(flow.v_re + 1j * flow.v_im - theirs).max())


@pytest.mark.parametrize("q_limits", [False, True])
@pytest.mark.parametrize("build", [nw.case5, nw.case118, nw.case1354pegase], ids=lambda build: build.__name__)
def test_transmission_nets_equal_runpp(build, q_limits: bool) -> None:
    assert against_runpp(build(), q_limits=q_limits) < 1e-7


def two_buses(q_min: float, q_max: float, v_set: float = 1.0, load_mvar: float = 30.0) -> Network:
    """A generator behind a line, with a load beside it."""
    net = pp.create_empty_network()
    a, b = pp.create_buses(net, 2, 110.0)
    pp.create_ext_grid(net, a)
    pp.create_line_from_parameters(net, a, b, 50.0, r_ohm_per_km=0.05, x_ohm_per_km=0.4, c_nf_per_km=0.0, max_i_ka=1.0)
    pp.create_load(net, b, p_mw=40.0, q_mvar=load_mvar)
    pp.create_gen(net, b, p_mw=20.0, vm_pu=v_set, min_q_mvar=q_min, max_q_mvar=q_max, name="g")
    return Network.from_pandapower(net)


def test_a_generator_within_its_range_holds_its_voltage() -> None:
    result = two_buses(-100, 100).power_flow()
    assert result.method == "newton"
    assert result.generators.loc["g", "v_pu"] == pytest.approx(1.0, abs=1e-9)
    assert not result.generators.loc["g", "at_limit"]
    assert -100 < result.generators.loc["g", "q_mvar"] < 100


@pytest.mark.parametrize(("limits", "v_set", "feeds", "sign"), [((-5, 8), 1.0, 8.0, -1), ((-5, 8), 0.85, -5.0, 1)])
def test_a_generator_at_its_limit_lets_the_voltage_go(limits, v_set: float, feeds: float, sign: int) -> None:
    result = two_buses(*limits, v_set=v_set).power_flow()
    assert result.converged
    unit = result.generators.loc["g"]
    assert unit.at_limit
    assert unit.q_mvar == pytest.approx(feeds, abs=1e-5)
    assert np.sign(unit.v_pu - v_set) == sign


def test_a_generator_takes_its_voltage_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two units that support each other: with both at a voltage one is beyond its range, with one it is not."""
    net = pp.create_empty_network()
    a, b, c = pp.create_buses(net, 3, 110.0)
    pp.create_ext_grid(net, a)
    line = {"r_ohm_per_km": 0.05, "x_ohm_per_km": 0.4, "c_nf_per_km": 0.0, "max_i_ka": 1.0}
    pp.create_line_from_parameters(net, a, b, 60.0, **line)
    pp.create_line_from_parameters(net, b, c, 10.0, **line)
    pp.create_load(net, c, p_mw=60.0, q_mvar=20.0)
    pp.create_gen(net, b, p_mw=0.0, vm_pu=1.03, min_q_mvar=-80.0, max_q_mvar=15.0, name="weak")
    pp.create_gen(net, c, p_mw=0.0, vm_pu=0.98, min_q_mvar=-5.0, max_q_mvar=80.0, name="strong")
    grid = Network.from_pandapower(net)
    result = grid.power_flow(tol_pu=1e-10)
    assert result.converged
    for name, row in result.generators.iterrows():
        k = grid.generators.name.index(name)
        low, high = grid.generators.q_min_mvar[k], grid.generators.q_max_mvar[k]
        assert low - 1e-5 <= row.q_mvar <= high + 1e-5
        if row.at_limit:  # complementarity: at the upper limit the voltage lies below the set point, at the lower above
            assert (row.v_pu < row.v_set_pu) == (abs(row.q_mvar - high) < 1e-4)
    assert not result.generators.loc["strong", "at_limit"]
    monkeypatch.setattr(newton, "_RETURNS", 0)
    assert grid.power_flow(tol_pu=1e-10).generators.loc["strong", "at_limit"]


def _on_the_wrong_side(bus, v_pu, v_set_pu, q_mvar, low_mvar, high_mvar) -> int:
    """Buses whose generators neither hold the voltage within their limits nor stand at the limit that explains it."""
    buses, at = np.unique(bus, return_inverse=True)
    q, low, high = (np.bincount(at, values) for values in (q_mvar, low_mvar, high_mvar))
    below = np.bincount(at, np.asarray(v_pu) - v_set_pu) / np.bincount(at)
    holds = (np.abs(below) < 1e-6) & (q > low - 1e-4) & (q < high + 1e-4)
    explained = np.where(below < 0, np.abs(q - high) < 1e-4, np.abs(q - low) < 1e-4)
    assert len(buses) > 5
    return int(np.sum(~holds & ~explained))


def test_limits_are_complementary_where_runpp_leaves_a_generator_on_the_wrong_side() -> None:
    net = nw.case24_ieee_rts()
    grid = Network.from_pandapower(net)
    own, found = grid.generators, grid.power_flow(tol_pu=1e-11).generators
    limits = own.q_min_mvar, own.q_max_mvar
    assert _on_the_wrong_side(own.bus, found.v_pu, own.v_set_pu, found.q_mvar, *limits) == 0
    pp.runpp(net, enforce_q_lims=True, tolerance_mva=1e-9, numba=False)
    gen = net.gen[~net.gen.slack.astype(bool)]
    v, q = net.res_bus.vm_pu[gen.bus].to_numpy(), net.res_gen.q_mvar[gen.index]
    assert _on_the_wrong_side(gen.bus, v, gen.vm_pu.to_numpy(), q, gen.min_q_mvar, gen.max_q_mvar) == 1


def test_set_points_may_differ_from_scenario_to_scenario() -> None:
    grid = two_buses(-100, 100)
    plan = newton.plan(grid)
    flow = newton.solve(plan, grid.node_load(), Control(v_set_pu=np.array([[0.98], [1.02]])))
    assert flow.v_pu[:, 1] == pytest.approx([0.98, 1.02])


def test_generators_that_disagree_are_named() -> None:
    grid = two_buses(-100, 100)
    both = Generators(
        ("g", "h"), np.array([1, 1]), np.ones(2), np.array([1.0, 1.01]), np.full(2, -9.0), np.full(2, 9.0)
    )
    from dataclasses import replace

    with pytest.raises(NetworkError, match=r'generator "g" and generator "h" hold one bus at 1 and 1\.01 pu'):
        newton.plan(replace(grid, generators=both))


def test_other_methods_refuse_generators_by_name() -> None:
    for name in ("sparse_lu", "zbus"):
        with pytest.raises(NetworkError, match=r'1 generators.*"g".*method="newton"'):
            method(name).plan(two_buses(-1, 1))


def test_what_newton_cannot_do_is_refused_by_name() -> None:
    with pytest.raises(NetworkError, match="newton solves balanced networks only; take sparse_lu"):
        newton.plan(network("ieee13", phases="three"))
    with pytest.raises(NetworkError, match=r"newton .* which solves one topology"):
        newton.plan(network("case118"), topologies=[["line_10"]])
    outage = {"branch": "line_10", "start": 3600, "duration": 7200}
    config = {
        "network": {"base": "case118", "load_series": "load_p_pu:com_1", "outages": [outage]},
        "agents": [{"id": "ess_1", "type": "ESS", "bus": "5"}],
    }
    with pytest.raises(ConfigError, match=r"53 generators hold a voltage.*switches and outages cannot change it"):
        powergrid.make(config)


def test_the_choice_of_a_method_says_why() -> None:
    assert choose(two_buses(-1, 1)) == ("newton", "1 generator holds a voltage")
    name, reason = choose(network("ieee34"))
    assert name == "sparse_lu"
    assert "fixed point takes" in reason
    heavy = scaled(network("case33bw"), load=1.03 * nose(network("case33bw")))
    assert choose(heavy) == ("newton", "the fixed point does not converge at the network's own loads")
    assert method("auto", heavy) is newton
    assert method("auto") is sparse_lu


FEEDERS = {
    "case33bw": lambda: network("case33bw"),
    "ieee13": lambda: network("ieee13"),
    "ieee34": lambda: network("ieee34"),
    "ieee123": lambda: network("ieee123"),
    "microgrids": microgrids,
}


@pytest.mark.parametrize("name", FEEDERS)
def test_up_to_collapse_every_step_is_solved_and_beyond_none(name: str) -> None:
    grid = FEEDERS[name]()
    limit, own = nose(grid), own_load(grid)
    assert limit > 1.0
    share = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 1.03, 1.06, 1.2, 2.0])
    load = NodeLoad(*(share[:, None] * limit * power for power in (own.p_mw, own.q_mvar)))
    exact = newton.solve(newton.plan(grid, tol_pu=1e-11), load)
    solver = with_retry(sparse_lu)
    flow = solver.solve(solver.plan(grid, tol_pu=1e-8), load)
    np.testing.assert_array_equal(flow.converged, share < 1)
    np.testing.assert_array_equal(exact.converged, share < 1)
    below = share < 1
    np.testing.assert_allclose(flow.v_pu[below], exact.v_pu[below], atol=1e-6)
    lowest = exact.v_pu[below].min(axis=1)
    assert np.all(np.diff(lowest) < 0)  # the upper branch: voltages fall as the load grows


def test_retry_solves_what_the_fixed_point_gives_up_and_keeps_the_rest() -> None:
    grid = network("case33bw")
    limit, own = nose(grid), own_load(grid)
    share = np.array([0.2, 0.995, 1.1])
    load = NodeLoad(*(share[:, None] * limit * power for power in (own.p_mw, own.q_mvar)))
    alone = sparse_lu.solve(sparse_lu.plan(grid, max_iter=50), load)
    assert alone.converged.tolist() == [True, False, False]
    solver = with_retry(sparse_lu)
    flow = solver.solve(solver.plan(grid, max_iter=50), load)
    assert flow.converged.tolist() == [True, True, False]
    np.testing.assert_array_equal(flow.v_re[[0, 2]], alone.v_re[[0, 2]])
    one = solver.solve(solver.plan(grid, max_iter=50), pick(load, 1))
    np.testing.assert_array_equal(one.v_re, flow.v_re[1])
    assert one.converged.shape == ()


def test_rows_are_tried_again_like_scenarios() -> None:
    grid = network("case33bw")
    limit, own = nose(grid), own_load(grid)
    share = np.array([0.2, 0.995, 1.1, np.nan])
    load = NodeLoad(*(share[:, None] * limit * power for power in (own.p_mw, own.q_mvar)))
    solver = with_retry(sparse_lu)
    plan = solver.plan(grid, max_iter=50)
    start = sparse_lu.solve(plan.first, NodeLoad(np.zeros(33), np.zeros(33)))
    expected = solver.solve(plan, load, start=start)
    by_rows = solver.RowSolver(plan)
    rows = np.empty((4, plan.first.inputs[5].stop + 2 * 33))
    by_rows.fill(rows)
    rows[:, plan.first.inputs[4]], rows[:, plan.first.inputs[5]] = load.p_mw, load.q_mvar
    rows[:, -66:] = np.concatenate([start.v_re, start.v_im])
    out, iterations = np.empty((4, plan.first.outputs[-1].stop)), np.empty(4, np.int64)
    by_rows(rows, False, out, iterations)
    assert (out[:, -1] < by_rows.tol_pu).tolist() == expected.converged.tolist() == [True, True, False, False]
    for name, place in zip(("v_re", "v_im", "v_pu", "loading"), plan.first.outputs, strict=False):
        np.testing.assert_array_equal(out[:, place], getattr(expected, name), err_msg=name)
    np.testing.assert_array_equal(out[:, -4:-1].T, [expected.loss_mw, expected.p_slack_mw, expected.q_slack_mvar])
    np.testing.assert_array_equal(iterations, expected.iterations)


@pytest.mark.parametrize("name", ["sparse_lu", "newton", "zbus"])
@pytest.mark.parametrize("factor", [10.0, 1e3, 1e6])
def test_a_flow_that_diverges_is_finite_everywhere(name: str, factor: float) -> None:
    grid = scaled(network("case33bw"), load=factor)
    solver = method(name)
    flow = solver.solve(solver.plan(grid), grid.node_load())
    assert not flow.converged
    assert all(np.isfinite(np.asarray(column, float)).all() for column in flow)
    table = grid.power_flow(name).bus
    assert np.isfinite(table[["v_pu", "va_degree", "p_mw", "q_mvar"]].to_numpy()).all()


def _same(ours: Flow, truth: Flow) -> None:
    """Equal to 1e-9 of the largest power, loading or voltage of the column."""
    for name, a, b in zip(Flow._fields, ours, truth, strict=True):
        size = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * size, err_msg=name)


@pytest.fixture
def by_scipy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each scenario that SciPy solves."""
    calls: list[int] = []
    solve_one = newton._solve_one
    monkeypatch.setattr(newton, "_solve_one", lambda *given: calls.append(1) or solve_one(*given))
    return calls


@pytest.mark.parametrize("by_voltage", [False, True])
def test_compiled_code_equals_scipy_with_taps_shunts_and_loads_by_voltage(
    grid: Network, by_voltage: bool, by_scipy: list[int]
) -> None:
    load, control = scenarios(grid, (2, 3), by_voltage=by_voltage)
    control = control._replace(v_source_pu=np.array([[0.99, 1.0, 1.01], [1.02, 1.03, 1.0]]))
    meters = tuple(np.flatnonzero(grid.branches.closed)[:4])
    ours = newton.solve(newton.plan(grid, meters=meters), load, control)
    assert not by_scipy
    truth = newton.solve(newton.plan(grid, meters=meters, compiled_code=False), load, control)
    assert truth.converged.all()
    assert len(by_scipy) == 6
    _same(ours, truth)


@pytest.mark.parametrize("q_limits", [False, True])
@pytest.mark.parametrize("build", [nw.case5, nw.case30, nw.case118], ids=lambda build: build.__name__)
def test_compiled_code_equals_scipy_on_meshes_with_limits_and_from_the_last_flow(
    build, q_limits: bool, by_scipy: list[int]
) -> None:
    grid = Network.from_pandapower(build())
    own, factor = grid.node_load(), np.random.default_rng(0).uniform(0.7, 1.15, (6, len(grid.buses.name)))
    load = NodeLoad(own.p_mw * factor, own.q_mvar * factor)
    plans = [newton.plan(grid, meters=(0, 1), q_limits=q_limits, compiled_code=code) for code in (True, False)]
    ours = newton.solve(plans[0], load)
    later = NodeLoad(load.p_mw[::-1], load.q_mvar[::-1])
    warm = newton.solve(plans[0], later, None, ours)
    assert not by_scipy
    _same(ours, newton.solve(plans[1], load))
    truth = newton.solve(plans[1], later, None, ours)
    assert truth.converged.all()
    _same(warm, truth)
    alone = newton.solve(plans[0], pick(later, 3), None, Flow(*(column[3] for column in ours)))
    for name, a, b in zip(Flow._fields, alone, warm, strict=True):
        np.testing.assert_array_equal(a, b[3], err_msg=name)


def test_what_compiled_code_leaves_scipy_solves(by_scipy: list[int]) -> None:
    grid = Network.from_pandapower(nw.case30())
    own, m = grid.node_load(), len(grid.buses.name)
    plan = newton.plan(grid)
    good = newton.solve(plan, own)
    start = Flow(*(np.stack([column] * 3) for column in good))
    start.v_re[0], start.v_im[0], start.v_re[1] = 0.0, 0.0, np.nan  # no voltage at all, and no number
    flow = newton.solve(plan, own, None, start)
    assert flow.converged.all()
    assert len(by_scipy) == 1
    np.testing.assert_allclose(flow.v_re, np.tile(good.v_re, (3, 1)), atol=1e-12)
    beyond = newton.solve(plan, NodeLoad(own.p_mw * np.array([[1.0], [100.0]]), own.q_mvar * np.ones((2, m))))
    assert beyond.converged.tolist() == [True, False]
    assert np.isfinite(beyond.v_pu).all()
    assert beyond.residual_pu[1] > 1.0
