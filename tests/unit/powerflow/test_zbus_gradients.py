"""Derivatives of the JAX method against central differences of its own solution."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.core.backend import jax_float64
from powergrid.core.types import Control, NodeLoad
from powergrid.networks import network

from .conftest import odd_network, own_load, scenarios

jax = pytest.importorskip("jax")

from powergrid.powerflow import zbus  # noqa: E402

SMOOTH = ("v_re", "v_im", "v_pu", "loading", "loss_mw", "p_slack_mw", "q_slack_mvar", "p_meter_mw", "q_meter_mvar")


def odd(rng):
    """Every kind of element, loads of every model, taps and shunts between their positions."""
    grid = odd_network()
    load, control = scenarios(grid, (2,), by_voltage=True)
    return grid, {"meters": (0, 2, 4)}, load, control


def three_phases(rng):
    grid = network("ieee13", phases="three")
    factor = rng.uniform(0.6, 1.1, (2, len(grid.places)))
    load = NodeLoad(*(part * factor for part in grid.node_load()))
    taps = 1 / grid.branches.ratio[grid.regulators.branch] * rng.uniform(0.97, 1.03, (2, len(grid.regulators.branch)))
    return grid, {}, load, Control(tap_ratio=taps, cap_on=rng.uniform(0, 1, (2, len(grid.shunts.name))))


def dead_islands(rng):
    """A tie closed, and a branch open that leaves buses without voltage."""
    grid = network("case33bw")
    load = NodeLoad(*(part * rng.uniform(0.6, 1.0, (3, len(part))) for part in own_load(grid)[:2]))
    return grid, {"topologies": [(33,), (5,)], "meters": (3,)}, load, Control(topology=np.array([0, 1, 2]))


def three_phase_topologies(rng):
    grid = network("ieee13", phases="three")
    load = NodeLoad(*(part * rng.uniform(0.6, 1.1, (2, len(grid.places))) for part in grid.node_load()))
    return grid, {"topologies": [grid.rows("671-692")]}, load, Control(topology=np.array([0, 1]))


CASES = (
    odd,
    three_phases,
    *(pytest.param(case, marks=pytest.mark.slow) for case in (dead_islands, three_phase_topologies)),
)


@pytest.mark.parametrize("case", CASES)
def test_derivatives_equal_central_differences(case) -> None:
    rng = np.random.default_rng(3)
    grid, options, load, control = case(rng)
    with jax_float64():
        plan = zbus.plan(grid, tol_pu=1e-12, **options)
        load, topology = jax.tree.map(jax.numpy.asarray, load), control.topology
        batch = load.p_mw.shape[:-1]
        free = control._replace(topology=None, v_source_pu=np.full(batch, grid.source_v_pu))
        free = jax.tree.map(jax.numpy.asarray, (load, free))
        flow = jax.jit(lambda load, control: zbus.solve(plan, load, control._replace(topology=topology)))(*free)
        weights = {name: rng.normal(size=getattr(flow, name).shape) for name in SMOOTH}
        weights["loading"] *= 0.01 * (flow.loading > 1.0)  # a magnitude bends where it is nearly zero

        def total(given) -> tuple:
            """A weighted sum of all results, one for each scenario."""
            load, control = given
            flow = zbus.solve(plan, load, control._replace(topology=topology))
            parts = [(weights[name] * getattr(flow, name)).reshape(*batch, -1).sum(-1) for name in SMOOTH]
            return sum(parts).sum(), flow.converged

        value = jax.jit(lambda given: total(given)[0])
        slope, converged = jax.jit(jax.grad(total, has_aux=True))(free)
        assert converged.all()
        for part, of_part in zip(jax.tree.leaves(free), jax.tree.leaves(slope), strict=True):
            assert np.isfinite(of_part).all()
            assert of_part.shape == part.shape
        for number, part in enumerate(jax.tree.leaves(free)):
            direction = rng.normal(size=part.shape) * (1e-5 * (np.abs(part) + 0.1))
            ends = []
            for sign in (1, -1):
                leaves = jax.tree.leaves(free)
                leaves[number] = part + sign * direction
                ends.append(float(value(jax.tree.unflatten(jax.tree.structure(free), leaves))))
            differences = (ends[0] - ends[1]) / 2
            found = float((jax.tree.leaves(slope)[number] * direction).sum())
            assert found == pytest.approx(differences, rel=1e-5, abs=1e-13), number


def test_no_convergence_and_no_load_give_finite_derivatives() -> None:
    grid = network("case33bw")
    with jax_float64():
        plan = zbus.plan(grid)

        def total(scale):
            load = NodeLoad(*(scale[:, None] * part for part in own_load(grid)[:2]))
            flow = zbus.solve(plan, load)
            return sum(getattr(flow, name).sum() for name in SMOOTH), flow.converged

        slope, converged = jax.jit(jax.grad(total, has_aux=True))(jax.numpy.array([0.0, 1.0, 1e3, np.nan]))
        slope = np.asarray(slope)
    assert converged.tolist() == [True, True, False, False]
    assert np.isfinite(slope).all()
    assert slope[1] != 0.0
