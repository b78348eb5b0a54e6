"""Newton's method of :mod:`powergrid.powerflow.newton` compiled, scenario after scenario from given voltages.

What it does not solve, because rows would have to be exchanged or because no solution is near, it leaves to the caller.
The equations, the steps and their limits are those of :mod:`powergrid.powerflow.newton`.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from functools import cache
from math import atan2, cos, hypot, inf, isfinite, isnan, nan, sin, sqrt
from pathlib import Path

import numpy as np
from numba import types

from powergrid.core.machine_code import cached, compile_for
from powergrid.powerflow.newton_results import report
from powergrid.powerflow.newton_tables import (
    BUS_AT,
    CAP_BUS,
    CAP_P,
    CAP_Q,
    GAIN_IM,
    GAIN_RE,
    HALF_IM,
    HALF_RE,
    HELD_AT,
    HELD_MAX,
    HELD_MIN,
    L_COL,
    L_START,
    REGULATOR,
    SERIES_IM,
    SERIES_RE,
    SOURCE_ANGLE,
    SOURCE_AT,
    SOURCE_V,
    TAP_FF,
    TAP_FT,
    TAP_TF,
    TAP_TT,
    U_COL,
    U_START,
    UNIT_AT,
    UNIT_P,
    Y_COL,
    Y_DIAGONAL,
    Y_IM,
    Y_RE,
    Y_START,
)
from powergrid.powerflow.slots import leaf

(P, Q, P_I, Q_I, P_Z, Q_Z, V_SET, ANGLE_SET, VM, ANGLE, RE, IM, CURRENT_RE, CURRENT_IM, MISS_P, MISS_Q, STEP_A, STEP_V,
 DONE_VM, DONE_ANGLE, N_NODE) = range(21)  # fmt: skip
"""Numbers by node: drawn power at constant power, current and impedance; set values; voltage; its current; missing
power; step; and the magnitude and angle from which the step leads on."""
_EXCHANGE = 1e-10
"""A block of two is not eliminated where its determinant is a smaller share of its entries' products."""


@leaf
def _row(ints, node, y, i, work):
    """Row of the Jacobian of node `i`, angle and magnitude, into `work`; a set value keeps an equation of its own."""
    y_start, y_col = ints[ints[Y_START] : ints[Y_START + 1]], ints[ints[Y_COL] : ints[Y_COL + 1]]
    re, im, vm = node[RE], node[IM], node[VM]
    free_angle, free_v = isnan(node[ANGLE_SET, i]), isnan(node[V_SET, i])
    for e in range(y_start[i], y_start[i + 1]):
        j = y_col[e]
        a, b = y[0, e] * re[j] - y[1, e] * im[j], y[0, e] * im[j] + y[1, e] * re[j]
        s_re, s_im = re[i] * a + im[i] * b, im[i] * a - re[i] * b  # v_i conj(y v_j)
        if free_angle:
            work[j, 0], work[j, 1] = s_im, s_re / vm[j]
        if free_v:
            work[j, 2], work[j, 3] = -s_re, s_im / vm[j]
    s_re = re[i] * node[CURRENT_RE, i] + im[i] * node[CURRENT_IM, i]
    s_im = im[i] * node[CURRENT_RE, i] - re[i] * node[CURRENT_IM, i]
    if free_angle:
        work[i, 0] -= s_im
        work[i, 1] += s_re / vm[i] + node[P_I, i] + 2 * node[P_Z, i] * vm[i]
    else:
        work[i, 0] = 1.0
    if free_v:
        work[i, 2] += s_re
        work[i, 3] += s_im / vm[i] + node[Q_I, i] + 2 * node[Q_Z, i] * vm[i]
    else:
        work[i, 3] = 1.0


@leaf
def _step(ints, node, y, upper, pivot, work):
    """Newton's step into `STEP_A` and `STEP_V`; False where the Jacobian cannot be eliminated in its order."""
    size = node.shape[1]
    l_start, l_col = ints[ints[L_START] : ints[L_START + 1]], ints[ints[L_COL] : ints[L_COL + 1]]
    u_start, u_col = ints[ints[U_START] : ints[U_START + 1]], ints[ints[U_COL] : ints[U_COL + 1]]
    right_p, right_q = node[STEP_A], node[STEP_V]
    for i in range(size):
        for part in range(4):
            work[i, part] = 0.0
            for e in range(l_start[i], l_start[i + 1]):
                work[l_col[e], part] = 0.0
            for e in range(u_start[i], u_start[i + 1]):
                work[u_col[e], part] = 0.0
        _row(ints, node, y, i, work)
        p, q = -node[MISS_P, i], -node[MISS_Q, i]
        for e in range(l_start[i], l_start[i + 1]):
            k = l_col[e]
            a, b, c, d = work[k, 0], work[k, 1], work[k, 2], work[k, 3]
            f0, f1 = a * pivot[k, 0] + b * pivot[k, 2], a * pivot[k, 1] + b * pivot[k, 3]
            f2, f3 = c * pivot[k, 0] + d * pivot[k, 2], c * pivot[k, 1] + d * pivot[k, 3]
            p -= f0 * right_p[k] + f1 * right_q[k]
            q -= f2 * right_p[k] + f3 * right_q[k]
            for h in range(u_start[k], u_start[k + 1]):
                j = u_col[h]
                work[j, 0] -= f0 * upper[h, 0] + f1 * upper[h, 2]
                work[j, 1] -= f0 * upper[h, 1] + f1 * upper[h, 3]
                work[j, 2] -= f2 * upper[h, 0] + f3 * upper[h, 2]
                work[j, 3] -= f2 * upper[h, 1] + f3 * upper[h, 3]
        for e in range(u_start[i], u_start[i + 1]):
            for part in range(4):
                upper[e, part] = work[u_col[e], part]
        a, b, c, d = work[i, 0], work[i, 1], work[i, 2], work[i, 3]
        det = a * d - b * c
        if not abs(det) > _EXCHANGE * (abs(a * d) + abs(b * c)):
            return False
        pivot[i, 0], pivot[i, 1], pivot[i, 2], pivot[i, 3] = d / det, -b / det, -c / det, a / det
        right_p[i], right_q[i] = p, q
    for i in range(size - 1, -1, -1):
        p, q = right_p[i], right_q[i]
        for e in range(u_start[i], u_start[i + 1]):
            j = u_col[e]
            p -= upper[e, 0] * right_p[j] + upper[e, 1] * right_q[j]
            q -= upper[e, 2] * right_p[j] + upper[e, 3] * right_q[j]
        right_p[i] = pivot[i, 0] * p + pivot[i, 1] * q
        right_q[i] = pivot[i, 2] * p + pivot[i, 3] * q
    return True


@leaf
def _mismatch(ints, node, y):
    """Voltages from their polar form, currents, and power that is missing at each node; norm of what is missing."""
    size = node.shape[1]
    y_start, y_col = ints[ints[Y_START] : ints[Y_START + 1]], ints[ints[Y_COL] : ints[Y_COL + 1]]
    re, im = node[RE], node[IM]
    for i in range(size):
        re[i], im[i] = node[VM, i] * cos(node[ANGLE, i]), node[VM, i] * sin(node[ANGLE, i])
    total = 0.0
    for i in range(size):
        a, b = 0.0, 0.0
        for e in range(y_start[i], y_start[i + 1]):
            j = y_col[e]
            a += y[0, e] * re[j] - y[1, e] * im[j]
            b += y[0, e] * im[j] + y[1, e] * re[j]
        node[CURRENT_RE, i], node[CURRENT_IM, i] = a, b
        vm, p, q = node[VM, i], 0.0, 0.0
        if isnan(node[ANGLE_SET, i]):
            p = re[i] * a + im[i] * b + node[P, i] + node[P_I, i] * vm + node[P_Z, i] * vm * vm
        if isnan(node[V_SET, i]):
            q = im[i] * a - re[i] * b + node[Q, i] + node[Q_I, i] * vm + node[Q_Z, i] * vm * vm
        node[MISS_P, i], node[MISS_Q, i] = p, q
        total += p * p + q * q
    return sqrt(total)


@leaf
def _newton(ints, node, y, upper, pivot, work, tol, max_iter, halvings):
    """Steps from the voltages in `VM` and `ANGLE`; largest change in the last, infinite where it gave up, and count."""
    size = node.shape[1]
    for i in range(size):
        if not isnan(node[V_SET, i]):
            node[VM, i] = node[V_SET, i]
        if not isnan(node[ANGLE_SET, i]):
            node[ANGLE, i] = node[ANGLE_SET, i]
    norm, largest, tried = _mismatch(ints, node, y), inf, inf
    for iteration in range(1, max_iter + 1):
        if not _step(ints, node, y, upper, pivot, work):
            return inf, iteration
        largest = 0.0
        for i in range(size):
            node[DONE_VM, i], node[DONE_ANGLE, i] = node[VM, i], node[ANGLE, i]
            change = hypot(node[VM, i] * node[STEP_A, i], node[STEP_V, i])
            if not isfinite(change):
                return inf, iteration
            largest = max(largest, change)
        part, accepted = 1.0, False
        for _ in range(halvings + 1):
            positive = True
            for i in range(size):
                node[VM, i] = node[DONE_VM, i] + part * node[STEP_V, i]
                node[ANGLE, i] = node[DONE_ANGLE, i] + part * node[STEP_A, i]
                positive = positive and node[VM, i] > 0.0
            tried = _mismatch(ints, node, y)
            if largest < tol or (positive and tried < norm * (1 - 1e-4 * part)):
                accepted = True
                break
            part *= 0.5
        if not accepted:
            return inf, iteration
        norm = tried
        if largest < tol:
            return largest, iteration
    return largest, max_iter


@leaf
def _switch(ints, floats, node, limit, returns, most, over):
    """Move held nodes to a limit or back to their voltage; whether one moved.

    `limit` holds the limit each stands at (1 upper, -1 lower, 0 none), its own voltage, and the power it feeds there.
    """
    low, high = floats[ints[HELD_MIN] : ints[HELD_MIN + 1]], floats[ints[HELD_MAX] : ints[HELD_MAX + 1]]
    moved = False
    for h in range(len(limit)):
        i = ints[ints[HELD_AT] + h]
        vm = node[VM, i]
        if limit[h, 0] == 0.0:
            drawn = node[Q, i] + node[Q_I, i] * vm + node[Q_Z, i] * vm * vm
            fed = node[IM, i] * node[CURRENT_RE, i] - node[RE, i] * node[CURRENT_IM, i] + drawn
            if fed < low[h] - over:
                limit[h, 0], limit[h, 2] = -1.0, low[h]
            elif fed > high[h] + over:
                limit[h, 0], limit[h, 2] = 1.0, high[h]
            if limit[h, 0] != 0.0:
                node[Q, i] -= limit[h, 2]
                node[V_SET, i], moved = nan, True
        else:
            back = vm > limit[h, 1] + 1e-9 if limit[h, 0] > 0.0 else vm < limit[h, 1] - 1e-9
            if back and returns[h] < most:
                returns[h] += 1
                node[Q, i] += limit[h, 2]
                node[V_SET, i], limit[h, 0], moved = limit[h, 1], 0.0, True
    return moved


@leaf
def _load(ints, floats, row, zip_load, node):
    """One scenario: what nodes draw, which voltages are set, and where to begin."""
    bus_at, m = ints[ints[BUS_AT] : ints[BUS_AT + 1]], ints[BUS_AT + 1] - ints[BUS_AT]
    k, c = ints[REGULATOR + 1] - ints[REGULATOR], ints[CAP_BUS + 1] - ints[CAP_BUS]
    g = ints[UNIT_AT + 1] - ints[UNIT_AT]
    for i in range(node.shape[1]):
        for slot in range(6):
            node[slot, i] = 0.0
        node[V_SET, i], node[ANGLE_SET, i] = nan, nan
    column = 1 + k + c + g
    for slot in range(6 if zip_load else 2):
        for bus in range(m):
            node[slot, bus_at[bus]] += row[column + bus]
        column += m
    for e in range(c):
        at = bus_at[ints[ints[CAP_BUS] + e]]
        node[P_Z, at] += floats[ints[CAP_P] + e] * row[1 + k + e]
        node[Q_Z, at] += floats[ints[CAP_Q] + e] * row[1 + k + e]
    for e in range(g):
        at = ints[ints[UNIT_AT] + e]
        node[P, at] -= floats[ints[UNIT_P] + e]
        node[V_SET, at] = row[1 + k + c + e]
    for e in range(ints[SOURCE_AT + 1] - ints[SOURCE_AT] - 1):
        at = ints[ints[SOURCE_AT] + e]
        node[V_SET, at] = floats[ints[SOURCE_V] + e]
        node[ANGLE_SET, at] = floats[ints[SOURCE_ANGLE] + e]
    last = ints[ints[SOURCE_AT + 1] - 1]
    node[V_SET, last], node[ANGLE_SET, last] = row[0], 0.0
    for bus in range(m):
        a, b = row[column + bus], row[column + m + bus]
        node[VM, bus_at[bus]], node[ANGLE, bus_at[bus]] = hypot(a, b), atan2(b, a)


@leaf
def _admittances(ints, floats, row, y):
    """Admittances at the scenario's taps."""
    for e in range(y.shape[1]):
        y[0, e], y[1, e] = floats[ints[Y_RE] + e], floats[ints[Y_IM] + e]
    for e in range(ints[REGULATOR + 1] - ints[REGULATOR]):
        branch, tap = ints[ints[REGULATOR] + e], row[1 + e]
        s = complex(floats[ints[SERIES_RE] + branch], floats[ints[SERIES_IM] + branch])
        through = s + complex(floats[ints[HALF_RE] + branch], floats[ints[HALF_IM] + branch])
        own = complex(floats[ints[GAIN_RE] + branch], floats[ints[GAIN_IM] + branch])
        gain = own / abs(own) * tap
        ft, tf = -s * gain.conjugate(), -s * gain
        y[0, ints[ints[TAP_FF] + e]] += through.real * tap**2
        y[1, ints[ints[TAP_FF] + e]] += through.imag * tap**2
        y[0, ints[ints[TAP_FT] + e]] += ft.real
        y[1, ints[ints[TAP_FT] + e]] += ft.imag
        y[0, ints[ints[TAP_TF] + e]] += tf.real
        y[1, ints[ints[TAP_TF] + e]] += tf.imag
        y[0, ints[ints[TAP_TT] + e]] += through.real
        y[1, ints[ints[TAP_TT] + e]] += through.imag


@cached(Path(__file__).parent, error_model="numpy", nogil=True, no_cfunc_wrapper=True)
def solve_rows(ints, floats, rows, zip_load, limits, tol, max_iter, bounds, over, out, iterations, solved):
    """Solve every row of `rows` into the same row of `out`; `solved` is False for those that are left to the caller.

    A row holds ``[v_source, tap k, cap c, v_set g, p m, q m (, p_i m, q_i m, p_z m, q_z m), start_re m, start_im m]``,
    and a row of results ``[v_re m, v_im m, v_pu m, loading b, p_meter, q_meter, loss, p_slack, q_slack, residual]``.
    `bounds` holds the rounds of switching, the returns of a generator to its voltage, and the halvings of a step,
    and `over` how far a reactive limit may be exceeded.
    """
    size, held = ints[Y_DIAGONAL + 1] - ints[Y_DIAGONAL], ints[HELD_AT + 1] - ints[HELD_AT]
    node, y = np.empty((N_NODE, size)), np.empty((2, ints[Y_COL + 1] - ints[Y_COL]))
    upper, pivot, work = np.empty((ints[U_COL + 1] - ints[U_COL], 4)), np.empty((size, 4)), np.empty((size, 4))
    limit, returns = np.zeros((held, 3)), np.zeros(held, np.int64)
    for k in range(len(rows)):
        _load(ints, floats, rows[k], zip_load, node)
        _admittances(ints, floats, rows[k], y)
        for h in range(held):
            limit[h, 0], limit[h, 1], returns[h] = 0.0, node[V_SET, ints[ints[HELD_AT] + h]], 0
        residual, total = _newton(ints, node, y, upper, pivot, work, tol, max_iter, bounds[2])
        settled = not limits or held == 0
        for _ in range(0 if settled else bounds[0]):
            if not residual < tol:
                break
            if not _switch(ints, floats, node, limit, returns, bounds[1], over):
                settled = True
                break
            residual, spent = _newton(ints, node, y, upper, pivot, work, tol, max_iter, bounds[2])
            total += spent
        solved[k] = settled and residual < tol
        iterations[k] = total
        if solved[k]:
            report(ints, floats, rows[k], zip_load, node[RE], node[IM], residual, out[k])


_INTS, _FLOATS, _TABLE = (
    types.Array(kind, n, "C") for kind, n in ((types.int64, 1), (types.float64, 1), (types.float64, 2))
)
SOLVER = (
    _INTS, _FLOATS, _TABLE, types.boolean, types.boolean, types.float64, types.int64, _INTS, types.float64, _TABLE,
    _INTS, types.Array(types.boolean, 1, "C"),
)  # fmt: skip
"""Types of the arguments of :func:`solve_rows`."""


@cache
def solver():
    """:func:`solve_rows`, compiled."""
    compile_for(solve_rows, SOLVER, "Newton's method", 9)
    return solve_rows
