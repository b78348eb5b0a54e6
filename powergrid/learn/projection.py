"""The nearest point of a polytope, for many polytopes at once: what the safety layer solves in a tick.

The problem of each row of a batch is the quadratic program

    min_z  1/2 |z|^2 + rho/2 |max(A z - b, 0)|^2    with  low <= z <= high

with `A` and `b` scaled to a largest entry of `A` of 1. As `rho` grows its solution goes to the projection of zero onto
``{A z <= b, low <= z <= high}`` where that set has a point, and else to the shortest of the points of the box that
violate ``A z <= b`` least, in the sum of squares. The objective is piecewise quadratic and strongly convex, and a
projected Newton method finds its minimum in a few steps (Bertsekas, "Projected Newton methods for optimization
problems with simple constraints", SIAM J. Control Optim. 20(2), 1982); `rho` grows in stages, each from the solution
of the last.
"""

from __future__ import annotations

import numpy as np

PENALTIES = (1e2, 1e4, 1e6, 1e8)
"""Stages of the penalty `rho` [1]; the last one decides what is left of a violation: its multiplier over `rho`."""
STEPS = 30
"""Newton steps in a stage; three to six are usual."""
REST = 1e-10
"""Largest change of `z` in the last step of a stage."""
HALVINGS = 40
"""Halvings of a Newton step that does not lower the objective."""


def project(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Shortest `z` of a box with ``a z <= b``, or that violates it least, see the module.

    Parameters
    ----------
    a, b
        Half-spaces, ``(batch, m, n)`` and ``(batch, m)``.
    low, high
        The box, ``(batch, n)``; it need not hold zero.

    Returns
    -------
    numpy.ndarray
        ``(batch, n)``.
    """
    batch, _, n = a.shape
    z = np.clip(np.zeros((batch, n)), low, high)
    if not a.size:
        return z
    reach = np.maximum(a, 0.0) @ high[..., None] + np.minimum(a, 0.0) @ low[..., None]
    felt = (reach[..., 0] > b).any(0)  # the others hold anywhere in the box
    a, b = a[:, felt], b[:, felt]
    if not a.size:
        return z
    scale = np.abs(a).max((1, 2))
    scale = np.where(scale > 0.0, scale, 1.0)
    a, b = a / scale[:, None, None], b / scale[:, None]
    for rho in PENALTIES:
        z = _minimum(a, b, low, high, z, rho)
    return z


def _minimum(
    a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray, z: np.ndarray, rho: float
) -> np.ndarray:
    """The minimum at one `rho`, from a point of the box."""
    z = z.copy()
    busy = np.arange(len(z))
    for _ in range(STEPS):
        own_a, own_b, lowest, highest, here = a[busy], b[busy], low[busy], high[busy], z[busy]
        excess = _excess(own_a, own_b, here)
        gradient = here + rho * _times(own_a.swapaxes(1, 2), excess)
        held = ((here <= lowest) & (gradient > 0.0)) | ((here >= highest) & (gradient < 0.0))
        active = own_a * (excess > 0.0)[..., None]
        curvature = rho * active.swapaxes(1, 2) @ active
        curvature = np.where(held[:, :, None] | held[:, None, :], 0.0, curvature) + np.eye(z.shape[1])
        step = -np.linalg.solve(curvature, np.where(held, 0.0, gradient)[..., None])[..., 0]
        value, share = _value(here, excess, rho), np.ones(len(busy))
        best, open_ = here.copy(), np.ones(len(busy), bool)
        for _ in range(HALVINGS):
            tried = np.clip(here + share[:, None] * step, lowest, highest)
            slope = (gradient * (here - tried)).sum(-1)
            falls = _value(tried, _excess(own_a, own_b, tried), rho) <= value - 1e-4 * slope
            best = np.where((open_ & falls)[:, None], tried, best)
            open_ &= ~falls
            if not open_.any():
                break
            share = np.where(open_, 0.5 * share, share)
        z[busy] = best
        busy = busy[np.abs(best - here).max(-1) > REST]
        if not len(busy):
            break
    return z


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    product: np.ndarray = (matrix @ vector[..., None])[..., 0]
    return product


def _excess(a: np.ndarray, b: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.maximum(_times(a, z) - b, 0.0)


def _value(z: np.ndarray, excess: np.ndarray, rho: float) -> np.ndarray:
    value: np.ndarray = 0.5 * (z * z).sum(-1) + 0.5 * rho * (excess * excess).sum(-1)
    return value
