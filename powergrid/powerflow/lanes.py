"""Compiled code of :mod:`powergrid.powerflow.sparse_lu`: scenarios advance side by side as SIMD lanes.

Compiled without fast-math, so every lane does the same IEEE operations in the same order, whatever its neighbours do and
however many they are. Few arrays cross from Python, for each costs about 0.2 us: one of integers, one of floats and one
row of inputs and one of outputs per scenario.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

LANES = 16
"""Scenarios side by side in a batch: two AVX-512 or four AVX2 vectors of doubles."""
MAX_LOAD_MW = 1e9
"""Loads beyond this, or not a number, are not solved."""
DIVERGED_PU = 1e3
"""A voltage that moves by more than this in one iteration will not come back."""
MIN_V2 = 1e-4
"""Floor of |V|^2 in S / V [pu^2], so that a collapsing iterate stays finite."""

INTS = (
    "lower_start", "lower_col", "upper_start", "upper_col",  # shared factors by rows
    "trail_start", "trail_col", "trail_diagonal", "trail_target",  # the regulators' block by rows
    "bus_at", "a_bus", "source_at", "from_at", "to_at",  # positions in the elimination order
    "regulator", "regulator_of", "regulator_place", "cap_bus", "term_start", "term_index",
)  # fmt: skip
"""Slots of the integers: slot s is ``ints[ints[s] : ints[s + 1]]``."""
(L_START, L_COL, U_START, U_COL, T_START, T_COL, T_DIAGONAL, T_TARGET, BUS_AT, A_BUS, SOURCE_AT, FROM_AT, TO_AT,
 REGULATOR, REGULATOR_OF, REGULATOR_PLACE, CAP_BUS, TERM_START, TERM_INDEX) = range(19)  # fmt: skip
FLOATS = (
    "lower_re", "lower_im", "upper_re", "upper_im", "pivot_re", "pivot_im", "trail_re", "trail_im",
    "source_re", "source_im", "no_load_re", "no_load_im", "y_re", "y_im", "half_re", "half_im", "gain_re", "gain_im",
    "percent_from", "percent_to", "shunt_p", "shunt_q", "cap_p", "cap_q", "sign", "tap",
)  # fmt: skip
"""Slots of the floats: slot s is ``floats[ints[s] : ints[s + 1]]``, numbered after the integers' 20 bounds."""
(L_RE, L_IM, U_RE, U_IM, D_RE, D_IM, T_RE, T_IM, SOURCE_RE, SOURCE_IM, NO_LOAD_RE, NO_LOAD_IM, Y_RE, Y_IM, HALF_RE,
 HALF_IM, GAIN_RE, GAIN_IM, PERCENT_FROM, PERCENT_TO, SHUNT_P, SHUNT_Q, CAP_P, CAP_Q, SIGN, TAP,
 ) = range(20, 46)  # fmt: skip
# Working arrays (slot, row, lane): injections, voltages, right-hand side, trailing block, source currents, change.
P, Q, P_I, Q_I, P_Z, Q_Z, V_RE, V_IM, X_RE, X_IM, B_RE, B_IM, S_RE, S_IM, CHANGE, N_WORK = range(16)


def pack(tables: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lay tables named in :data:`INTS` and :data:`FLOATS` into one array of integers and one of floats."""
    ints, floats = [tables[name] for name in INTS], [tables[name] for name in FLOATS]
    head = len(ints) + 1 + len(floats) + 1
    bounds = np.concatenate([np.cumsum([head, *map(len, ints)]), np.cumsum([0, *map(len, floats)])])
    return np.concatenate([bounds, *ints]).astype(np.int64), np.concatenate(floats).astype(np.float64)


@njit(cache=True, error_model="numpy", nogil=True)
def solve_rows(ints, floats, rows, tol, max_iter, lanes, out, iterations):
    """Solve every row of `rows` into the same row of `out`; see :func:`_load` and ``report`` for their columns.

    `lanes` is 1 or `LANES`. A lane that has finished hands its voltages over and takes the next row.
    """
    n = ints[L_START + 1] - ints[L_START] - 1
    work = np.zeros((N_WORK, max(n + 1, ints[T_COL + 1] - ints[T_COL]), lanes))
    solved, scratch = np.zeros((2, n + 1, lanes)), np.zeros((3, lanes))
    held, count, done = np.zeros(lanes, np.int64) - 1, np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    zip_load = ints[CAP_BUS + 1] > ints[CAP_BUS] or _has_zip(ints, rows[0])
    following, busy, finished, total = 0, 0, 0, len(rows)
    while busy > 0 or following < total:
        for l in range(lanes):
            if held[l] < 0 and following < total:
                good = _load(ints, floats, rows[following], work, l)
                held[l], count[l] = following, 0 if good else max_iter
                following, busy = following + 1, busy + 1
        if lanes == 1:
            _sweep_one(ints, floats, work, zip_load)
        else:
            _sweep_many(ints, floats, work, zip_load)
        for l in range(lanes):
            s, change = held[l], work[CHANGE, 0, l]
            if s < 0:
                continue
            refused = count[l] == max_iter
            count[l] += 1
            if change < tol or not change < DIVERGED_PU or count[l] >= max_iter:
                for k in range(n + 1):
                    solved[0, k, finished], solved[1, k, finished] = work[V_RE, k, l], work[V_IM, k, l]
                out[s, -1] = DIVERGED_PU if refused else min(change, DIVERGED_PU)
                iterations[s] = 0 if refused else count[l]
                done[finished], held[l] = s, -1
                finished, busy = finished + 1, busy - 1
                if finished == lanes or (busy == 0 and following == total):
                    if lanes == 1:
                        _report_one(ints, floats, rows, solved, done, finished, scratch, out)
                    else:
                        _report_many(ints, floats, rows, solved, done, finished, scratch, out)
                    finished = 0


@njit(cache=True, error_model="numpy", nogil=True)
def _has_zip(ints, row):
    m, k, c = ints[BUS_AT + 1] - ints[BUS_AT], ints[TAP + 1] - ints[TAP], ints[CAP_P + 1] - ints[CAP_P]
    return len(row) > 1 + k + c + 4 * m


@njit(cache=True, error_model="numpy", nogil=True)
def _load(ints, floats, row, work, l):
    """Put a scenario into lane `l`: ``[v_source, tap k, cap c, start_re m, start_im m, p m, q m (, p_i q_i p_z q_z m)]``.

    Returns False if a value is no number or far out of range; the row is then replaced by the unloaded network.
    """
    n, m = ints[L_START + 1] - ints[L_START] - 1, ints[BUS_AT + 1] - ints[BUS_AT]
    k, c = ints[TAP + 1] - ints[TAP], ints[CAP_P + 1] - ints[CAP_P]
    start, first = 1 + k + c, 1 + k + c + 2 * m
    bus_at, a_bus = ints[ints[BUS_AT] : ints[BUS_AT + 1]], ints[ints[A_BUS] : ints[A_BUS + 1]]
    good = 0.01 < row[0] < 100.0
    for e in range(1, 1 + k):
        good = good and 0.1 < row[e] < 10.0
    for e in range(1 + k, start):
        good = good and abs(row[e]) < MAX_LOAD_MW
    for e in range(first, len(row)):
        good = good and abs(row[e]) < MAX_LOAD_MW
    if not good:
        for e in range(len(row)):
            row[e] = 1.0 if e == 0 else floats[ints[TAP] + e - 1] if e <= k else 0.0
    loads = (len(row) - first) // m
    for slot in range(6 if loads > 2 or c > 0 else 2):
        for at in range(n):
            work[slot, at, l] = 0.0
    for slot in range(loads):
        drawn = row[first + slot * m : first + slot * m + m]
        for bus in range(m):
            if bus_at[bus] < n:
                work[slot, bus_at[bus], l] -= drawn[bus]
    for e in range(c):
        at = bus_at[ints[ints[CAP_BUS] + e]]
        if at < n:
            work[P_Z, at, l] -= floats[ints[CAP_P] + e] * row[1 + k + e]
            work[Q_Z, at, l] -= floats[ints[CAP_Q] + e] * row[1 + k + e]
    start_re, start_im = row[start : start + m], row[start + m : first]
    no_load_re = floats[ints[NO_LOAD_RE] : ints[NO_LOAD_RE + 1]]
    no_load_im = floats[ints[NO_LOAD_IM] : ints[NO_LOAD_IM + 1]]
    for at in range(n + 1):
        re, im = start_re[a_bus[at]], start_im[a_bus[at]]
        if at == n or not 0.25 < re * re + im * im < 4.0:  # a start that is no plausible voltage would only do harm
            re, im = no_load_re[at] * row[0], no_load_im[at] * row[0]
        work[V_RE, at, l], work[V_IM, at, l] = re, im
    for e in range(ints[SOURCE_AT + 1] - ints[SOURCE_AT]):
        work[S_RE, e, l], work[S_IM, e, l] = floats[ints[SOURCE_RE] + e] * row[0], floats[ints[SOURCE_IM] + e] * row[0]
    _set_taps(ints, floats, row, work, l)
    return good


@njit(cache=True, error_model="numpy", nogil=True)
def _set_taps(ints, floats, row, work, l):
    """Trailing block and source currents with the regulators at this scenario's taps, then its LU."""
    for e in range(ints[T_COL + 1] - ints[T_COL]):
        work[B_RE, e, l], work[B_IM, e, l] = floats[ints[T_RE] + e], floats[ints[T_IM] + e]
    for k in range(ints[REGULATOR + 1] - ints[REGULATOR]):
        branch = ints[ints[REGULATOR] + k]
        scale = row[1 + k] / floats[ints[TAP] + k]
        c = complex(floats[ints[GAIN_RE] + branch] * scale, floats[ints[GAIN_IM] + branch] * scale)
        y = complex(floats[ints[Y_RE] + branch], floats[ints[Y_IM] + branch])
        inner = y + complex(floats[ints[HALF_RE] + branch], floats[ints[HALF_IM] + branch])
        entries = (inner * (c.real * c.real + c.imag * c.imag), -y * np.conj(c), -y * c, inner)
        for i in range(4):
            at = ints[ints[REGULATOR_PLACE] + 6 * k + i]
            if at >= 0:
                work[B_RE, at, l] += entries[i].real
                work[B_IM, at, l] += entries[i].imag
        for i in range(2):  # the to end beside the source, or the from end
            at = ints[ints[REGULATOR_PLACE] + 6 * k + 4 + i]
            if at >= 0:
                work[S_RE, at, l] -= entries[2 - i].real * row[0]
                work[S_IM, at, l] -= entries[2 - i].imag * row[0]
    _refactor(ints, work[B_RE], work[B_IM], l)


@njit(cache=True, error_model="numpy", nogil=True)
def _refactor(ints, re, im, l):
    """LU of the trailing block by rows, in place; the diagonal becomes its reciprocal."""
    start, col = ints[ints[T_START] : ints[T_START + 1]], ints[ints[T_COL] : ints[T_COL + 1]]
    diagonal, o = ints[ints[T_DIAGONAL] : ints[T_DIAGONAL + 1]], ints[T_TARGET]
    for i in range(len(diagonal)):
        for e in range(start[i], diagonal[i]):
            d = diagonal[col[e]]
            f_re, f_im = re[e, l] * re[d, l] - im[e, l] * im[d, l], re[e, l] * im[d, l] + im[e, l] * re[d, l]
            re[e, l], im[e, l] = f_re, f_im
            for u in range(d + 1, start[col[e] + 1]):
                re[ints[o], l] -= f_re * re[u, l] - f_im * im[u, l]
                im[ints[o], l] -= f_re * im[u, l] + f_im * re[u, l]
                o += 1
        d = diagonal[i]
        norm = re[d, l] * re[d, l] + im[d, l] * im[d, l]
        re[d, l], im[d, l] = re[d, l] / norm, -im[d, l] / norm


def _make_sweep(lanes: int) -> Callable:
    """Compiled iteration over a fixed number of lanes: with a constant count the loops over lanes become vectors."""

    @njit(cache=True, error_model="numpy", nogil=True)
    def sweep(ints, floats, work, zip_load):
        """V <- Y^-1 (source currents + conj(S / V)), S = P + P_i |V| + P_z |V|^2; largest change into ``CHANGE``."""
        p, q, v_re, v_im, x_re, x_im = work[P], work[Q], work[V_RE], work[V_IM], work[X_RE], work[X_IM]
        b_re, b_im, s_re, s_im, change = work[B_RE], work[B_IM], work[S_RE], work[S_IM], work[CHANGE, 0]
        n, shared = ints[L_START + 1] - ints[L_START] - 1, ints[U_START + 1] - ints[U_START] - 1
        if zip_load:
            p_i, q_i, p_z, q_z = work[P_I], work[Q_I], work[P_Z], work[Q_Z]
            for k in range(n):
                for l in range(lanes):
                    a, b = v_re[k, l], v_im[k, l]
                    v2 = a * a + b * b
                    v, g = np.sqrt(v2), 1.0 / max(v2, MIN_V2)
                    s_p = p[k, l] + v * p_i[k, l] + v2 * p_z[k, l]
                    s_q = q[k, l] + v * q_i[k, l] + v2 * q_z[k, l]
                    x_re[k, l], x_im[k, l] = (s_p * a + s_q * b) * g, (s_p * b - s_q * a) * g
        else:
            for k in range(n):
                for l in range(lanes):
                    a, b = v_re[k, l], v_im[k, l]
                    g = 1.0 / max(a * a + b * b, MIN_V2)
                    x_re[k, l], x_im[k, l] = (p[k, l] * a + q[k, l] * b) * g, (p[k, l] * b - q[k, l] * a) * g
        source_at = ints[ints[SOURCE_AT] : ints[SOURCE_AT + 1]]
        for e in range(len(source_at)):
            k = source_at[e]
            for l in range(lanes):
                x_re[k, l] += s_re[e, l]
                x_im[k, l] += s_im[e, l]
        start, col = ints[ints[L_START] : ints[L_START + 1]], ints[ints[L_COL] : ints[L_COL + 1]]
        re, im = floats[ints[L_RE] : ints[L_RE + 1]], floats[ints[L_IM] : ints[L_IM + 1]]
        for k in range(n):
            for e in range(start[k], start[k + 1]):
                j, r, i = col[e], re[e], im[e]
                for l in range(lanes):
                    a, b = x_re[j, l], x_im[j, l]
                    x_re[k, l] -= r * a - i * b
                    x_im[k, l] -= r * b + i * a
        start, col = ints[ints[T_START] : ints[T_START + 1]], ints[ints[T_COL] : ints[T_COL + 1]]
        diagonal = ints[ints[T_DIAGONAL] : ints[T_DIAGONAL + 1]]
        for row in range(n - shared):
            k = shared + row
            for e in range(start[row], diagonal[row]):
                j = shared + col[e]
                for l in range(lanes):
                    x_re[k, l] -= b_re[e, l] * x_re[j, l] - b_im[e, l] * x_im[j, l]
                    x_im[k, l] -= b_re[e, l] * x_im[j, l] + b_im[e, l] * x_re[j, l]
        for row in range(n - shared - 1, -1, -1):
            k, d = shared + row, diagonal[row]
            for e in range(d + 1, start[row + 1]):
                j = shared + col[e]
                for l in range(lanes):
                    x_re[k, l] -= b_re[e, l] * x_re[j, l] - b_im[e, l] * x_im[j, l]
                    x_im[k, l] -= b_re[e, l] * x_im[j, l] + b_im[e, l] * x_re[j, l]
            for l in range(lanes):
                a, b = x_re[k, l], x_im[k, l]
                x_re[k, l], x_im[k, l] = b_re[d, l] * a - b_im[d, l] * b, b_re[d, l] * b + b_im[d, l] * a
        start, col = ints[ints[U_START] : ints[U_START + 1]], ints[ints[U_COL] : ints[U_COL + 1]]
        re, im = floats[ints[U_RE] : ints[U_RE + 1]], floats[ints[U_IM] : ints[U_IM + 1]]
        d_re, d_im = floats[ints[D_RE] : ints[D_RE + 1]], floats[ints[D_IM] : ints[D_IM + 1]]
        for k in range(shared - 1, -1, -1):
            r, i = d_re[k], d_im[k]
            for l in range(lanes):
                a, b = x_re[k, l], x_im[k, l]
                x_re[k, l], x_im[k, l] = r * a - i * b, r * b + i * a
            for e in range(start[k], start[k + 1]):
                j, r, i = col[e], re[e], im[e]
                for l in range(lanes):
                    a, b = x_re[j, l], x_im[j, l]
                    x_re[k, l] -= r * a - i * b
                    x_im[k, l] -= r * b + i * a
        for l in range(lanes):
            change[l] = 0.0
        for k in range(n):
            for l in range(lanes):
                change[l] = max(change[l], abs(x_re[k, l] - v_re[k, l]) + abs(x_im[k, l] - v_im[k, l]))
                v_re[k, l], v_im[k, l] = x_re[k, l], x_im[k, l]

    return sweep


def _make_report(lanes: int) -> Callable:
    """Compiled report over a fixed number of lanes."""

    @njit(cache=True, error_model="numpy", nogil=True)
    def report(ints, floats, rows, solved, done, finished, scratch, out):
        """Write ``[v_re m, v_im m, v_pu m, loading b, p_meter, q_meter, loss, p_slack, q_slack]`` of `finished` rows."""
        m, b, k = ints[BUS_AT + 1] - ints[BUS_AT], ints[FROM_AT + 1] - ints[FROM_AT], ints[TAP + 1] - ints[TAP]
        bus_at, v_re, v_im, one = ints[ints[BUS_AT] : ints[BUS_AT + 1]], solved[0], solved[1], scratch[0]
        for bus in range(m):
            at = bus_at[bus]
            for l in range(lanes):
                one[l] = np.sqrt(v_re[at, l] * v_re[at, l] + v_im[at, l] * v_im[at, l])
            for l in range(finished):
                row = out[done[l]]
                row[bus], row[m + bus], row[2 * m + bus] = v_re[at, l], v_im[at, l], one[l]
        loss, scale = scratch[1], scratch[2]
        for l in range(lanes):
            loss[l], scale[l] = 0.0, 1.0
        from_at, to_at = ints[ints[FROM_AT] : ints[FROM_AT + 1]], ints[ints[TO_AT] : ints[TO_AT + 1]]
        y_re, y_im = floats[ints[Y_RE] : ints[Y_RE + 1]], floats[ints[Y_IM] : ints[Y_IM + 1]]
        half_re, half_im = floats[ints[HALF_RE] : ints[HALF_RE + 1]], floats[ints[HALF_IM] : ints[HALF_IM + 1]]
        gain_re, gain_im = floats[ints[GAIN_RE] : ints[GAIN_RE + 1]], floats[ints[GAIN_IM] : ints[GAIN_IM + 1]]
        percent_from = floats[ints[PERCENT_FROM] : ints[PERCENT_FROM + 1]]
        percent_to = floats[ints[PERCENT_TO] : ints[PERCENT_TO + 1]]
        regulator_of = ints[ints[REGULATOR_OF] : ints[REGULATOR_OF + 1]]
        for branch in range(b):
            regulator = regulator_of[branch]
            if regulator >= 0:
                for l in range(finished):
                    scale[l] = rows[done[l], 1 + regulator] / floats[ints[TAP] + regulator]
            f, t, y_r, y_i = from_at[branch], to_at[branch], y_re[branch], y_im[branch]
            h_r, h_i, g_r, g_i = half_re[branch], half_im[branch], gain_re[branch], gain_im[branch]
            pc_f, pc_t = percent_from[branch] * percent_from[branch], percent_to[branch] * percent_to[branch]
            for l in range(lanes):
                c_r, c_i, t_r, t_i = g_r * scale[l], g_i * scale[l], v_re[t, l], v_im[t, l]
                u_r, u_i = c_r * v_re[f, l] - c_i * v_im[f, l], c_r * v_im[f, l] + c_i * v_re[f, l]
                d_r, d_i = u_r - t_r, u_i - t_i
                s_r, s_i = y_r * d_r - y_i * d_i, y_r * d_i + y_i * d_r
                f_r, f_i = s_r + (h_r * u_r - h_i * u_i), s_i + (h_r * u_i + h_i * u_r)
                e_r, e_i = s_r - (h_r * t_r - h_i * t_i), s_i - (h_r * t_i + h_i * t_r)
                at_from = pc_f * (c_r * c_r + c_i * c_i) * (f_r * f_r + f_i * f_i)
                one[l] = np.sqrt(max(at_from, pc_t * (e_r * e_r + e_i * e_i)))
                v2 = u_r * u_r + u_i * u_i + (t_r * t_r + t_i * t_i)
                loss[l] += d_r * s_r + d_i * s_i + h_r * v2
            for l in range(finished):
                out[done[l], 3 * m + branch] = one[l]
            if regulator >= 0:
                for l in range(lanes):
                    scale[l] = 1.0
        for l in range(finished):
            _meter(ints, floats, rows[done[l]], v_re, v_im, l, out[done[l]])
            out[done[l], -4] = loss[l]

    return report


@njit(cache=True, error_model="numpy", nogil=True)
def _meter(ints, floats, row, v_re, v_im, l, out):
    """Write the meters and the slack, each a signed sum of powers into branch ends and of powers that buses draw."""
    m, b = ints[BUS_AT + 1] - ints[BUS_AT], ints[FROM_AT + 1] - ints[FROM_AT]
    start, meters = ints[ints[TERM_START] : ints[TERM_START + 1]], ints[TERM_START + 1] - ints[TERM_START] - 2
    for meter in range(meters + 1):
        p = q = 0.0
        for e in range(start[meter], start[meter + 1]):
            what, sign = ints[ints[TERM_INDEX] + e], floats[ints[SIGN] + e]
            if what < 2 * b:
                power = _into_branch(ints, floats, row, v_re, v_im, l, what % b, what < b)
            else:
                power = _drawn(ints, floats, row, v_re, v_im, l, what - 2 * b)
            p += sign * power.real
            q += sign * power.imag
        if meter < meters:
            out[3 * m + b + meter], out[3 * m + b + meters + meter] = p, q
        else:
            out[-3], out[-2] = p, q


@njit(cache=True, error_model="numpy", nogil=True)
def _into_branch(ints, floats, row, v_re, v_im, l, branch, at_from):
    """Power that enters a branch at its from or its to end."""
    scale, regulator = 1.0, ints[ints[REGULATOR_OF] + branch]
    if regulator >= 0:
        scale = row[1 + regulator] / floats[ints[TAP] + regulator]
    f, t = ints[ints[FROM_AT] + branch], ints[ints[TO_AT] + branch]
    gain = complex(floats[ints[GAIN_RE] + branch] * scale, floats[ints[GAIN_IM] + branch] * scale)
    half = complex(floats[ints[HALF_RE] + branch], floats[ints[HALF_IM] + branch])
    inner, v_to = gain * complex(v_re[f, l], v_im[f, l]), complex(v_re[t, l], v_im[t, l])
    series = complex(floats[ints[Y_RE] + branch], floats[ints[Y_IM] + branch]) * (inner - v_to)
    if at_from:
        return inner * np.conj(series + half * inner)
    return v_to * np.conj(half * v_to - series)


@njit(cache=True, error_model="numpy", nogil=True)
def _drawn(ints, floats, row, v_re, v_im, l, bus):
    """Power that a bus's loads and shunts draw."""
    m, at = ints[BUS_AT + 1] - ints[BUS_AT], ints[ints[BUS_AT] + bus]
    k, c = ints[TAP + 1] - ints[TAP], ints[CAP_P + 1] - ints[CAP_P]
    first = 1 + k + c + 2 * m + bus
    v2 = v_re[at, l] * v_re[at, l] + v_im[at, l] * v_im[at, l]
    power = complex(row[first], row[first + m])
    if _has_zip(ints, row):
        power += complex(row[first + 2 * m], row[first + 3 * m]) * np.sqrt(v2)
        power += complex(row[first + 4 * m], row[first + 5 * m]) * v2
    power += complex(floats[ints[SHUNT_P] + bus], floats[ints[SHUNT_Q] + bus]) * v2
    for e in range(c):
        if ints[ints[CAP_BUS] + e] == bus:
            power += complex(floats[ints[CAP_P] + e], floats[ints[CAP_Q] + e]) * (row[1 + k + e] * v2)
    return power


_sweep_one, _sweep_many = _make_sweep(1), _make_sweep(LANES)
_report_one, _report_many = _make_report(1), _make_report(LANES)
