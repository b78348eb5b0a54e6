"""Compiled code of :mod:`powergrid.powerflow.sparse_lu`: `LANES` scenarios advance together as SIMD vectors.

Compiled without fast-math, so every lane does the same IEEE operations in the same order, whatever its neighbours do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import literally, njit

LANES = 16
MAX_LOAD_MW = 1e9
"""Loads beyond this, or not a number, are not solved: ``converged`` is False."""
DIVERGED_PU = 1e3
"""A voltage that moves by more than this in one iteration will not come back."""
MIN_V2 = 1e-4
"""Floor of |V|^2 in S / V [pu^2], so that a collapsing iterate stays finite."""


class Lu(NamedTuple):
    """Shared factors: L by rows (unit diagonal), U by rows divided by the diagonal, reciprocal diagonal."""

    lower_start: np.ndarray
    lower_col: np.ndarray
    upper_start: np.ndarray
    upper_col: np.ndarray
    lower_re: np.ndarray
    lower_im: np.ndarray
    upper_re: np.ndarray
    upper_im: np.ndarray
    pivot_re: np.ndarray
    pivot_im: np.ndarray


class Trailing(NamedTuple):
    """The regulators' block by rows; `target` lists, in order of elimination, the entries that elimination changes."""

    start: np.ndarray
    col: np.ndarray
    diagonal: np.ndarray
    target: np.ndarray
    re: np.ndarray
    im: np.ndarray


class Grid(NamedTuple):
    """Loads, sources, branches and meters; ``*_at`` are positions in the elimination order.

    `regulator_place` holds six numbers a regulator: where in the trailing block its four admittances go, and which entries
    of `source_at` its to and its from end are if the other end is the source; -1 for none.
    """

    position: np.ndarray
    bus: np.ndarray
    source_at: np.ndarray
    from_at: np.ndarray
    to_at: np.ndarray
    regulator: np.ndarray
    regulator_of: np.ndarray
    regulator_place: np.ndarray
    cap_bus: np.ndarray
    term_start: np.ndarray
    term_index: np.ndarray
    source_re: np.ndarray
    source_im: np.ndarray
    y_re: np.ndarray
    y_im: np.ndarray
    half_re: np.ndarray
    half_im: np.ndarray
    gain_re: np.ndarray
    gain_im: np.ndarray
    percent_from: np.ndarray
    percent_to: np.ndarray
    shunt_p: np.ndarray
    shunt_q: np.ndarray
    cap_p: np.ndarray
    cap_q: np.ndarray
    sign: np.ndarray
    no_load_re: np.ndarray
    no_load_im: np.ndarray
    tap: np.ndarray
    v_source: np.ndarray


class Inputs(NamedTuple):
    """What differs between scenarios, ``(scenarios, width)``; one row serves all, no row means the network's own."""

    p: np.ndarray
    q: np.ndarray
    p_i: np.ndarray
    q_i: np.ndarray
    p_z: np.ndarray
    q_z: np.ndarray
    tap: np.ndarray
    cap: np.ndarray
    v_source: np.ndarray
    start_re: np.ndarray
    start_im: np.ndarray


class Lanes(NamedTuple):
    """Working arrays ``(positions, lanes)``: injections, voltages, right-hand side, trailing block, source currents."""

    p: np.ndarray
    q: np.ndarray
    p_i: np.ndarray
    q_i: np.ndarray
    p_z: np.ndarray
    q_z: np.ndarray
    v_re: np.ndarray
    v_im: np.ndarray
    x_re: np.ndarray
    x_im: np.ndarray
    t_re: np.ndarray
    t_im: np.ndarray
    s_re: np.ndarray
    s_im: np.ndarray
    err: np.ndarray


@njit(cache=True, error_model="numpy", nogil=True)
def _cut(header, table, slot):
    return table[header[2 * slot] : header[2 * slot + 1]]


@njit(cache=True, error_model="numpy", nogil=True)
def _lu(h, x):
    return Lu(
        _cut(h, h, 0), _cut(h, h, 1), _cut(h, h, 2), _cut(h, h, 3), _cut(h, x, 4), _cut(h, x, 5), _cut(h, x, 6),
        _cut(h, x, 7), _cut(h, x, 8), _cut(h, x, 9),
    )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def _trailing(h, x):
    return Trailing(
        _cut(h, h, 10), _cut(h, h, 11), _cut(h, h, 12), _cut(h, h, 13), _cut(h, x, 14), _cut(h, x, 15)
    )


@njit(cache=True, error_model="numpy", nogil=True)
def _grid(h, x):
    return Grid(
        _cut(h, h, 16), _cut(h, h, 17), _cut(h, h, 18), _cut(h, h, 19), _cut(h, h, 20), _cut(h, h, 21),
        _cut(h, h, 22), _cut(h, h, 23), _cut(h, h, 24), _cut(h, h, 25), _cut(h, h, 26), _cut(h, x, 27),
        _cut(h, x, 28), _cut(h, x, 29), _cut(h, x, 30), _cut(h, x, 31), _cut(h, x, 32), _cut(h, x, 33),
        _cut(h, x, 34), _cut(h, x, 35), _cut(h, x, 36), _cut(h, x, 37), _cut(h, x, 38), _cut(h, x, 39),
        _cut(h, x, 40), _cut(h, x, 41), _cut(h, x, 42), _cut(h, x, 43), _cut(h, x, 44), _cut(h, x, 45),
    )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def _work(lu, trailing, grid, lanes):
    n, nnz, k = len(lu.lower_start) - 1, len(trailing.re), len(grid.source_at)
    zero = np.zeros((6, n, lanes))
    v, x, t, s = np.zeros((2, n + 1, lanes)), np.zeros((2, n, lanes)), np.zeros((2, nnz, lanes)), np.zeros((2, k, lanes))
    return Lanes(
        zero[0], zero[1], zero[2], zero[3], zero[4], zero[5], v[0], v[1], x[0], x[1], t[0], t[1], s[0], s[1],
        np.zeros(lanes),
    )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def _row(table, scenario):
    return scenario if len(table) > 1 else 0


@njit(cache=True, error_model="numpy", nogil=True)
def _add(grid, values, scenario, into, l):
    """Sum a row of bus draws into injections by position. Returns False at a value that cannot be solved."""
    if len(values) == 0:
        return True
    b, n = _row(values, scenario), into.shape[0]
    for bus in range(values.shape[1]):
        value = values[b, bus]
        if not abs(value) < MAX_LOAD_MW:
            return False
        at = grid.position[bus]
        if at < n:
            into[at, l] -= value
    return True


@njit(cache=True, error_model="numpy", nogil=True)
def _tap(grid, inputs, scenario, k):
    return inputs.tap[_row(inputs.tap, scenario), k] if len(inputs.tap) else grid.tap[k]


@njit(cache=True, error_model="numpy", nogil=True)
def _cap(inputs, scenario, k):
    return inputs.cap[_row(inputs.cap, scenario), k] if len(inputs.cap) else 1.0


@njit(cache=True, error_model="numpy", nogil=True)
def _source(grid, inputs, scenario):
    return inputs.v_source[_row(inputs.v_source, scenario)] if len(inputs.v_source) else grid.v_source[0]


@njit(cache=True, error_model="numpy", nogil=True)
def _load(trailing, grid, inputs, scenario, work, l):
    """Put a scenario into lane `l`. Returns False if its input is not a number; the lane then holds the no-load voltages."""
    n = len(work.x_re)
    for k in range(n):
        work.p[k, l] = work.q[k, l] = work.p_i[k, l] = work.q_i[k, l] = work.p_z[k, l] = work.q_z[k, l] = 0.0
    good = _add(grid, inputs.p, scenario, work.p, l) and _add(grid, inputs.q, scenario, work.q, l)
    good = good and _add(grid, inputs.p_i, scenario, work.p_i, l) and _add(grid, inputs.q_i, scenario, work.q_i, l)
    good = good and _add(grid, inputs.p_z, scenario, work.p_z, l) and _add(grid, inputs.q_z, scenario, work.q_z, l)
    for k in range(len(grid.cap_bus)):
        on, at = _cap(inputs, scenario, k), grid.position[grid.cap_bus[k]]
        good = good and abs(on) < MAX_LOAD_MW
        if at < n:
            work.p_z[at, l] -= grid.cap_p[k] * on
            work.q_z[at, l] -= grid.cap_q[k] * on
    for k in range(len(grid.regulator)):
        good = good and 0.1 < _tap(grid, inputs, scenario, k) < 10.0
    v_source = _source(grid, inputs, scenario)
    good = good and 0.01 < v_source < 100.0
    if not good:
        v_source = grid.v_source[0]
    has_start = good and len(inputs.start_re) > 0
    for k in range(n + 1):
        re, im = grid.no_load_re[k] * v_source, grid.no_load_im[k] * v_source
        if has_start and k < n:
            a = inputs.start_re[_row(inputs.start_re, scenario), grid.bus[k]]
            b = inputs.start_im[_row(inputs.start_im, scenario), grid.bus[k]]
            if 0.25 < a * a + b * b < 4.0:  # a start that is no plausible voltage would only do harm
                re, im = a, b
        work.v_re[k, l], work.v_im[k, l] = re, im
    if good:
        for k in range(len(grid.source_at)):
            work.s_re[k, l], work.s_im[k, l] = grid.source_re[k] * v_source, grid.source_im[k] * v_source
        _set_taps(trailing, grid, inputs, scenario, v_source, work, l)
        _refactor(trailing, work.t_re, work.t_im, l)
    return good


@njit(cache=True, error_model="numpy", nogil=True)
def _set_taps(trailing, grid, inputs, scenario, v_source, work, l):
    """Trailing block and source currents with the regulators at this scenario's taps."""
    for e in range(len(trailing.re)):
        work.t_re[e, l], work.t_im[e, l] = trailing.re[e], trailing.im[e]
    for k in range(len(grid.regulator)):
        branch = grid.regulator[k]
        c = complex(grid.gain_re[branch], grid.gain_im[branch]) * (_tap(grid, inputs, scenario, k) / grid.tap[k])
        y = complex(grid.y_re[branch], grid.y_im[branch])
        inner = y + complex(grid.half_re[branch], grid.half_im[branch])
        entries = (inner * (c.real**2 + c.imag**2), -y * np.conj(c), -y * c, inner)
        for i in range(4):
            at = grid.regulator_place[6 * k + i]
            if at >= 0:
                work.t_re[at, l] += entries[i].real
                work.t_im[at, l] += entries[i].imag
        for i in range(2):
            at = grid.regulator_place[6 * k + 4 + i]
            if at >= 0:
                current = -entries[2 - i] * v_source
                work.s_re[at, l] += current.real
                work.s_im[at, l] += current.imag


@njit(cache=True, error_model="numpy", nogil=True)
def _refactor(trailing, re, im, l):
    """LU of the trailing block by rows, in place; the diagonal becomes its reciprocal."""
    o = 0
    for i in range(len(trailing.diagonal)):
        for e in range(trailing.start[i], trailing.diagonal[i]):
            k = trailing.col[e]
            d = trailing.diagonal[k]
            factor = complex(re[e, l], im[e, l]) * complex(re[d, l], im[d, l])
            re[e, l], im[e, l] = factor.real, factor.imag
            for u in range(d + 1, trailing.start[k + 1]):
                product = factor * complex(re[u, l], im[u, l])
                re[trailing.target[o], l] -= product.real
                im[trailing.target[o], l] -= product.imag
                o += 1
        d = trailing.diagonal[i]
        inverse = 1.0 / complex(re[d, l], im[d, l])
        re[d, l], im[d, l] = inverse.real, inverse.imag


@njit(cache=True, error_model="numpy", nogil=True)
def _sweep(lu, trailing, source_at, work, has_i, has_z, lanes):
    """One iteration in every lane: currents, forward and backward substitution, largest change of a voltage."""
    literally(lanes)
    v_re, v_im, x_re, x_im, t_re, t_im, err = (
        work.v_re, work.v_im, work.x_re, work.x_im, work.t_re, work.t_im, work.err,
    )  # fmt: skip
    n, shared = len(lu.lower_start) - 1, len(lu.upper_start) - 1
    _currents(work, has_i, has_z, n, lanes)
    for k in range(len(source_at)):
        for l in range(lanes):
            x_re[source_at[k], l] += work.s_re[k, l]
            x_im[source_at[k], l] += work.s_im[k, l]
    for k in range(n):
        for e in range(lu.lower_start[k], lu.lower_start[k + 1]):
            j, re, im = lu.lower_col[e], lu.lower_re[e], lu.lower_im[e]
            for l in range(lanes):
                x_re[k, l] -= re * x_re[j, l] - im * x_im[j, l]
                x_im[k, l] -= re * x_im[j, l] + im * x_re[j, l]
    for i in range(n - shared):
        for e in range(trailing.start[i], trailing.diagonal[i]):
            _eliminate(x_re, x_im, shared + i, shared + trailing.col[e], t_re, t_im, e, lanes)
    for l in range(lanes):
        err[l] = 0.0
    for i in range(n - shared - 1, -1, -1):
        d, k = trailing.diagonal[i], shared + i
        for e in range(d + 1, trailing.start[i + 1]):
            _eliminate(x_re, x_im, k, shared + trailing.col[e], t_re, t_im, e, lanes)
        for l in range(lanes):
            a, b = x_re[k, l], x_im[k, l]
            x_re[k, l] = t_re[d, l] * a - t_im[d, l] * b
            x_im[k, l] = t_re[d, l] * b + t_im[d, l] * a
        _accept(x_re, x_im, v_re, v_im, err, k, lanes)
    for k in range(shared - 1, -1, -1):
        re, im = lu.pivot_re[k], lu.pivot_im[k]
        for l in range(lanes):
            a, b = x_re[k, l], x_im[k, l]
            x_re[k, l] = re * a - im * b
            x_im[k, l] = re * b + im * a
        for e in range(lu.upper_start[k], lu.upper_start[k + 1]):
            j, re, im = lu.upper_col[e], lu.upper_re[e], lu.upper_im[e]
            for l in range(lanes):
                x_re[k, l] -= re * x_re[j, l] - im * x_im[j, l]
                x_im[k, l] -= re * x_im[j, l] + im * x_re[j, l]
        _accept(x_re, x_im, v_re, v_im, err, k, lanes)


@njit(cache=True, error_model="numpy", nogil=True)
def _currents(work, has_i, has_z, n, lanes):
    """Injected currents conj(S / V), with S = P + P_i |V| + P_z |V|^2."""
    literally(lanes)
    v_re, v_im, x_re, x_im, p, q = work.v_re, work.v_im, work.x_re, work.x_im, work.p, work.q
    if has_i or has_z:
        for k in range(n):
            for l in range(lanes):
                a, b = v_re[k, l], v_im[k, l]
                v2 = a * a + b * b
                v, g = np.sqrt(v2), 1.0 / max(v2, MIN_V2)
                s_p = p[k, l] + v * work.p_i[k, l] + v2 * work.p_z[k, l]
                s_q = q[k, l] + v * work.q_i[k, l] + v2 * work.q_z[k, l]
                x_re[k, l], x_im[k, l] = (s_p * a + s_q * b) * g, (s_p * b - s_q * a) * g
        return
    for k in range(n):
        for l in range(lanes):
            a, b = v_re[k, l], v_im[k, l]
            g = 1.0 / max(a * a + b * b, MIN_V2)
            x_re[k, l], x_im[k, l] = (p[k, l] * a + q[k, l] * b) * g, (p[k, l] * b - q[k, l] * a) * g


@njit(cache=True, error_model="numpy", nogil=True)
def _eliminate(x_re, x_im, k, j, t_re, t_im, e, lanes):
    literally(lanes)
    for l in range(lanes):
        x_re[k, l] -= t_re[e, l] * x_re[j, l] - t_im[e, l] * x_im[j, l]
        x_im[k, l] -= t_re[e, l] * x_im[j, l] + t_im[e, l] * x_re[j, l]


@njit(cache=True, error_model="numpy", nogil=True)
def _accept(x_re, x_im, v_re, v_im, err, k, lanes):
    literally(lanes)
    for l in range(lanes):
        err[l] = max(err[l], abs(x_re[k, l] - v_re[k, l]) + abs(x_im[k, l] - v_im[k, l]))
        v_re[k, l], v_im[k, l] = x_re[k, l], x_im[k, l]


@njit(cache=True, error_model="numpy", nogil=True)
def _report(grid, inputs, scenario, work, l, good, out, power):
    """Write one scenario's results: v_re, v_im, v_pu, loading, p and q of the meters, loss, slack p and q, residual.

    `power` is scratch, ``(2, 2 b + m)``: what enters every branch end and what every bus draws.
    """
    m, b, k = len(grid.position), len(grid.from_at), len(grid.term_start) - 2
    for bus in range(m):
        at = grid.position[bus]
        re, im = work.v_re[at, l], work.v_im[at, l]
        v2 = re * re + im * im
        v = np.sqrt(v2)
        out[bus], out[m + bus], out[2 * m + bus] = re, im, v
        p, q = grid.shunt_p[bus] * v2, grid.shunt_q[bus] * v2
        if good:
            p += inputs.p[_row(inputs.p, scenario), bus]
            q += inputs.q[_row(inputs.q, scenario), bus]
            if len(inputs.p_i):
                p += inputs.p_i[_row(inputs.p_i, scenario), bus] * v
            if len(inputs.q_i):
                q += inputs.q_i[_row(inputs.q_i, scenario), bus] * v
            if len(inputs.p_z):
                p += inputs.p_z[_row(inputs.p_z, scenario), bus] * v2
            if len(inputs.q_z):
                q += inputs.q_z[_row(inputs.q_z, scenario), bus] * v2
        power[0, 2 * b + bus], power[1, 2 * b + bus] = p, q
    if good:
        for c in range(len(grid.cap_bus)):
            bus = grid.cap_bus[c]
            on = _cap(inputs, scenario, c) * out[2 * m + bus] ** 2
            power[0, 2 * b + bus] += grid.cap_p[c] * on
            power[1, 2 * b + bus] += grid.cap_q[c] * on
    loss = 0.0
    for branch in range(b):
        r, scale = grid.regulator_of[branch], 1.0
        if good and r >= 0:
            scale = _tap(grid, inputs, scenario, r) / grid.tap[r]
        loss += _branch(grid, work, l, branch, scale, out, power)
    for row in range(k + 1):
        p = q = 0.0
        for e in range(grid.term_start[row], grid.term_start[row + 1]):
            p += grid.sign[e] * power[0, grid.term_index[e]]
            q += grid.sign[e] * power[1, grid.term_index[e]]
        at = 3 * m + b + row
        if row < k:
            out[at], out[at + k] = p, q
        else:
            out[at + k], out[at + k + 1], out[at + k + 2] = loss, p, q


@njit(cache=True, error_model="numpy", nogil=True)
def _branch(grid, work, l, branch, scale, out, power):
    """Write loading and the power entering both ends of a branch whose gain is `scale` times its own; return its loss."""
    m, b, f, t = len(grid.position), len(grid.from_at), grid.from_at[branch], grid.to_at[branch]
    c = complex(grid.gain_re[branch], grid.gain_im[branch]) * scale
    inner, v_to = c * complex(work.v_re[f, l], work.v_im[f, l]), complex(work.v_re[t, l], work.v_im[t, l])
    drop, half = inner - v_to, complex(grid.half_re[branch], grid.half_im[branch])
    series = complex(grid.y_re[branch], grid.y_im[branch]) * drop
    i_from, i_to = series + half * inner, half * v_to - series
    s_from, s_to = inner * np.conj(i_from), v_to * np.conj(i_to)
    power[0, branch], power[1, branch] = s_from.real, s_from.imag
    power[0, b + branch], power[1, b + branch] = s_to.real, s_to.imag
    at_from = grid.percent_from[branch] ** 2 * (c.real**2 + c.imag**2) * (i_from.real**2 + i_from.imag**2)
    at_to = grid.percent_to[branch] ** 2 * (i_to.real**2 + i_to.imag**2)
    out[3 * m + branch] = np.sqrt(max(at_from, at_to))
    v2 = inner.real**2 + inner.imag**2 + v_to.real**2 + v_to.imag**2
    return drop.real * series.real + drop.imag * series.imag + half.real * v2


@njit(cache=True, error_model="numpy", nogil=True)
def _finish(grid, inputs, scenario, work, l, good, residual, tol, out, power):
    """Report lane `l`; True if it has converged."""
    _report(grid, inputs, scenario, work, l, good, out, power)
    out[-1] = min(residual, DIVERGED_PU)
    return residual < tol


@njit(cache=True, error_model="numpy", nogil=True)
def solve_one(
    header, table, p, q, p_i, q_i, p_z, q_z, tap, cap, v_source, start_re, start_im, tol, max_iter, out
):  # fmt: skip
    """Solve one scenario into `out`; the arguments are :class:`Inputs` without their first axis. Returns iterations, converged."""
    inputs = Inputs(
        _one(p), _one(q), _one(p_i), _one(q_i), _one(p_z), _one(q_z), _one(tap), _one(cap), v_source,
        _one(start_re), _one(start_im),
    )  # fmt: skip
    lu, trailing, grid = _lu(header, table), _trailing(header, table), _grid(header, table)
    work = _work(lu, trailing, grid, 1)
    power = np.empty((2, 2 * len(grid.from_at) + len(grid.position)))
    has_i, has_z = len(p_i) + len(q_i) > 0, len(p_z) + len(q_z) + len(grid.cap_bus) > 0
    good, residual, iterations = _load(trailing, grid, inputs, 0, work, 0), DIVERGED_PU, 0
    while good and iterations < max_iter:
        _sweep(lu, trailing, grid.source_at, work, has_i, has_z, 1)
        iterations += 1
        residual = work.err[0]
        if residual < tol or not residual < DIVERGED_PU:
            break
    return iterations, _finish(grid, inputs, 0, work, 0, good, residual, tol, out, power)


@njit(cache=True, error_model="numpy", nogil=True)
def _one(values):
    return values.reshape((1 if len(values) else 0, len(values)))


@njit(cache=True, error_model="numpy", nogil=True)
def solve_many(
    header, table, p, q, p_i, q_i, p_z, q_z, tap, cap, v_source, start_re, start_im, tol, max_iter, out,
    iterations, converged,
):  # fmt: skip
    """Solve all scenarios of :class:`Inputs`, one result a row of `out`."""
    inputs = Inputs(p, q, p_i, q_i, p_z, q_z, tap, cap, v_source, start_re, start_im)
    lu, trailing, grid = _lu(header, table), _trailing(header, table), _grid(header, table)
    work = _work(lu, trailing, grid, LANES)
    power = np.empty((2, 2 * len(grid.from_at) + len(grid.position)))
    has_i, has_z = len(p_i) + len(q_i) > 0, len(p_z) + len(q_z) + len(grid.cap_bus) > 0
    scenario, count = np.full(LANES, -1), np.zeros(LANES, np.int64)
    total, following, busy = len(out), 0, 0
    while busy > 0 or following < total:
        for l in range(LANES):
            while scenario[l] < 0 and following < total:
                if _load(trailing, grid, inputs, following, work, l):
                    scenario[l], count[l] = following, 0
                    busy += 1
                else:
                    iterations[following] = 0
                    converged[following] = _finish(
                        grid, inputs, following, work, l, False, DIVERGED_PU, tol, out[following], power
                    )
                following += 1
        if busy == 0:
            break
        _sweep(lu, trailing, grid.source_at, work, has_i, has_z, LANES)
        for l in range(LANES):
            s = scenario[l]
            if s < 0:
                continue
            count[l] += 1
            residual = work.err[l]
            if residual < tol or not residual < DIVERGED_PU or count[l] >= max_iter:
                iterations[s] = count[l]
                converged[s] = _finish(grid, inputs, s, work, l, True, residual, tol, out[s], power)
                scenario[l] = -1
                busy -= 1
