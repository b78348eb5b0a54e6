"""The nearest point of a polytope, for many polytopes at once: what the safety layer solves in a tick.

The problem of each row of a batch is the quadratic program::

    min_z,s  1/2 |z|^2 + rho/2 |s|^2    with  A z - s <= b  and  low <= z <= high

with `A` and `b` scaled to a largest entry of `A` of 1. As `rho` grows its solution goes to the projection of zero onto
``{A z <= b, low <= z <= high}`` where that set has a point, and else to the shortest of the points of the box that
violate ``A z <= b`` least, in the sum of squares; what is left of a violation is its multiplier over `rho`. It is
solved by a primal-dual interior-point method with Mehrotra's predictor and corrector (Nocedal and Wright, "Numerical
Optimization", 2nd ed., Springer 2006, algorithm 16.4), whose linear systems have the size of `z`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PENALTY = 1e8
"""Weight `rho` of what is left of a violation [1]."""
STEPS = 60
"""Steps at most; 10 to 20 are usual."""
REST = 1e-11
"""Complementarity and residuals at which an iteration ends [1]."""
_NARROW = 1e-7
"""Width of the box below which a number is fixed [1]."""
_SHORT = 0.99
"""Share of the way to the next bound that a step goes [1]."""


class _Point(NamedTuple):
    """An interior point: `z`; multipliers and slacks of half-spaces, of lower bounds, and of upper bounds."""

    z: np.ndarray
    multiplier: np.ndarray
    slack: np.ndarray
    at_low: np.ndarray
    below: np.ndarray
    at_high: np.ndarray
    above: np.ndarray

    @property
    def products(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Multipliers times slacks."""
        return self.multiplier * self.slack, self.at_low * self.below, self.at_high * self.above


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
    z = np.clip(np.zeros_like(low), low, high)
    if not a.size:
        return z
    reach = np.maximum(a, 0.0) @ high[..., None] + np.minimum(a, 0.0) @ low[..., None]
    felt = (reach[..., 0] > b).any(0)  # the others hold anywhere in the box
    a, b = a[:, felt], b[:, felt]
    cut = np.flatnonzero((_times(a, z) > b).any(-1))  # elsewhere the nearest point of the box is in all half-spaces
    if not len(cut):
        return z
    a, b, low, high = a[cut], b[cut], low[cut], high[cut]
    fixed = high - low < _NARROW
    at = np.where(fixed, z[cut], 0.0)
    b = b - _times(a, at)
    a = np.where(fixed[:, None], 0.0, a)
    low, high = np.where(fixed, -1.0, low), np.where(fixed, 1.0, high)
    scale = np.abs(a).max((1, 2))
    scale = np.where(scale > 0.0, scale, 1.0)
    inner = _solved(a / scale[:, None, None], b / scale[:, None], low, high)
    z[cut] = np.where(fixed, at, np.clip(inner, low, high))
    return z


def _solved(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    z = 0.5 * (low + high)
    one, half = np.ones_like(z), 0.5 * (high - low)
    point = _Point(z, np.ones_like(b), np.maximum(b - _times(a, z), 1.0), one, half, one, half)
    found, busy = z.copy(), np.arange(len(z))
    for _ in range(STEPS):
        point, left = _stepped(a, b, point)
        found[busy] = point.z
        going = left > REST
        if not going.any():
            break
        busy, a, b = busy[going], a[going], b[going]
        point = _Point(*(part[going] for part in point))
    return found


def _stepped(a: np.ndarray, b: np.ndarray, now: _Point) -> tuple[_Point, np.ndarray]:
    """The next point, and the largest of complementarity and residuals before the step."""
    across, n = a.swapaxes(1, 2), a.shape[2]
    dual = now.z + _times(across, now.multiplier) - now.at_low + now.at_high
    primal = _times(a, now.z) - now.multiplier / PENALTY + now.slack - b
    count = now.multiplier.shape[1] + 2 * n
    mu = sum(product.sum(-1) for product in now.products) / count
    size = 1.0 + now.multiplier.max(-1)
    left = np.maximum(np.maximum(np.abs(dual).max(-1) / size, np.abs(primal).max(-1)), mu)
    weight = 1.0 / (1.0 / PENALTY + now.slack / now.multiplier)
    matrix = across @ (weight[..., None] * a)
    matrix[:, np.arange(n), np.arange(n)] += 1.0 + now.at_low / now.below + now.at_high / now.above

    def direction(miss: np.ndarray, miss_low: np.ndarray, miss_high: np.ndarray) -> _Point:
        """Change of the point for products that miss their targets by that much."""
        shifted = weight * (primal - miss / now.multiplier)
        right = -dual - _times(across, shifted) - miss_low / now.below + miss_high / now.above
        dz = np.linalg.solve(matrix, right[..., None])[..., 0]
        d_multiplier = weight * _times(a, dz) + shifted
        d_slack = -(miss + now.slack * d_multiplier) / now.multiplier
        d_low, d_high = -(miss_low + now.at_low * dz) / now.below, (now.at_high * dz - miss_high) / now.above
        return _Point(dz, d_multiplier, d_slack, d_low, dz, d_high, -dz)

    def moved(change: _Point) -> _Point:
        """The point after a whole step, or most of the way to the first bound."""
        pairs = zip(now[1:], change[1:], strict=True)
        ways = [np.where(d < 0.0, -value / np.where(d < 0.0, d, -1.0), np.inf).min(-1) for value, d in pairs]
        share = np.minimum(_SHORT * np.min(ways, axis=0), 1.0)[:, None]
        return _Point(*(part + share * d for part, d in zip(now, change, strict=True)))

    predicted = direction(*now.products)
    reached = sum(product.sum(-1) for product in moved(predicted).products) / count
    centre = (mu * (reached / mu) ** 3)[:, None]
    missed = (own + second - centre for own, second in zip(now.products, predicted.products, strict=True))
    return moved(direction(*missed)), left


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    product: np.ndarray = (matrix @ vector[..., None])[..., 0]
    return product
