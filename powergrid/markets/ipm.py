"""Interior-point method for a batch of clearings, on NumPy and inside ``jax.jit``.

S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2(4), 1992, on the normal
equations, regularised as by M. P. Friedlander and D. Orban, "A primal-dual regularized interior-point method for convex
quadratic programs", Math. Prog. Comp. 4, 2012. A quadratic term on the columns shares ties pro rata; a convex one on
the row prices takes the smallest of several prices. Both are fixed and tiny, so that dispatch and prices are unique.
"""

from __future__ import annotations

from typing import NamedTuple

from powergrid.core.backend import Namespace, while_loop
from powergrid.core.types import Array
from powergrid.markets.program import Program, Solution

ITERATIONS = 40
"""Iterations after which a clearing counts as not converged; usual ones take 9 to 20."""
SHARING = 2e-9
"""Rise of a column's price over its width, as a share of the price scale; ties of prices are shared by it."""
SMALLEST = 1e-9
"""Power that a row gives up for a smaller price, as a share of the power scale; at most, however large the price is."""
GAP, ERROR = 1e-13, 1e-10
"""Mean product of distance and price at the bounds, and largest error of an equation, of a converged clearing."""
GAP_EPS, ERROR_EPS = 0.01, 500.0
"""The least that they can be in float32, in units in the last place."""
USUAL = 100.0
"""Price [$/MWh] that counts as usual; dearer columns, such as unserved demand, do not set the scale of prices."""
TINY = 1e-9
"""Width of a column, as a share of the power scale, below which it is fixed."""
MARGIN = 0.1
"""Room left beyond what a row can reach, as a share of it, where a bound is farther away or missing."""
LEAST = 1e-30
"""Distance from a bound, and price of a bound, below which float32 would have no reciprocal."""
STEP = 0.995
"""Share of the way to the nearest bound that a step takes."""


class _Scaled(NamedTuple):
    """Program over non-negative columns ``[x - low, row - row_low, above, below]`` in scaled units."""

    cost: Array
    width: Array
    sharing: Array
    matrix: Array
    right: Array
    active: Array
    bounded: Array
    smallest: float


class _Iterate(NamedTuple):
    """Columns `v` and what is left of their widths `t`, row prices `y`, and prices of both bounds of the columns."""

    v: Array
    t: Array
    y: Array
    z_low: Array
    z_high: Array
    done: Array
    iterations: Array
    count: Array


def _times(matrix: Array, vector: Array) -> Array:
    """``matrix @ vector`` for one vector per environment; its bits do not depend on the batch."""
    return (matrix @ vector[..., None])[..., 0]


def _rows(xp: Namespace, s: _Scaled, v: Array, n: int, r: int) -> Array:
    """Left sides of the equations ``matrix x - row - above + below``."""
    v = xp.where(s.active, v, 0.0)
    product = _times(s.matrix, v[..., :n])
    return product - v[..., n : n + r] - v[..., n + r : n + 2 * r] + v[..., n + 2 * r :]


def _columns(xp: Namespace, transposed: Array, y: Array) -> Array:
    """Transpose of :func:`_rows`."""
    return xp.concatenate((_times(transposed, y), -y, -y, y), axis=-1)


def solve(xp: Namespace, program: Program, *, iterations: int = ITERATIONS) -> Solution:
    """Solve the program of every environment; each stops when it has converged, whatever its neighbours do.

    Parameters
    ----------
    xp
        NumPy or ``jax.numpy``.
    program
        All columns bounded.
    iterations
        Most iterations.

    Returns
    -------
    Solution
        Finite in every case.
    """
    n, r = program.matrix.shape[-1], program.matrix.shape[-2]
    eps = float(xp.finfo(program.cost.dtype).eps)
    s, power, price = _scale(xp, program)
    transposed = xp.moveaxis(s.matrix, -1, -2)
    eye = xp.eye(r, dtype=program.cost.dtype)
    gap_tolerance, error_tolerance = max(GAP, GAP_EPS * eps), max(ERROR, ERROR_EPS * eps)
    one = 1.0 + 0.0 * s.width
    number = xp.sum(xp.where(s.active, one, 0.0) + xp.where(s.active & s.bounded, one, 0.0), axis=-1, keepdims=True)

    def body(at: _Iterate) -> _Iterate:
        v, t = at.v, at.t
        dual = xp.where(s.active, s.cost + s.sharing * v - _columns(xp, transposed, at.y) - at.z_low + at.z_high, 0.0)
        size = 1.0 + xp.abs(at.y)
        primal = s.right - _rows(xp, s, v, n, r) - s.smallest * at.y / size
        gap = xp.sum(xp.where(s.active, v * at.z_low + t * at.z_high, 0.0), axis=-1, keepdims=True) / number
        theta = xp.where(s.active, 1.0 / (s.sharing + at.z_low / v + at.z_high / t), 0.0)
        extra = theta[..., n : n + r] + theta[..., n + r : n + 2 * r] + theta[..., n + 2 * r :] + s.smallest / size**2
        normal = (s.matrix * theta[..., None, :n]) @ transposed + extra[..., None] * eye

        def direction(low: Array, high: Array) -> tuple[Array, Array, Array, Array]:
            g = xp.where(s.active, low / v - high / t - dual, 0.0)
            right = primal - _rows(xp, s, theta * g, n, r)
            dy = xp.linalg.solve(normal, right[..., None])[..., 0]
            dv = theta * (g + _columns(xp, transposed, dy))
            d_low = xp.where(s.active, (low - at.z_low * dv) / v, 0.0)
            return dv, dy, d_low, xp.where(s.active & s.bounded, (high + at.z_high * dv) / t, 0.0)

        def lengths(dv: Array, dl: Array, dh: Array) -> tuple[Array, Array]:
            down = xp.where(s.active & (dv < 0.0), -dv / v, 0.0)
            up = xp.where(s.active & s.bounded & (dv > 0.0), dv / t, 0.0)
            low = xp.where(s.active & (dl < 0.0), -dl / at.z_low, 0.0)
            high = xp.where(s.active & s.bounded & (dh < 0.0), -dh / xp.where(s.bounded, at.z_high, 1.0), 0.0)
            fastest_v = xp.max(xp.maximum(down, up), axis=-1, keepdims=True)
            fastest_z = xp.max(xp.maximum(low, high), axis=-1, keepdims=True)
            return 1.0 / xp.maximum(fastest_v, 1.0), 1.0 / xp.maximum(fastest_z, 1.0)

        dv, dy, dl, dh = direction(-v * at.z_low, -t * at.z_high)
        a_v, a_z = lengths(dv, dl, dh)
        ahead = (v + a_v * dv) * (at.z_low + a_z * dl) + (t - a_v * dv) * (at.z_high + a_z * dh)
        ahead = xp.sum(xp.where(s.active, ahead, 0.0), axis=-1, keepdims=True) / number
        centre = gap * xp.minimum((ahead / gap) ** 3, 1.0)
        low = centre - v * at.z_low - dv * dl
        high = xp.where(s.bounded, centre - t * at.z_high + dv * dh, 0.0)
        dv, dy, dl, dh = direction(low, high)
        a_v, a_z = lengths(dv / STEP, dl / STEP, dh / STEP)
        least = LEAST + 0.0 * v
        left = xp.where(s.bounded, t - a_v * dv, 1.0)  # not width - v, which would be zero at the end
        z_low = xp.maximum(at.z_low + a_z * dl, least)
        z_high = xp.where(s.bounded, xp.maximum(at.z_high + a_z * dh, least), 0.0)
        new = (xp.maximum(v + a_v * dv, least), xp.maximum(left, least), at.y + a_z * dy, z_low, z_high)

        error = xp.maximum(
            xp.max(xp.abs(primal), axis=-1, keepdims=True),
            xp.max(xp.abs(dual) / (1.0 + xp.abs(s.cost)), axis=-1, keepdims=True),
        )
        done = at.done | ((error < error_tolerance) & (gap < gap_tolerance))
        finite = xp.all(xp.isfinite(xp.concatenate(new, axis=-1)), axis=-1)[..., None]
        moves = finite & ~done
        v, t, y, z_low, z_high = (xp.where(moves, b, a) for a, b in zip(at[:5], new, strict=True))
        return _Iterate(v, t, y, z_low, z_high, done, at.iterations + 1 * ~done, at.count + 1)

    last = while_loop(xp, lambda at: (at.count < iterations) & ~xp.all(at.done), body, _start(xp, s, r))
    x = xp.clip(program.low + power * xp.where(s.active, last.v, 0.0)[..., :n], program.low, program.high)
    return Solution(x, price * last.y, last.done[..., 0], last.iterations[..., 0])


def _start(xp: Namespace, s: _Scaled, r: int) -> _Iterate:
    """Columns in the middle of their range, with prices that leave little of the costs over."""
    n = s.matrix.shape[-1] + r
    wide = xp.broadcast_to(s.cost * 0.0 + s.width * 0.0 + s.right[..., :1] * 0.0, _shape(s))
    v = xp.where(s.bounded, 0.5 * s.width, 1.0 / (1.0 + xp.abs(s.cost))) + wide
    y = wide[..., n : n + r]
    z_low = xp.maximum(s.cost, 0.0) + 1.0 + wide
    z_high = xp.where(s.bounded, xp.maximum(-s.cost, 0.0) + 1.0, 0.0) + wide
    none = wide[..., :1] != 0.0
    t = xp.where(s.bounded, s.width - v, 1.0)
    return _Iterate(v, t, y, z_low, z_high, none, 0 * none, xp.asarray(0))


def _shape(s: _Scaled) -> tuple[int, ...]:
    shape: tuple[int, ...] = s.cost.shape
    return shape


def _scale(xp: Namespace, program: Program) -> tuple[_Scaled, Array, Array]:
    """The scaled program, with the power scale [MW] and the price scale [$/MWh] of each environment."""
    cost, matrix = program.cost, program.matrix
    width = xp.maximum(program.high - program.low, 0.0)
    r = matrix.shape[-2]
    penalty = xp.asarray(program.penalty, dtype=cost.dtype) + 0.0 * cost[..., :1]
    reach = _times(xp.abs(matrix), width)
    shift = _times(matrix, program.low)
    power = xp.maximum(xp.max(width, axis=-1, keepdims=True), 1e-6)
    price = xp.maximum(xp.max(xp.where(width > 0.0, xp.minimum(xp.abs(cost), USUAL), 0.0), axis=-1, keepdims=True), 1.0)
    low, high = program.row_low - shift, program.row_high - shift
    far = (1.0 + MARGIN) * reach + 1e-3 * power
    high = xp.maximum(xp.minimum(high, far), xp.maximum(low, -far))
    low = xp.minimum(xp.maximum(low, -far), high)
    row_width = high - low
    inf = xp.inf + 0.0 * row_width
    widths = xp.concatenate((width / power, row_width / power, inf, inf), axis=-1)
    bounded = xp.isfinite(widths)
    active = widths > TINY
    widths = xp.where(active, xp.where(bounded, widths, 1.0), 1.0)
    costs = xp.concatenate((cost / price, 0.0 * row_width, penalty / price, penalty / price), axis=-1)
    share = SHARING * xp.where(active[..., : -3 * r], 1.0 / widths[..., : -3 * r], 0.0)
    sharing = xp.concatenate((share, xp.zeros_like(widths[..., -3 * r :])), axis=-1)
    return _Scaled(costs, widths, sharing, matrix, low / power, active, bounded, SMALLEST), power, price
