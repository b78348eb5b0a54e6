"""The interior-point method of :mod:`powergrid.markets.ipm` compiled: one clearing after the other, on few rows.

Few limits of a network bind at a time. A clearing begins with its equations and the rows that the cheapest dispatch
would break. As soon as it can be seen which other rows its solution would break, it begins anew with these as well. A
row left out lies within its bounds in the end, where its price is zero, so that the solution is that of all rows
(row generation; J. E. Kelley, "The cutting plane method for solving convex programs", J. SIAM 8(4), 1960). Columns of
no width are left out as well.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import types

from powergrid.core.backend import Namespace
from powergrid.core.machine_code import cached, compile_for
from powergrid.markets import ipm, ipm_selection
from powergrid.markets.ipm_selection import (
    BY_ROW,
    COST,
    D_HIGH,
    D_LOW,
    D_V,
    D_Y,
    DUAL,
    N_ERROR,
    N_GAP,
    N_LEAST,
    N_ROW_SLOT,
    N_SLOT,
    N_SMALLEST,
    N_STEP,
    N_TINY,
    PRIMAL,
    R_LOW,
    R_PENALTY,
    R_T,
    R_V,
    R_WIDTH,
    SHARE,
    THETA,
    WEIGHTED,
    WIDTH,
    Z_HIGH,
    Z_LOW,
    T,
    V,
    Y,
    broken,
    choose,
    dot,
    leaf,
    scale,
    sum_leaf,
    suspect,
)
from powergrid.markets.program import Program, Solution

_NUMPY: Namespace = np
_SUSPECT = 1e-2
"""Gap from which it can be seen which rows a solution would break."""
_NUMBERS = np.array(
    [ipm.SHARING, ipm.SMALLEST, ipm.GAP, ipm.ERROR, ipm.USUAL, ipm.TINY, ipm.MARGIN, ipm.LEAST, ipm.STEP]
)


def solve(program: Program, iterations: int = ipm.ITERATIONS) -> Solution:
    """:func:`powergrid.markets.ipm.solve` for NumPy in float64; it also takes over what does not converge here.

    Parameters
    ----------
    program
        All columns bounded.
    iterations
        Most iterations of a clearing on the same rows.

    Returns
    -------
    Solution
        Finite in every case; its iterations are those of all rounds.
    """
    batch = np.broadcast_shapes(
        program.cost.shape[:-1], program.low.shape[:-1], program.high.shape[:-1], program.matrix.shape[:-2],
        program.row_low.shape[:-1], program.row_high.shape[:-1],
    )  # fmt: skip
    count = int(np.prod(batch, dtype=int))

    def flat(values: np.ndarray, kept: int) -> np.ndarray:
        own = values.shape[values.ndim - kept :]
        wide = np.broadcast_to(values, batch + own).reshape(count, *own)
        return np.ascontiguousarray(wide, dtype=np.float64)

    matrix = np.asarray(program.matrix, float)
    given = Program(
        flat(program.cost, 1), flat(program.low, 1), flat(program.high, 1),
        np.ascontiguousarray(matrix[None]) if matrix.ndim == 2 else flat(matrix, 2),
        flat(program.row_low, 1), flat(program.row_high, 1), np.ascontiguousarray(program.penalty, dtype=np.float64),
    )  # fmt: skip
    x, y = np.empty_like(given.cost), np.empty_like(given.row_low)
    taken, done = np.empty(count, np.int64), np.empty(count, np.int64)
    compile_for(solve_rows, _SIGNATURE, "market clearing", 12)
    solve_rows(*given, iterations, _NUMBERS, x, y, taken, done)
    left = np.flatnonzero(done == 0)
    if len(left):
        again_given = given._replace(
            cost=given.cost[left], low=given.low[left], high=given.high[left],
            matrix=given.matrix[0] if len(given.matrix) == 1 else given.matrix[left],
            row_low=given.row_low[left], row_high=given.row_high[left],
        )  # fmt: skip
        again = ipm.solve(_NUMPY, again_given, iterations=iterations)
        x[left], y[left], done[left], taken[left] = again.x, again.row_price, again.converged, again.iterations
    return Solution(x.reshape(*batch, -1), y.reshape(*batch, -1), (done > 0).reshape(batch), taken.reshape(batch))


@cached(
    Path(__file__),
    Path(ipm.__file__),
    Path(ipm_selection.__file__),
    error_model="numpy",
    nogil=True,
    no_cfunc_wrapper=True,
)
def solve_rows(cost, low, high, matrix, row_low, row_high, penalty, iterations, numbers, x, y, taken, done):
    """Solve every program ``(B, ...)``; `matrix` may be one for all. `done` is 1 where a solution was found, else 0.

    `numbers` holds :data:`_NUMBERS`.
    """
    n, r = cost.shape[1], row_low.shape[1]
    work, rows, of_rows = np.empty((N_SLOT, n + 3 * r)), np.empty((N_ROW_SLOT, r)), np.empty((5, r))
    compact, normal = np.empty((r, n)), np.empty((r, r))
    column, chosen, state = np.empty(n, np.int64), np.empty(r, np.int64), np.zeros(r, np.int64)
    scaled, full = np.empty((3, n)), np.empty(n)
    for k in range(len(cost)):
        full[:] = 0.0
        table = matrix[k if len(matrix) > 1 else 0]
        power, price, active = scale(
            cost[k], low[k], high[k], table, row_low[k], row_high[k], penalty, numbers, scaled, of_rows, column
        )
        for i in range(r):
            state[i] = 1 if of_rows[1, i] <= numbers[N_TINY] else 0  # equations, whose slack has no width
        taken[k], done[k] = 0, 0
        suspect(state, of_rows, table, column[:active], scaled, work, full)
        for _ in range(r + 1):
            inside, count = choose(state, of_rows, table, column[:active], numbers, chosen, compact, rows)
            _begin(scaled, active, inside, count, rows, numbers, work)
            found, spent = _iterate(
                active, inside, count, compact, rows, work, normal, numbers, iterations, state, of_rows, table,
                column[:active], full,
            )  # fmt: skip
            taken[k] += spent
            if found != 2:
                break
        done[k] = 1 if found == 1 else 0
        for j in range(n):
            x[k, j] = min(low[k, j], high[k, j])
        for a in range(active):
            j = column[a]
            x[k, j] = min(max(low[k, j] + power * work[V, a], low[k, j]), high[k, j])
        for i in range(r):
            y[k, i] = 0.0
        for i in range(count):
            y[k, chosen[i]] = price * rows[Y, i]


@leaf
def _begin(scaled, active, inside, count, rows, numbers, work):
    """Columns in the middle of their range, with prices that leave little of the costs over: see ``ipm._start``."""
    for a in range(active):
        work[COST, a], work[WIDTH, a], work[SHARE, a] = scaled[0, a], scaled[1, a], scaled[2, a]
    at = active
    for i in range(inside):
        work[COST, at], work[WIDTH, at], work[SHARE, at] = 0.0, rows[R_WIDTH, i], 0.0
        at += 1
    for a in range(at):
        v = 0.5 * work[WIDTH, a]
        work[V, a], work[T, a] = v, work[WIDTH, a] - v
        work[Z_LOW, a], work[Z_HIGH, a] = max(work[COST, a], 0.0) + 1.0, max(-work[COST, a], 0.0) + 1.0
    for i in range(2 * count):
        c = rows[R_PENALTY, i % count]
        work[COST, at], work[SHARE, at] = c, 0.0
        work[V, at], work[T, at] = 1.0 / (1.0 + abs(c)), 1.0
        work[Z_LOW, at], work[Z_HIGH, at] = max(c, 0.0) + 1.0, 0.0
        at += 1
    for i in range(count):
        rows[Y, i] = 0.0


@sum_leaf
def _weighted(a, b, theta, size):
    total = 0.0
    for j in range(size):
        total += a[j] * b[j] * theta[j]
    return total


@leaf
def _transposed(compact, y, active, inside, count, into):
    """What row prices `y` are worth in every column."""
    for a in range(active):
        into[a] = 0.0
    for i in range(count):
        row, price = compact[i], y[i]
        for a in range(active):
            into[a] += row[a] * price
    above = active + inside
    for i in range(inside):
        into[active + i] = -y[i]
    for i in range(count):
        into[above + i], into[above + count + i] = -y[i], y[i]


@leaf
def _left_side(compact, v, i, active, inside, count):
    """One row's value in columns `v`."""
    above = active + inside
    total = dot(compact[i], v, active) - v[above + i] + v[above + count + i]
    return total - v[active + i] if i < inside else total


@leaf
def _factor(compact, work, active, inside, count, rows, smallest, normal):
    """Cholesky factors of the normal equations, the diagonal as its reciprocal; false where they have none."""
    theta, above = work[THETA], active + inside
    for i in range(count):
        size = 1.0 + abs(rows[Y, i])
        extra = theta[above + i] + theta[above + count + i] + smallest / (size * size)
        if i < inside:
            extra += theta[active + i]
        for j in range(i):
            normal[i, j] = _weighted(compact[i], compact[j], theta, active)
        normal[i, i] = _weighted(compact[i], compact[i], theta, active) + extra
    for i in range(count):
        for j in range(i + 1):
            left = normal[i, j] - dot(normal[i], normal[j], j)
            if i == j:
                if not left > 0.0:
                    return False
                normal[i, i] = 1.0 / np.sqrt(left)
            else:
                normal[i, j] = left * normal[j, j]
    return True


@leaf
def _substitute(normal, right, count):
    """Solve the normal equations in place."""
    for i in range(count):
        right[i] = (right[i] - dot(normal[i], right, i)) * normal[i, i]
    for i in range(count - 1, -1, -1):
        right[i] *= normal[i, i]
        for j in range(i):
            right[j] -= normal[i, j] * right[i]


@leaf
def _direction(compact, work, rows, active, inside, count, normal):
    """Steps of row prices and columns; ``work[WEIGHTED]`` holds ``theta g`` at first."""
    for i in range(count):
        rows[D_Y, i] = rows[PRIMAL, i] - _left_side(compact, work[WEIGHTED], i, active, inside, count)
    _substitute(normal, rows[D_Y], count)
    _transposed(compact, rows[D_Y], active, inside, count, work[BY_ROW])
    dv, weighted, theta, by_row = work[D_V], work[WEIGHTED], work[THETA], work[BY_ROW]
    for a in range(active + inside + 2 * count):
        dv[a] = weighted[a] + theta[a] * by_row[a]


@leaf
def _extremes(values, size):
    """Smallest and largest of some numbers, 0 among them."""
    low = high = 0.0
    for a in range(size):
        if values[a] < low:
            low = values[a]
        if values[a] > high:
            high = values[a]
    return low, high


@leaf
def _largest_share(errors, scale, size):
    """Largest error as a share of one more than its scale."""
    largest = 0.0
    for a in range(size):
        bound = largest * (1.0 + abs(scale[a]))
        if abs(errors[a]) > bound:
            largest = abs(errors[a]) / (1.0 + abs(scale[a]))
    return largest


@leaf
def _iterate(
    active, inside, count, compact, rows, work, normal, numbers, iterations, state, of_rows, table, column, full
):  # fmt: skip
    """Iterate on the rows that count: 0 where no solution was found, 1 where one was, 2 where more rows count."""
    smallest, gap_least, error_least, least, shortened = (
        numbers[N_SMALLEST],
        numbers[N_GAP],
        numbers[N_ERROR],
        numbers[N_LEAST],
        numbers[N_STEP],
    )
    bounded, total = active + inside, active + inside + 2 * count
    v, t, z_low, z_high, cost, share = work[V], work[T], work[Z_LOW], work[Z_HIGH], work[COST], work[SHARE]
    theta, dual, dv, dl, dh = work[THETA], work[DUAL], work[D_V], work[D_LOW], work[D_HIGH]
    rv, rt, weighted, by_row, y = work[R_V], work[R_T], work[WEIGHTED], work[BY_ROW], rows[Y]
    suspected = False
    for iteration in range(iterations):
        _transposed(compact, y, active, inside, count, by_row)
        for a in range(total):
            dual[a] = cost[a] + share[a] * v[a] - by_row[a] - z_low[a] + z_high[a]
            rv[a], rt[a] = 1.0 / v[a], 1.0 / t[a]
            theta[a] = 1.0 / (share[a] + z_low[a] * rv[a] + z_high[a] * rt[a])
        error = _largest_share(dual, cost, total)
        for i in range(count):
            size = 1.0 + abs(y[i])
            rows[PRIMAL, i] = rows[R_LOW, i] - _left_side(compact, v, i, active, inside, count) - smallest * y[i] / size
            error = max(error, abs(rows[PRIMAL, i]))
        gap = (dot(v, z_low, total) + dot(t, z_high, bounded)) / (total + bounded)
        converged = error < error_least and gap < gap_least
        if converged or (gap < _SUSPECT and error < _SUSPECT and not suspected):
            suspected = True
            if broken(state, of_rows, table, column, v, full):
                return 2, iteration
            if converged:
                return 1, iteration
        if not _factor(compact, work, active, inside, count, rows, smallest, normal):
            return 0, iteration
        for a in range(total):
            weighted[a] = theta[a] * (z_high[a] - z_low[a] - dual[a])
        _direction(compact, work, rows, active, inside, count, normal)
        for a in range(total):
            weighted[a], by_row[a] = dv[a] * rv[a], dv[a] * rt[a]
            dl[a], dh[a] = -z_low[a] * (1.0 + weighted[a]), z_high[a] * (by_row[a] - 1.0)
        (low_v, high_v), (low_t, high_t) = _extremes(weighted, total), _extremes(by_row, bounded)
        fastest_v, fastest_z = max(1.0, -low_v, high_t), max(1.0, 1.0 + high_v, 1.0 - low_t)
        ahead = _ahead(work, total, bounded, 1.0 / fastest_v, 1.0 / fastest_z) / (total + bounded)
        centre = gap * min((ahead / gap) ** 3, 1.0)
        for a in range(bounded):
            dl[a] = (centre - dv[a] * dl[a]) * rv[a] - z_low[a]
            dh[a] = (centre + dv[a] * dh[a]) * rt[a] - z_high[a]
        for a in range(bounded, total):
            dl[a], dh[a] = (centre - dv[a] * dl[a]) * rv[a] - z_low[a], 0.0
        for a in range(total):
            weighted[a] = theta[a] * (dl[a] - dh[a] - dual[a])
        _direction(compact, work, rows, active, inside, count, normal)
        for a in range(total):
            dl[a] -= z_low[a] * dv[a] * rv[a]
            dh[a] += z_high[a] * dv[a] * rt[a]
            weighted[a], by_row[a] = dv[a] * rv[a], dv[a] * rt[a]
            rv[a], rt[a] = dl[a] / z_low[a], dh[a] / z_high[a]
        (low_v, _), (_, high_t) = _extremes(weighted, total), _extremes(by_row, bounded)
        (low_z, _), (low_h, _) = _extremes(rv, total), _extremes(rt, bounded)
        fastest_v, fastest_z = max(shortened, -low_v, high_t), max(shortened, -low_z, -low_h)
        a_v, a_z = min(shortened / fastest_v, 1.0), min(shortened / fastest_z, 1.0)
        if not (abs(dot(dv, dv, total)) < np.inf and abs(dot(dl, dl, total) + dot(dh, dh, bounded)) < np.inf):
            return 0, iteration
        for a in range(total):
            v[a], z_low[a] = max(v[a] + a_v * dv[a], least), max(z_low[a] + a_z * dl[a], least)
        for a in range(bounded):
            t[a], z_high[a] = max(t[a] - a_v * dv[a], least), max(z_high[a] + a_z * dh[a], least)
        for i in range(count):
            y[i] += a_z * rows[D_Y, i]
    return 0, iterations


@sum_leaf
def _ahead(work, total, bounded, a_v, a_z):
    """Products of distances and prices at the bounds after a step."""
    v, t, z_low, z_high, dv, dl, dh = (
        work[V], work[T], work[Z_LOW], work[Z_HIGH], work[D_V], work[D_LOW], work[D_HIGH],
    )  # fmt: skip
    found = 0.0
    for a in range(total):
        found += (v[a] + a_v * dv[a]) * (z_low[a] + a_z * dl[a])
    for a in range(bounded):
        found += (t[a] - a_v * dv[a]) * (z_high[a] + a_z * dh[a])
    return found


_VECTOR, _TABLE, _CUBE, _COUNTS = (
    types.Array(kind, rank, "C")
    for kind, rank in ((types.float64, 1), (types.float64, 2), (types.float64, 3), (types.int64, 1))
)
_SIGNATURE = (
    _TABLE, _TABLE, _TABLE, _CUBE, _TABLE, _TABLE, _VECTOR, types.int64, _VECTOR, _TABLE, _TABLE, _COUNTS, _COUNTS,
)  # fmt: skip
