"""The JAX method against the CPU method, in both precisions and under JAX's transformations."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.core.backend import jax_float64
from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.networks import Network, network
from powergrid.powerflow import sparse_lu

from .conftest import BUILDERS, odd_network, own_load, pick, scenarios

jax = pytest.importorskip("jax")

from powergrid.powerflow import zbus  # noqa: E402

NUMBERS = [name for name in Flow._fields if name not in ("residual_pu", "iterations", "converged", "energised")]


def solve(plan: zbus.Plan, *given: NodeLoad | Control | Flow) -> Flow:
    """Compiled, as everybody uses it; compiling each operation by itself takes longer."""
    return jax.jit(lambda *args: zbus.solve(plan, *args))(*given)


def cast(values: NodeLoad | Control, dtype: str) -> NodeLoad | Control:
    return type(values)(*(None if value is None else jax.numpy.asarray(value, dtype) for value in values))


@pytest.mark.parametrize("by_voltage", [False, True])
def test_float64_equals_the_cpu_method(grid: Network, by_voltage: bool) -> None:
    meters = tuple(range(min(4, len(grid.branches.name))))
    load, control = scenarios(grid, (4, 3), by_voltage=by_voltage)
    truth = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-11, meters=meters), load, control)
    with jax_float64():
        flow = solve(zbus.plan(grid, tol_pu=1e-11, meters=meters), load, control)
        assert np.asarray(flow.converged).all()
        for name in NUMBERS:
            found, right = np.asarray(getattr(flow, name)), getattr(truth, name)
            assert found.shape == right.shape, name
            atol = 1e-7 if name == "loading" else 1e-9  # percent; across stiff branches the CPU takes differences
            np.testing.assert_allclose(found, right, atol=atol, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", ["ieee13", *(pytest.param(n, marks=pytest.mark.slow) for n in ("ieee34", "ieee123"))])
def test_three_phases_equal_the_cpu_method(name: str) -> None:
    """Loads to earth and between phases, of all three models; taps by phase; meters over all phases of an element."""
    grid, rng = network(name, phases="three"), np.random.default_rng(0)
    elements = {"ieee13": ("650-RG60", "632-671", "671-692"), "ieee34": ("814-RG10",), "ieee123": ("150-RG1", "13-152")}
    meters = [grid.rows(element) for element in elements[name]]
    factor = rng.uniform(0.3, 1.1, (3, len(grid.places)))
    load = NodeLoad(*(part * factor for part in grid.node_load()))
    taps = 1 / grid.branches.ratio[grid.regulators.branch] * rng.uniform(0.97, 1.03, (3, len(grid.regulators.branch)))
    control = Control(tap_ratio=taps, cap_on=rng.uniform(0, 1, (3, len(grid.shunts.name))))
    truth = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-11, meters=meters), load, control)
    with jax_float64():
        plan = zbus.plan(grid, tol_pu=1e-11, meters=meters)
        flow = solve(plan, load, control)
        again = solve(plan, load, control, flow)
        for number in NUMBERS:
            found, right = np.asarray(getattr(flow, number)), getattr(truth, number)
            np.testing.assert_allclose(found, right, atol=2e-9, rtol=1e-9, err_msg=number)
        assert np.asarray(flow.converged).all()
        assert np.asarray(again.iterations).max() <= 3
    single = solve(zbus.plan(grid, tol_pu=1e-6), cast(load, "float32"), cast(control, "float32"))
    np.testing.assert_allclose(single.v_pu, truth.v_pu, atol=2e-6)
    np.testing.assert_allclose(single.loss_mw, truth.loss_mw, atol=2e-5)


def test_float32_keeps_two_millionths(grid: Network) -> None:
    load, control = scenarios(grid, (64,), seed=1)
    truth = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-11), load, control)
    flow = solve(zbus.plan(grid, tol_pu=1e-6), cast(load, "float32"), cast(control, "float32"))
    assert flow.v_pu.dtype == flow.loading.dtype == np.float32
    assert np.asarray(flow.converged).all()
    np.testing.assert_allclose(flow.v_pu, truth.v_pu, atol=2e-6)
    np.testing.assert_allclose(flow.loading, truth.loading, atol=2e-3, rtol=1e-5)
    scale = np.abs(load.p_mw).sum(-1).max()
    np.testing.assert_allclose(flow.loss_mw, truth.loss_mw, atol=2e-6 * scale)
    np.testing.assert_allclose(flow.p_slack_mw, truth.p_slack_mw, atol=2e-6 * scale)


def test_works_under_jit_vmap_and_scan() -> None:
    grid = BUILDERS["ieee34"]()
    plan = zbus.plan(grid, tol_pu=1e-6)
    load, control = (cast(part, "float32") for part in scenarios(grid, (5,)))
    direct = solve(plan, load, control)

    def one(p_mw, q_mvar, tap_ratio, cap_on, v_source_pu):  # type: ignore[no-untyped-def]
        return zbus.solve(plan, NodeLoad(p_mw, q_mvar), Control(tap_ratio, cap_on, None, v_source_pu)).v_pu

    given = (load.p_mw, load.q_mvar, control.tap_ratio, control.cap_on, control.v_source_pu)
    np.testing.assert_allclose(jax.jit(one)(*given), direct.v_pu, atol=2e-6)
    np.testing.assert_allclose(jax.vmap(one)(*given), direct.v_pu, atol=2e-6)
    _, scanned = jax.lax.scan(lambda carry, row: (carry, one(*row)), 0, given)
    np.testing.assert_allclose(scanned, direct.v_pu, atol=2e-6)


@pytest.mark.slow
def test_neighbours_and_warm_starts_change_nothing() -> None:
    grid = BUILDERS["ieee34"]()
    with jax_float64():
        plan = zbus.plan(grid, tol_pu=1e-10)
        load, control = scenarios(grid, (6,))
        together = solve(plan, load, control)
        for index in (0, 5):
            alone = solve(plan, pick(load, index), pick(control, index))
            np.testing.assert_allclose(together.v_re[index], alone.v_re, atol=1e-13)
            assert together.iterations[index] == alone.iterations
        again = solve(plan, load, control, together)
        np.testing.assert_allclose(again.v_pu, together.v_pu, atol=1e-9)
        assert (np.asarray(again.iterations) < np.asarray(together.iterations)).all()


def test_overload_is_data_not_an_error(grid: Network) -> None:
    plan = zbus.plan(grid, tol_pu=1e-6, meters=(1,))
    own = own_load(grid)
    factor = np.array([1.0, 50.0, 1e6, np.nan], "float32")[:, None]
    flow = solve(plan, NodeLoad((own.p_mw * factor).astype("float32"), (own.q_mvar * factor).astype("float32")))
    np.testing.assert_array_equal(flow.converged, [True, False, False, False])
    for name, value in zip(Flow._fields, flow, strict=True):
        assert np.isfinite(value).all(), name


def test_only_the_buses_that_draw_need_columns() -> None:
    grid = odd_network()
    own = own_load(grid)
    drawing = np.flatnonzero((own.p_mw != 0) | (own.q_mvar != 0))
    with jax_float64():
        small = zbus.plan(grid, tol_pu=1e-11, buses=drawing)
        full = zbus.plan(grid, tol_pu=1e-11)
        assert small.inner.size < full.inner.size
        np.testing.assert_allclose(solve(small, own).v_re, solve(full, own).v_re, atol=1e-10)


def test_float32_stops_at_its_own_resolution() -> None:
    grid = BUILDERS["ieee34"]()
    load, control = (cast(part, "float32") for part in scenarios(grid, (256,), seed=3))
    flow = solve(zbus.plan(grid, tol_pu=1e-12), load, control)
    assert np.asarray(flow.converged).all()
    assert np.asarray(flow.iterations).max() < 30
