"""Outages and switches that differ from scenario to scenario: against pandapower, JAX, and dense algebra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, NodeLoad
from powergrid.powerflow import pandapower, sparse_lu, zbus
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.retry import with_retry

FEEDERS = ("case33bw", "ieee34", "ieee123")


def own_load(grid, share: float = 0.6) -> NodeLoad:
    m = len(grid.buses.name)
    return NodeLoad(*(share * np.bincount(grid.loads.bus, power, m) for power in (grid.loads.p_mw, grid.loads.q_mvar)))


def some_topologies(grid, seed: int = 0) -> list[tuple[int, ...]]:
    """Each tie switch closed; three branches open at once, some of them in islands and at the source; and both."""
    rng, branches = np.random.default_rng(seed), grid.branches
    free = [i for i, kind in enumerate(branches.kind) if kind != "regulator"]
    ties = [i for i in free if not branches.closed[i]]
    found = [(i,) for i in ties] + [tuple(rng.choice(free, 3, replace=False)) for _ in range(10)]
    found += [(tie, *rng.choice(np.setdiff1d(free, ties), 2, replace=False)) for tie in ties]
    at_source = next((i for i in free if grid.source_bus in (branches.from_bus[i], branches.to_bus[i])), free[0])
    return [*found, (at_source,)]


@pytest.mark.parametrize("name", FEEDERS)
def test_equal_to_pandapower(name: str) -> None:
    grid = powergrid.network(name)
    topologies = some_topologies(grid)
    control = Control(topology=np.arange(len(topologies) + 1))
    ours = sparse_lu.solve(sparse_lu.plan(grid, topologies=topologies, tol_pu=1e-11), own_load(grid), control)
    theirs = pandapower.solve(pandapower.plan(grid, topologies=topologies), own_load(grid), control, ours)
    assert ours.converged.all()
    assert theirs.converged.all()
    assert (ours.energised == (theirs.v_pu > 0)).all()
    assert (~ours.energised).any()
    assert (ours.v_pu[~ours.energised] == 0).all()
    for field, tolerance in (("v_re", 5e-7), ("v_im", 5e-7), ("loading", 1e-3), ("p_slack_mw", 2e-6)):
        assert np.abs(getattr(ours, field) - getattr(theirs, field)).max() < tolerance, field


@pytest.mark.parametrize("name", FEEDERS)
def test_jax_gives_the_same(name: str) -> None:
    import jax

    grid = powergrid.network(name)
    topologies, rng, k = some_topologies(grid), np.random.default_rng(1), len(grid.regulators.branch)
    control = Control(
        topology=np.arange(len(topologies) + 1),
        tap_ratio=1 + 0.00625 * rng.integers(-8, 8, (len(topologies) + 1, k)),
    )
    given = {"topologies": topologies, "meters": [0, topologies[-1][0]], "tol_pu": 1e-11}
    ours = sparse_lu.solve(sparse_lu.plan(grid, **given), own_load(grid), control)
    with jax.enable_x64(True):
        plan = zbus.plan(grid, **given)
        solve = jax.jit(lambda load, control: zbus.solve(plan, load, control))
        theirs = jax.tree.map(np.asarray, solve(own_load(grid), control))
    assert theirs.converged.all()
    assert (ours.energised == theirs.energised).all()
    for field in ("v_re", "v_im", "loss_mw", "p_slack_mw", "q_slack_mvar", "p_meter_mw", "q_meter_mvar"):
        assert np.abs(getattr(ours, field) - getattr(theirs, field)).max() < 1e-8, field


def test_each_scenario_has_its_bits_in_any_batch() -> None:
    grid = powergrid.network("case33bw")
    topologies = some_topologies(grid)
    plan, load = sparse_lu.plan(grid, topologies=topologies), own_load(grid)
    choice = np.random.default_rng(2).integers(0, len(topologies) + 1, 70)
    batch = sparse_lu.solve(plan, load, Control(topology=choice))
    for i in (0, 33, 69):
        alone = sparse_lu.solve(plan, load, Control(topology=choice[i]))
        assert np.array_equal(alone.v_re, batch.v_re[i])
        assert alone.loss_mw == batch.loss_mw[i]


def test_the_network_as_given_is_topology_zero() -> None:
    grid = powergrid.network("case33bw")
    with_ties = sparse_lu.plan(grid, topologies=[(i,) for i in np.flatnonzero(~grid.branches.closed)], tol_pu=1e-11)
    plain = sparse_lu.plan(grid, tol_pu=1e-11)
    one, other = (sparse_lu.solve(plan, own_load(grid)) for plan in (with_ties, plain))
    assert np.abs(one.v_re - other.v_re).max() < 1e-12
    assert one.energised.all()


def test_switches_of_a_three_phase_feeder() -> None:
    """A tie closed and another switch open, against a network built that way."""
    grid = powergrid.network("ieee123", phases="three")
    closed = np.array(grid.branches.closed)
    tie, other = grid.rows("151-300"), grid.rows("97-197")
    assert tie
    assert other
    closed[list(tie)], closed[list(other)] = True, False
    built = replace(grid, branches=grid.branches._replace(closed=closed))
    moved = sparse_lu.plan(grid, topologies=[("151-300", "97-197")], tol_pu=1e-11)
    fixed = sparse_lu.plan(built, tol_pu=1e-11)
    load = grid.node_load(0.5)
    one = sparse_lu.solve(moved, load, Control(topology=np.array(1)))
    two = sparse_lu.solve(fixed, load)
    assert np.abs(one.v_re + 1j * one.v_im - two.v_re - 1j * two.v_im).max() < 1e-6
    assert one.loss_mw == pytest.approx(two.loss_mw, abs=1e-6)


@pytest.mark.parametrize("method", [sparse_lu, pytest.param(zbus, marks=pytest.mark.slow)])
def test_meters_of_switches_that_move_read_what_passes(method) -> None:
    import jax

    grid = powergrid.network("ieee123", phases="three")
    switches = ("13-152", "60-160", "97-197", "151-300")
    meters, load = [grid.rows(name) for name in switches], grid.node_load()
    fixed = sparse_lu.solve(sparse_lu.plan(grid, meters=meters, tol_pu=1e-11), load)
    with jax.enable_x64(True):
        plan = method.plan(grid, meters=meters, topologies=[(name,) for name in switches], tol_pu=1e-11)
        one, some = (method.solve(plan, load, Control(topology=np.array(t))) for t in (0, [2, 4]))
    assert (np.abs(fixed.p_meter_mw[:3]) > 0.3).all()
    np.testing.assert_allclose(one.p_meter_mw, fixed.p_meter_mw, atol=1e-6)
    np.testing.assert_allclose(one.q_meter_mvar, fixed.q_meter_mvar, atol=1e-6)
    assert some.p_meter_mw[0, 1] == some.p_meter_mw[0, 3] == 0  # opened, and open as given
    assert abs(some.p_meter_mw[1, 3]) > 0.01  # the tie carries some of the load


def test_an_outage_in_a_three_phase_feeder_against_dense_algebra() -> None:
    grid = powergrid.network("ieee34", phases="three")
    plan = sparse_lu.plan(grid, topologies=[("834-860",)], tol_pu=1e-12)
    load = grid.node_load(0.5)
    flow = sparse_lu.solve(plan, load, Control(topology=np.array(1)))
    compiled, alive = compile_network(grid, [("834-860",)]), flow.energised
    assert not alive.all()
    assert (flow.v_pu[~alive] == 0).all()
    at, n = compiled.node, compiled.n_node
    y = compiled.ybus(moving=False).toarray()
    v = np.zeros(len(y), complex)
    v[at] = flow.v_re + 1j * flow.v_im
    drawn = np.zeros(len(y), complex)
    pairs = zip(at[compiled.phases.pair_a], at[compiled.phases.pair_b], strict=True)
    ends = [(node, None, 1.0) for node in at] + [(a, b, np.sqrt(3.0)) for a, b in pairs]
    for kind in range(3):  # constant power, current, impedance
        power = load[2 * kind] + 1j * load[2 * kind + 1]
        for (a, b, nominal), s in zip(ends, power, strict=True):
            u = v[a] - (0.0 if b is None else v[b])
            if s != 0 and u != 0:
                current = np.conj(s * (abs(u) / nominal) ** kind / u)
                drawn[a] += current
                if b is not None:
                    drawn[b] -= current
    np.add.at(drawn, at[compiled.cap_bus], np.conj(compiled.cap) * v[at[compiled.cap_bus]])
    inner = np.unique(at[alive][at[alive] < n])
    assert np.abs(y[inner] @ v + drawn[inner]).max() < 1e-8


@pytest.mark.parametrize("method", [sparse_lu, zbus, pandapower])
def test_wrong_topologies_are_refused(method) -> None:
    grid = powergrid.network("ieee34")
    regulator = grid.branches.name[grid.regulators.branch[0]]
    with pytest.raises(NetworkError, match="cannot be opened by a topology"):
        method.plan(grid, topologies=[(regulator,)])
    with pytest.raises(NetworkError, match="no branch"):
        method.plan(grid, topologies=[("808-81O",)])
    with pytest.raises(NetworkError, match="allowed are 0 to"):
        method.plan(grid, topologies=[(999,)])
    with pytest.raises(NetworkError, match="none of the plan's 1 topologies"):
        method.solve(method.plan(grid), own_load(grid), Control(topology=np.array(1)))


def test_jax_takes_a_limited_number_of_topologies() -> None:
    with pytest.raises(NetworkError, match="up to 32 topologies"):
        zbus.plan(powergrid.network("case33bw"), topologies=[(i,) for i in range(32)])


def test_what_the_fixed_point_leaves_is_tried_again_in_its_own_topology() -> None:
    """A tie closed, an island dead (with a capacitor in it), and an island held; near the nose of each."""
    bare = powergrid.network("case33bw")
    at = bare.bus("25")  # on the lateral that branch 24 feeds
    bank = type(bare.shunts)(("bank",), np.array([at]), np.array([0.0]), np.array([-0.3]), np.array([True]))
    grid = replace(bare, shunts=bank)
    topologies = [(32,), (24,), (5, 33)]
    assert [grid.branches.closed[i] for i in (32, 24, 5)] == [False, True, True]
    own = grid.node_load()
    given = {"topologies": topologies, "meters": [0, 24]}
    solver, choice = with_retry(sparse_lu), np.arange(4)
    plan = solver.plan(grid, max_iter=40, **given)
    patient = sparse_lu.plan(grid, max_iter=20_000, **given)
    share = np.array([3.0, 3.0, 3.0, 1.5])
    for _ in range(600):  # up to where the fixed point takes more than its forty iterations, each in its topology
        load = NodeLoad(share[:, None] * own.p_mw, share[:, None] * own.q_mvar)
        exact = sparse_lu.solve(patient, load, Control(topology=choice))
        near = exact.iterations > 40
        if near.all() or not exact.converged.all():
            break
        share = np.where(near, share, share * 1.002)
    assert exact.converged.all()
    first = sparse_lu.solve(plan.first, load, Control(topology=choice))
    assert not first.converged.any()
    again = solver.solve(plan, load, Control(topology=choice))
    assert again.converged.all()
    assert (again.energised == exact.energised).all()
    assert not again.energised[2].all()
    for name in ("v_re", "v_im", "loss_mw", "p_slack_mw", "q_slack_mvar", "p_meter_mw", "q_meter_mvar"):
        assert np.abs(getattr(again, name) - getattr(exact, name)).max() < 1e-5, name
    assert np.abs(again.loading - exact.loading).max() < 1e-2
    for k in (1, 2):
        alone = solver.solve(plan, NodeLoad(load.p_mw[k], load.q_mvar[k]), Control(topology=np.array(k)))
        assert np.array_equal(alone.v_re, again.v_re[k])
    by_rows, first = solver.RowSolver(plan), plan.first
    rows = np.empty((4, first.inputs[5].stop + 2 * 33))
    by_rows.fill(rows)
    rows[:, first.inputs[3].start], rows[:, first.inputs[4]], rows[:, first.inputs[5]] = choice, load.p_mw, load.q_mvar
    rows[:, -66:-33], rows[:, -33:] = 1.0, 0.0
    out, iterations = np.empty((4, first.outputs[-1].stop)), np.empty(4, np.int64)
    by_rows(rows, False, out, iterations)
    assert (out[:, -1] < by_rows.tol_pu).all()
    for place, name in zip(first.outputs, ("v_re", "v_im", "v_pu", "loading", "p_meter_mw"), strict=False):
        np.testing.assert_array_equal(out[:, place], getattr(again, name), err_msg=name)
