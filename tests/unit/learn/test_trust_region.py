"""The step of constrained policy optimisation against an independent solver of the same problem."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from powergrid.learn.algorithms.cpo import trust_region_step

DIVERGENCE = 0.01


def problem(seed: int, constraints: int, excess_scale: float):
    """Gradients in six dimensions with a random curvature, and the excess over each limit."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((6, 6))
    curvature = root @ root.T + np.eye(6)
    slopes = rng.standard_normal((1 + constraints, 6)) * np.array([1.0, *(30.0,) * constraints])[:, None]
    return curvature, slopes, rng.standard_normal(constraints) * excess_scale


def solved(curvature, slopes, excess):
    """The best step by SLSQP, of several starts; ``None`` where it finds no feasible one."""
    keeps = [{"type": "ineq", "fun": lambda x: 2.0 * DIVERGENCE - x @ curvature @ x}]
    keeps += [{"type": "ineq", "fun": lambda x, k=k: -excess[k] - slopes[1 + k] @ x} for k in range(len(excess))]
    found = []
    for seed in range(8):
        start = 0.01 * np.random.default_rng(seed).standard_normal(6)
        result = minimize(lambda x: -slopes[0] @ x, start, constraints=keeps, options={"maxiter": 500, "ftol": 1e-12})
        if result.success and min(float(keep["fun"](result.x)) for keep in keeps) > -1e-6:
            found.append(float(-result.fun))
    return max(found, default=None)


@pytest.mark.parametrize("constraints", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_step_is_the_optimum_of_the_trust_region(seed, constraints):
    curvature, slopes, excess = problem(seed, constraints, 1.0)
    natural = np.linalg.solve(curvature, slopes.T).T
    weights, feasible = trust_region_step(jnp.asarray(natural @ slopes.T), jnp.asarray(excess), DIVERGENCE)
    step, best = np.asarray(weights) @ natural, solved(curvature, slopes, excess)
    assert bool(feasible) is (best is not None)
    assert step @ curvature @ step <= 2.0 * DIVERGENCE * 1.01
    if best is not None:
        assert (slopes[1:] @ step + excess).max() < 0.02
        assert slopes[0] @ step == pytest.approx(best, rel=0.01, abs=1e-3)


def test_where_no_step_keeps_the_limit_the_cost_falls_as_fast_as_it_can():
    curvature, slopes, _ = problem(0, 1, 0.0)
    natural = np.linalg.solve(curvature, slopes.T).T
    weights, feasible = trust_region_step(jnp.asarray(natural @ slopes.T), jnp.asarray([1e3]), DIVERGENCE)
    step = np.asarray(weights) @ natural
    steepest = -np.sqrt(2.0 * DIVERGENCE / (slopes[1] @ natural[1])) * natural[1]
    assert not feasible
    assert step == pytest.approx(steepest, rel=1e-2)
