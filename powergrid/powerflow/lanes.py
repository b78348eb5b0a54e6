"""Compiled code of :mod:`powergrid.powerflow.sparse_lu`: scenarios advance side by side as SIMD lanes.

Compiled without fast-math, so every lane does the same IEEE operations in the same order, whatever its
neighbours do and however many they are. Few arrays cross from Python, for each costs about 0.2 us: one of integers,
one of floats, and a row of inputs and a row of outputs per scenario. Functions that allocate nothing are compiled
without reference counting (`_nrt`), which otherwise costs more than the arithmetic between two slices.

All compiled functions share this file: only `solve_rows` is cached on disk, with what it calls inside, and numba's
cache notices a change in the file of the cached function only.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

LANES = 32
"""Scenarios side by side in a batch: several vectors, so that reading an index serves many; 32 beat 16 and 8."""
DIVERGED_PU = 1e3
"""A voltage that moves by more than this in one iteration will not come back."""
MAX_V_PU = 1e9
"""Voltages that sum up to more, or to no number, are replaced by those of the unloaded network."""
MIN_V2 = 1e-4
"""Floor of ``|V|^2`` in ``S / V`` [pu^2], so that a collapsing iterate stays finite."""

INTS = (
    "lower_start", "lower_col", "upper_start", "upper_col",  # shared factors by rows
    "trail_start", "trail_col", "trail_diagonal", "trail_target",  # the regulators' block by rows
    "bus_at", "a_bus", "other_bus", "source_at", "from_at", "to_at",  # positions in the elimination order
    "regulator", "regulator_of", "regulator_place", "cap_bus", "term_start", "term_index",
    "terminal_at", "terminal_first", "terminal_size", "terminal_y", "terminal_row", "terminal_of",  # of blocks
    "pair_a", "pair_b",  # nodes that a load lies between
    "moving_element", "moving_place", "moving_source", "moving_from", "closed", "branch_moving",  # topologies
    "dead_start", "dead_place", "ground_start", "ground_place",
)  # fmt: skip
"""Slots of the integers: slot s is ``ints[ints[s] : ints[s + 1]]``."""
(L_START, L_COL, U_START, U_COL, T_START, T_COL, T_DIAGONAL, T_TARGET, BUS_AT, A_BUS, OTHER_BUS, SOURCE_AT,
 FROM_AT, TO_AT, REGULATOR, REGULATOR_OF, REGULATOR_PLACE, CAP_BUS, TERM_START, TERM_INDEX,
 TERMINAL_AT, TERMINAL_FIRST, TERMINAL_SIZE, TERMINAL_Y, TERMINAL_ROW, TERMINAL_OF, PAIR_A, PAIR_B,
 MOVING_ELEMENT, MOVING_PLACE, MOVING_SOURCE, MOVING_FROM, CLOSED, BRANCH_MOVING, DEAD_START, DEAD_PLACE,
 GROUND_START, GROUND_PLACE,
 ) = range(38)  # fmt: skip
FLOATS = (
    "lower_re", "lower_im", "upper_re", "upper_im", "pivot_re", "pivot_im", "trail_re", "trail_im",
    "source_re", "source_im", "no_load_re", "no_load_im", "y_re", "y_im", "half_re", "half_im", "gain_re", "gain_im",
    "percent_from", "percent_to", "shunt_p", "shunt_q", "cap_p", "cap_q", "sign", "tap",
    "block_re", "block_im", "terminal_percent", "moving_re", "moving_im",
)  # fmt: skip
"""Slots of the floats: slot s is ``floats[ints[s] : ints[s + 1]]``, numbered after the integers' 39 bounds."""
(L_RE, L_IM, U_RE, U_IM, D_RE, D_IM, T_RE, T_IM, SOURCE_RE, SOURCE_IM, NO_LOAD_RE, NO_LOAD_IM, Y_RE, Y_IM, HALF_RE,
 HALF_IM, GAIN_RE, GAIN_IM, PERCENT_FROM, PERCENT_TO, SHUNT_P, SHUNT_Q, CAP_P, CAP_Q, SIGN, TAP,
 BLOCK_RE, BLOCK_IM, TERMINAL_PERCENT, MOVING_RE, MOVING_IM,
 ) = range(39, 70)  # fmt: skip
compiled = njit(cache=True, error_model="numpy", nogil=True, no_cfunc_wrapper=True)
leaf = njit(error_model="numpy", nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)

S, S_I, S_Z, V, X, B, J, C, N_WORK = range(9)
"""Working arrays ``(slot, row, 2 lanes)``, all real parts before all imaginary parts, so that few pointers may alias
and loops over lanes become vectors: drawn power at constant power, current and impedance; voltage; right-hand side,
then solution; trailing block; source currents; power of the switchable shunts at 1 pu. Rows of powers behind the last
node hold the loads that lie between two nodes.
"""
PAIR_I, PAIR_Z = 1.0 / np.sqrt(3.0), 1.0 / 3.0
"""Voltages between phases are per unit of the voltage to earth, loads between them of their own nominal voltage."""


def pack(tables: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lay tables named in :data:`INTS` and :data:`FLOATS` into one array of integers and one of floats."""
    ints, floats = [tables[name] for name in INTS], [tables[name] for name in FLOATS]
    head = len(ints) + 1 + len(floats) + 1
    bounds = np.concatenate([np.cumsum([head, *map(len, ints)]), np.cumsum([0, *map(len, floats)])])
    return np.concatenate([bounds, *ints]).astype(np.int64), np.concatenate(floats).astype(np.float64)


@intrinsic
def _fma(typingctx, a, b, c):
    """a * b + c rounded once: a third of the arithmetic of a sweep, and the same bits in every lane."""
    signature = types.float64(types.float64, types.float64, types.float64)
    return signature, lambda context, builder, sig, args: builder.fma(*args)


@compiled
def solve_rows(ints, floats, rows, zip_load, has_start, tol, max_iter, lanes, out, iterations):
    """Solve every row of `rows` into the same row of `out`; see :func:`_load` and :func:`_report` for their columns.

    `lanes` is 1 or `LANES`. Lanes stop one by one as they converge. When few of them are left and slow, they are put
    off and solved once more, together, at the end: grouping changes no result.
    """
    b, total = ints[FROM_AT + 1] - ints[FROM_AT], len(rows)
    nodes = ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]
    height = max(
        nodes + ints[PAIR_A + 1] - ints[PAIR_A], ints[T_COL + 1] - ints[T_COL], ints[CAP_BUS + 1] - ints[CAP_BUS]
    )
    work = np.zeros((N_WORK, height, 2 * lanes))
    scratch, sums = np.zeros((max(nodes, b), lanes)), np.zeros((4, lanes))
    todo, left, patient = np.arange(total), 0, lanes == 1 or total <= lanes
    while total > 0:
        for first in range(0, total, lanes):
            who = todo[first : min(first + lanes, total)]
            _load(ints, floats, rows, who, zip_load, has_start, work)
            _iterate(ints, floats, work, who, zip_load, tol, max_iter, patient, lanes, sums, iterations)
            _report(ints, floats, rows, who, zip_load, work[V], iterations, scratch, sums, out)
            for scenario in who:
                if iterations[scenario] < 0:  # put off; `who` has been read beyond this place already
                    todo[left] = scenario
                    left += 1
        total, left, patient = left, 0, True


@leaf
def _iterate(ints, floats, work, who, zip_load, tol, max_iter, patient, lanes, sums, iterations):
    """Sweep until every lane has stopped; its number of iterations is -1 where it is put off."""
    change, live, residual = sums[0], sums[1], sums[2]
    for lane in range(lanes):
        live[lane] = 1.0 if lane < len(who) else 0.0
    busy, sweeps, half = len(who), 0, max_iter
    while busy > 0:
        if lanes == 1:
            _sweep_one(ints, floats, work, zip_load, live, change)
        else:
            _sweep_many(ints, floats, work, zip_load, live, change)
        sweeps += 1
        for lane in range(len(who)):
            if live[lane] > 0.0 and (change[lane] < tol or not change[lane] < DIVERGED_PU or sweeps >= max_iter):
                live[lane], residual[lane], iterations[who[lane]], busy = 0.0, change[lane], sweeps, busy - 1
        if 2 * busy <= lanes and half == max_iter:
            half = sweeps
        if not patient and 4 * busy <= lanes and sweeps >= 2 * half:
            for lane in range(len(who)):
                if live[lane] > 0.0:
                    iterations[who[lane]] = -1
            busy = 0


@leaf
def _load(ints, floats, rows, who, zip_load, has_start, work):
    """Put scenarios into the lanes.

    A row holds ``[v_source, tap k, cap c, topology, p w, q w (, p_i w, q_i w, p_z w, q_z w) (, start_re m,
    start_im m)]``, where ``w = m + d`` counts buses and pairs of nodes. Loads in dead islands are struck from it.
    """
    n, m, lanes = ints[L_START + 1] - ints[L_START] - 1, ints[BUS_AT + 1] - ints[BUS_AT], work.shape[2] // 2
    k, c = ints[TAP + 1] - ints[TAP], ints[CAP_P + 1] - ints[CAP_P]
    bus_at, a_bus = ints[ints[BUS_AT] : ints[BUS_AT + 1]], ints[ints[A_BUS] : ints[A_BUS + 1]]
    column, nodes, pairs = 2 + k + c, ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE], ints[PAIR_A + 1] - ints[PAIR_A]
    w = m + pairs
    if ints[CLOSED + 1] > ints[CLOSED]:
        for lane in range(len(who)):
            topology = int(rows[who[lane], 1 + k + c])
            for e in range(ints[ints[DEAD_START] + topology], ints[ints[DEAD_START] + topology + 1]):
                for slot in range(6 if zip_load else 2):
                    rows[who[lane], column + slot * w + ints[ints[DEAD_PLACE] + e]] = 0.0
    for slot in range(3 if zip_load else 1):
        into = work[slot]
        for at in range(n):
            for lane in range(len(who)):
                into[at, lane] = rows[who[lane], column + a_bus[at]]
                into[at, lanes + lane] = rows[who[lane], column + w + a_bus[at]]
        for e in range(ints[OTHER_BUS], ints[OTHER_BUS + 1]):
            bus = ints[e]
            for lane in range(len(who)):
                into[bus_at[bus], lane] += rows[who[lane], column + bus]
                into[bus_at[bus], lanes + lane] += rows[who[lane], column + w + bus]
        scale = (1.0, PAIR_I, PAIR_Z)[slot]
        for e in range(pairs):
            for lane in range(len(who)):
                into[nodes + e, lane] = scale * rows[who[lane], column + m + e]
                into[nodes + e, lanes + lane] = scale * rows[who[lane], column + w + m + e]
        column += 2 * w
    v = work[V]
    for at in range(nodes):
        re, im = floats[ints[NO_LOAD_RE] + at], floats[ints[NO_LOAD_IM] + at]
        for lane in range(len(who)):
            v[at, lane], v[at, lanes + lane] = re * rows[who[lane], 0], im * rows[who[lane], 0]
            if has_start and at < n:
                a, b = rows[who[lane], column + a_bus[at]], rows[who[lane], column + m + a_bus[at]]
                if 0.25 < a * a + b * b < 4.0:  # a start that is no plausible voltage would only do harm
                    v[at, lane], v[at, lanes + lane] = a, b
    if ints[CLOSED + 1] > ints[CLOSED]:
        for lane in range(len(who)):
            topology = int(rows[who[lane], 1 + k + c])
            for e in range(ints[ints[DEAD_START] + topology], ints[ints[DEAD_START] + topology + 1]):
                if ints[ints[DEAD_PLACE] + e] < m:
                    at = bus_at[ints[ints[DEAD_PLACE] + e]]
                    v[at, lane] = v[at, lanes + lane] = 0.0
    for e in range(ints[SOURCE_AT + 1] - ints[SOURCE_AT]):
        for lane in range(len(who)):
            work[J, e, lane] = floats[ints[SOURCE_RE] + e] * rows[who[lane], 0]
            work[J, e, lanes + lane] = floats[ints[SOURCE_IM] + e] * rows[who[lane], 0]
    for lane in range(len(who)):
        row = rows[who[lane]]
        for e in range(c):
            work[C, e, lane] = floats[ints[CAP_P] + e] * row[1 + k + e]
            work[C, e, lanes + lane] = floats[ints[CAP_Q] + e] * row[1 + k + e]
        if ints[T_COL + 1] > ints[T_COL]:
            _set_taps(ints, floats, row, work[B], work[J], lane)
            if ints[CLOSED + 1] > ints[CLOSED]:
                _set_topology(ints, floats, row, work[B], work[J], lane)
            _refactor(ints, work[B], lane)


@leaf
def _set_taps(ints, floats, row, block, current, lane):
    """Trailing block and source currents with the regulators at this scenario's taps."""
    lanes, n_entries = block.shape[1] // 2, ints[T_COL + 1] - ints[T_COL]
    for e in range(n_entries):
        block[e, lane], block[e, lanes + lane] = floats[ints[T_RE] + e], floats[ints[T_IM] + e]
    for k in range(ints[REGULATOR + 1] - ints[REGULATOR]):
        branch = ints[ints[REGULATOR] + k]
        scale = row[1 + k] / floats[ints[TAP] + k]
        c = complex(floats[ints[GAIN_RE] + branch] * scale, floats[ints[GAIN_IM] + branch] * scale)
        y = complex(floats[ints[Y_RE] + branch], floats[ints[Y_IM] + branch])
        inner = y + complex(floats[ints[HALF_RE] + branch], floats[ints[HALF_IM] + branch])
        entries = (inner * (c.real * c.real + c.imag * c.imag), -y * np.conj(c), -y * c, inner)
        place = ints[ints[REGULATOR_PLACE] + 6 * k : ints[REGULATOR_PLACE] + 6 * k + 6]
        for i in range(4):
            if place[i] >= 0:
                block[place[i], lane] += entries[i].real
                block[place[i], lanes + lane] += entries[i].imag
        for i in range(2):  # the to end beside the source, or the from end
            if place[4 + i] >= 0:
                at = ints[ints[TO_AT if i else FROM_AT] + branch]
                pushed = entries[2 - i] * complex(floats[ints[NO_LOAD_RE] + at], floats[ints[NO_LOAD_IM] + at])
                current[place[4 + i], lane] -= pushed.real * row[0]
                current[place[4 + i], lanes + lane] -= pushed.imag * row[0]


@leaf
def _set_topology(ints, floats, row, block, current, lane):
    """Add the elements that are closed in this scenario's topology, and earth its dead islands."""
    lanes, at = block.shape[1] // 2, 1 + ints[TAP + 1] - ints[TAP] + ints[CAP_P + 1] - ints[CAP_P]
    topology, n_entries = int(row[at]), ints[MOVING_ELEMENT + 1] - ints[MOVING_ELEMENT]
    for e in range(n_entries):
        if not _is_closed(ints, topology, ints[ints[MOVING_ELEMENT] + e]):
            continue
        re, im, place = floats[ints[MOVING_RE] + e], floats[ints[MOVING_IM] + e], ints[ints[MOVING_PLACE] + e]
        source = ints[ints[MOVING_SOURCE] + e]
        if place >= 0:
            block[place, lane] += re
            block[place, lanes + lane] += im
        elif source >= 0:
            other, pushed = ints[ints[MOVING_FROM] + e], complex(re, im)
            if other >= 0:  # the source's node; a reference holds 1 pu whatever the source does
                pushed *= row[0] * complex(floats[ints[NO_LOAD_RE] + other], floats[ints[NO_LOAD_IM] + other])
            current[source, lane] -= pushed.real
            current[source, lanes + lane] -= pushed.imag
    for e in range(ints[ints[GROUND_START] + topology], ints[ints[GROUND_START] + topology + 1]):
        block[ints[ints[GROUND_PLACE] + e], lane] += 1.0


@leaf
def _is_closed(ints, topology, element):
    """Whether an element conducts in a topology."""
    elements = 1 + ints[ints[MOVING_ELEMENT + 1] - 1]
    return ints[ints[CLOSED] + topology * elements + element] > 0


@leaf
def _conducts(ints, row, branch):
    """1 where a branch is closed in the scenario's topology or no topology moves it, else 0."""
    if ints[CLOSED + 1] == ints[CLOSED] or ints[ints[BRANCH_MOVING] + branch] < 0:
        return 1.0
    topology = int(row[1 + ints[TAP + 1] - ints[TAP] + ints[CAP_P + 1] - ints[CAP_P]])
    return 1.0 if _is_closed(ints, topology, ints[ints[BRANCH_MOVING] + branch]) else 0.0


@leaf
def _refactor(ints, block, lane):
    """LU of the trailing block by rows, in place; the diagonal becomes its reciprocal."""
    start, col = ints[ints[T_START] : ints[T_START + 1]], ints[ints[T_COL] : ints[T_COL + 1]]
    diagonal, o, i_lane = ints[ints[T_DIAGONAL] : ints[T_DIAGONAL + 1]], ints[T_TARGET], block.shape[1] // 2 + lane
    for i in range(len(diagonal)):
        for e in range(start[i], diagonal[i]):
            d = diagonal[col[e]]
            re = block[e, lane] * block[d, lane] - block[e, i_lane] * block[d, i_lane]
            im = block[e, lane] * block[d, i_lane] + block[e, i_lane] * block[d, lane]
            block[e, lane], block[e, i_lane] = re, im
            for u in range(d + 1, start[col[e] + 1]):
                block[ints[o], lane] -= re * block[u, lane] - im * block[u, i_lane]
                block[ints[o], i_lane] -= re * block[u, i_lane] + im * block[u, lane]
                o += 1
        d = diagonal[i]
        norm = block[d, lane] * block[d, lane] + block[d, i_lane] * block[d, i_lane]
        block[d, lane], block[d, i_lane] = block[d, lane] / norm, -block[d, i_lane] / norm


def _make_sweep(lanes: int) -> Callable:
    """Compiled iteration over a fixed number of lanes: with a constant count the loops over lanes become vectors."""

    @leaf
    def sweep(ints, floats, work, zip_load, live, change):
        """V <- Y^-1 (source currents - conj(S / V)), S = P + P_i |V| + P_z |V|^2, and its largest change.

        Lanes that are not live keep their V.
        """
        s, s_i, s_z, v, x, block = work[S], work[S_I], work[S_Z], work[V], work[X], work[B]
        current, cap = work[J], work[C]
        n, shared = ints[L_START + 1] - ints[L_START] - 1, ints[U_START + 1] - ints[U_START] - 1
        for k in range(n):
            if zip_load:
                for lane in range(lanes):
                    a, b = v[k, lane], v[k, lanes + lane]
                    v2 = _fma(a, a, b * b)
                    v1, g = np.sqrt(v2), -1.0 / max(v2, MIN_V2)
                    p = s[k, lane] + v1 * s_i[k, lane] + v2 * s_z[k, lane]
                    q = s[k, lanes + lane] + v1 * s_i[k, lanes + lane] + v2 * s_z[k, lanes + lane]
                    x[k, lane], x[k, lanes + lane] = _fma(p, a, q * b) * g, _fma(p, b, -q * a) * g
            else:
                for lane in range(lanes):
                    a, b, p, q = v[k, lane], v[k, lanes + lane], s[k, lane], s[k, lanes + lane]
                    g = -1.0 / max(_fma(a, a, b * b), MIN_V2)
                    x[k, lane], x[k, lanes + lane] = _fma(p, a, q * b) * g, _fma(p, b, -q * a) * g
        pair_a, pair_b = ints[ints[PAIR_A] : ints[PAIR_A + 1]], ints[ints[PAIR_B] : ints[PAIR_B + 1]]
        nodes = ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]
        for e in range(len(pair_a)):
            i, j, k = pair_a[e], pair_b[e], nodes + e
            for lane in range(lanes):
                a, b = v[i, lane] - v[j, lane], v[i, lanes + lane] - v[j, lanes + lane]
                v2, p, q = _fma(a, a, b * b), s[k, lane], s[k, lanes + lane]
                if zip_load:
                    v1 = np.sqrt(v2)
                    p += v1 * s_i[k, lane] + v2 * s_z[k, lane]
                    q += v1 * s_i[k, lanes + lane] + v2 * s_z[k, lanes + lane]
                g = -1.0 / max(v2, MIN_V2)
                re, im = _fma(p, a, q * b) * g, _fma(p, b, -q * a) * g
                x[i, lane], x[i, lanes + lane] = x[i, lane] + re, x[i, lanes + lane] + im
                x[j, lane], x[j, lanes + lane] = x[j, lane] - re, x[j, lanes + lane] - im
        source_at = ints[ints[SOURCE_AT] : ints[SOURCE_AT + 1]]
        for e in range(len(source_at)):
            for lane in range(2 * lanes):
                x[source_at[e], lane] += current[e, lane]
        for e in range(ints[CAP_BUS + 1] - ints[CAP_BUS]):
            k = ints[ints[BUS_AT] + ints[ints[CAP_BUS] + e]]
            if k < n:
                for lane in range(lanes):
                    a, b, p, q = v[k, lane], v[k, lanes + lane], cap[e, lane], cap[e, lanes + lane]
                    x[k, lane] = _fma(-p, a, _fma(-q, b, x[k, lane]))
                    x[k, lanes + lane] = _fma(-p, b, _fma(q, a, x[k, lanes + lane]))
        start, col = ints[ints[L_START] : ints[L_START + 1]], ints[ints[L_COL] : ints[L_COL + 1]]
        re, im = floats[ints[L_RE] : ints[L_RE + 1]], floats[ints[L_IM] : ints[L_IM + 1]]
        for k in range(n):
            for e in range(start[k], start[k + 1]):
                j, r, i = col[e], re[e], im[e]
                for lane in range(lanes):
                    a, b = x[j, lane], x[j, lanes + lane]
                    x[k, lane] = _fma(-r, a, _fma(i, b, x[k, lane]))
                    x[k, lanes + lane] = _fma(-r, b, _fma(-i, a, x[k, lanes + lane]))
        start, col = ints[ints[T_START] : ints[T_START + 1]], ints[ints[T_COL] : ints[T_COL + 1]]
        diagonal = ints[ints[T_DIAGONAL] : ints[T_DIAGONAL + 1]]
        for row in range(n - shared):
            for e in range(start[row], diagonal[row]):
                k, j = shared + row, shared + col[e]
                for lane in range(lanes):
                    r, i, a, b = block[e, lane], block[e, lanes + lane], x[j, lane], x[j, lanes + lane]
                    x[k, lane] = _fma(-r, a, _fma(i, b, x[k, lane]))
                    x[k, lanes + lane] = _fma(-r, b, _fma(-i, a, x[k, lanes + lane]))
        for row in range(n - shared - 1, -1, -1):
            k, d = shared + row, diagonal[row]
            for e in range(d + 1, start[row + 1]):
                j = shared + col[e]
                for lane in range(lanes):
                    r, i, a, b = block[e, lane], block[e, lanes + lane], x[j, lane], x[j, lanes + lane]
                    x[k, lane] = _fma(-r, a, _fma(i, b, x[k, lane]))
                    x[k, lanes + lane] = _fma(-r, b, _fma(-i, a, x[k, lanes + lane]))
            for lane in range(lanes):
                r, i, a, b = block[d, lane], block[d, lanes + lane], x[k, lane], x[k, lanes + lane]
                x[k, lane], x[k, lanes + lane] = _fma(r, a, -i * b), _fma(r, b, i * a)
        start, col = ints[ints[U_START] : ints[U_START + 1]], ints[ints[U_COL] : ints[U_COL + 1]]
        re, im = floats[ints[U_RE] : ints[U_RE + 1]], floats[ints[U_IM] : ints[U_IM + 1]]
        d_re, d_im = floats[ints[D_RE] : ints[D_RE + 1]], floats[ints[D_IM] : ints[D_IM + 1]]
        for k in range(shared - 1, -1, -1):
            r, i = d_re[k], d_im[k]
            for lane in range(lanes):
                a, b = x[k, lane], x[k, lanes + lane]
                x[k, lane], x[k, lanes + lane] = _fma(r, a, -i * b), _fma(r, b, i * a)
            for e in range(start[k], start[k + 1]):
                j, r, i = col[e], re[e], im[e]
                for lane in range(lanes):
                    a, b = x[j, lane], x[j, lanes + lane]
                    x[k, lane] = _fma(-r, a, _fma(i, b, x[k, lane]))
                    x[k, lanes + lane] = _fma(-r, b, _fma(-i, a, x[k, lanes + lane]))
        for lane in range(lanes):
            change[lane] = 0.0
        for k in range(n):
            for lane in range(lanes):
                change[lane] = max(
                    change[lane], abs(x[k, lane] - v[k, lane]) + abs(x[k, lanes + lane] - v[k, lanes + lane])
                )
            for lane in range(lanes):
                v[k, lane] = x[k, lane] if live[lane] > 0.0 else v[k, lane]
                v[k, lanes + lane] = x[k, lanes + lane] if live[lane] > 0.0 else v[k, lanes + lane]

    return sweep


_sweep_one, _sweep_many = _make_sweep(1), _make_sweep(LANES)


@leaf
def _report(ints, floats, rows, who, zip_load, v, iterations, scratch, sums, out):
    """Write each scenario's row.

    It holds ``[v_re m, v_im m, v_pu m, loading b, p_meter, q_meter, loss, p_slack, q_slack, residual]``.
    """
    m, b, n = ints[BUS_AT + 1] - ints[BUS_AT], ints[FROM_AT + 1] - ints[FROM_AT], len(v) - 1
    bus_at, lanes = ints[ints[BUS_AT] : ints[BUS_AT + 1]], v.shape[1] // 2
    for lane in range(lanes):
        sums[0, lane] = 0.0
    for at in range(n + 1):
        for lane in range(lanes):
            sums[0, lane] += abs(v[at, lane]) + abs(v[at, lanes + lane])
    for lane in range(len(who)):
        power = _meters(ints, floats, rows[who[lane]], zip_load, v, lane, out[who[lane]])
        if iterations[who[lane]] < 0 or (sums[0, lane] < MAX_V_PU and power < np.inf):
            sums[2, lane] = min(sums[2, lane], DIVERGED_PU)
        else:
            sums[2, lane] = DIVERGED_PU
            _unload(ints, floats, rows[who[lane]], v, lane)
            _meters(ints, floats, rows[who[lane]], zip_load, v, lane, out[who[lane]])
    for at in range(ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]):
        for lane in range(lanes):
            scratch[at, lane] = np.sqrt(v[at, lane] * v[at, lane] + v[at, lanes + lane] * v[at, lanes + lane])
    for lane in range(len(who)):
        row = out[who[lane]]
        for bus in range(m):
            at = bus_at[bus]
            row[bus], row[m + bus], row[2 * m + bus] = v[at, lane], v[at, lanes + lane], scratch[at, lane]
    _branches(ints, floats, rows, who, v, scratch, sums)
    for lane in range(len(who)):
        row = out[who[lane]]
        for branch in range(b):
            row[3 * m + branch] = scratch[branch, lane]
        row[len(row) - 4], row[len(row) - 1] = sums[3, lane], sums[2, lane]


@leaf
def _unload(ints, floats, row, v, lane):
    """Replace a lane that is not finite, and its scenario, by the network without load at 1 pu."""
    nodes, k, lanes = ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE], ints[TAP + 1] - ints[TAP], v.shape[1] // 2
    for e in range(len(row)):
        row[e] = floats[ints[TAP] + e - 1] if 1 <= e <= k else 0.0
    for at in range(nodes):
        v[at, lane], v[at, lanes + lane] = floats[ints[NO_LOAD_RE] + at], floats[ints[NO_LOAD_IM] + at]


@leaf
def _branches(ints, floats, rows, who, v, percent, sums):
    """Loading of every branch [%] and the sum of their losses, by lanes."""
    b, lanes = ints[FROM_AT + 1] - ints[FROM_AT], v.shape[1] // 2
    loss, scale, on = sums[3], sums[0], sums[1]
    for lane in range(lanes):
        loss[lane], scale[lane], on[lane] = 0.0, 1.0, 1.0
    from_at, to_at = ints[ints[FROM_AT] : ints[FROM_AT + 1]], ints[ints[TO_AT] : ints[TO_AT + 1]]
    y_re, y_im = floats[ints[Y_RE] : ints[Y_RE + 1]], floats[ints[Y_IM] : ints[Y_IM + 1]]
    half_re, half_im = floats[ints[HALF_RE] : ints[HALF_RE + 1]], floats[ints[HALF_IM] : ints[HALF_IM + 1]]
    gain_re, gain_im = floats[ints[GAIN_RE] : ints[GAIN_RE + 1]], floats[ints[GAIN_IM] : ints[GAIN_IM + 1]]
    percent_from = floats[ints[PERCENT_FROM] : ints[PERCENT_FROM + 1]]
    percent_to = floats[ints[PERCENT_TO] : ints[PERCENT_TO + 1]]
    regulator_of, moves = ints[ints[REGULATOR_OF] : ints[REGULATOR_OF + 1]], ints[CLOSED + 1] > ints[CLOSED]
    for branch in range(b):
        regulator, moving = regulator_of[branch], moves and ints[ints[BRANCH_MOVING] + branch] >= 0
        if moving:
            for lane in range(len(who)):
                on[lane] = _conducts(ints, rows[who[lane]], branch)
        if regulator >= 0:
            for lane in range(len(who)):
                scale[lane] = rows[who[lane], 1 + regulator] / floats[ints[TAP] + regulator]
        f, t, y_r, y_i = from_at[branch], to_at[branch], y_re[branch], y_im[branch]
        h_r, h_i, g_r, g_i = half_re[branch], half_im[branch], gain_re[branch], gain_im[branch]
        pc_f, pc_t = percent_from[branch] * percent_from[branch], percent_to[branch] * percent_to[branch]
        for lane in range(lanes):
            c_r, c_i, t_r, t_i = g_r * scale[lane], g_i * scale[lane], v[t, lane], v[t, lanes + lane]
            u_r, u_i = c_r * v[f, lane] - c_i * v[f, lanes + lane], c_r * v[f, lanes + lane] + c_i * v[f, lane]
            d_r, d_i = u_r - t_r, u_i - t_i
            s_r, s_i = y_r * d_r - y_i * d_i, y_r * d_i + y_i * d_r
            f_r, f_i = s_r + (h_r * u_r - h_i * u_i), s_i + (h_r * u_i + h_i * u_r)
            e_r, e_i = s_r - (h_r * t_r - h_i * t_i), s_i - (h_r * t_i + h_i * t_r)
            at_from = pc_f * (c_r * c_r + c_i * c_i) * (f_r * f_r + f_i * f_i)
            percent[branch, lane] = on[lane] * np.sqrt(max(at_from, pc_t * (e_r * e_r + e_i * e_i)))
            v2 = u_r * u_r + u_i * u_i + (t_r * t_r + t_i * t_i)
            loss[lane] += on[lane] * (d_r * s_r + d_i * s_i + h_r * v2)
        if regulator >= 0 or moving:
            for lane in range(lanes):
                scale[lane] = on[lane] = 1.0
    if ints[TERMINAL_AT + 1] > ints[TERMINAL_AT]:
        _blocks(ints, floats, rows, who, v, percent, sums)


@leaf
def _blocks(ints, floats, rows, who, v, percent, sums):
    """The same of elements between several nodes: the larger loading of both ends of a conductor, and their losses."""
    lanes, loss, i_re, i_im = v.shape[1] // 2, sums[3], sums[0], sums[1]
    at, row = ints[ints[TERMINAL_AT] : ints[TERMINAL_AT + 1]], ints[ints[TERMINAL_ROW] : ints[TERMINAL_ROW + 1]]
    for t in range(len(at)):
        for lane in range(lanes):
            i_re[lane] = i_im[lane] = 0.0
        first, y = ints[ints[TERMINAL_FIRST] + t], ints[ints[TERMINAL_Y] + t]
        for j in range(ints[ints[TERMINAL_SIZE] + t]):
            k, r, i = at[first + j], floats[ints[BLOCK_RE] + y + j], floats[ints[BLOCK_IM] + y + j]
            for lane in range(lanes):
                i_re[lane] += r * v[k, lane] - i * v[k, lanes + lane]
                i_im[lane] += r * v[k, lanes + lane] + i * v[k, lane]
        here, branch, k = floats[ints[TERMINAL_PERCENT] + t], row[t], at[t]
        if ints[CLOSED + 1] > ints[CLOSED]:
            for lane in range(len(who)):
                on = _conducts(ints, rows[who[lane]], branch)
                i_re[lane], i_im[lane] = on * i_re[lane], on * i_im[lane]
        for lane in range(lanes):
            loss[lane] += v[k, lane] * i_re[lane] + v[k, lanes + lane] * i_im[lane]
            flowing = here * np.sqrt(i_re[lane] * i_re[lane] + i_im[lane] * i_im[lane])
            percent[branch, lane] = max(percent[branch, lane], flowing)


@leaf
def _meters(ints, floats, row, zip_load, v, lane, out):
    """Write the meters and the slack, each a signed sum of powers into branch ends and of powers that buses draw.

    Returns the sum of their magnitudes.
    """
    m, b = ints[BUS_AT + 1] - ints[BUS_AT], ints[FROM_AT + 1] - ints[FROM_AT]
    start, meters = ints[ints[TERM_START] : ints[TERM_START + 1]], ints[TERM_START + 1] - ints[TERM_START] - 2
    size = 0.0
    for meter in range(meters + 1):
        p = q = 0.0
        for e in range(start[meter], start[meter + 1]):
            what, sign = ints[ints[TERM_INDEX] + e], floats[ints[SIGN] + e]
            if what < 2 * b:
                power = _into_branch(ints, floats, row, v, lane, what % b, what < b)
            elif what < 2 * b + m:
                power = _drawn(ints, floats, row, zip_load, v, lane, what - 2 * b)
            else:
                power = _into_pair(ints, floats, row, zip_load, v, lane, what - 2 * b - m)
            p += sign * power.real
            q += sign * power.imag
        size += abs(p) + abs(q)
        if meter < meters:
            out[3 * m + b + meter], out[3 * m + b + meters + meter] = p, q
        else:
            out[len(out) - 3], out[len(out) - 2] = p, q
    return size


@leaf
def _into_branch(ints, floats, row, v, lane, branch, at_from):
    """Power that enters a branch at its from or its to end."""
    if _conducts(ints, row, branch) == 0.0:
        return 0j
    if ints[TERMINAL_OF + 1] > ints[TERMINAL_OF]:
        terminal = ints[
            ints[TERMINAL_OF] + branch + (0 if at_from else (ints[TERMINAL_OF + 1] - ints[TERMINAL_OF]) // 2)
        ]
        if terminal >= 0:
            return _into_block(ints, floats, v, lane, terminal)
    scale, regulator, i_lane = 1.0, ints[ints[REGULATOR_OF] + branch], v.shape[1] // 2 + lane
    if regulator >= 0:
        scale = row[1 + regulator] / floats[ints[TAP] + regulator]
    f, t = ints[ints[FROM_AT] + branch], ints[ints[TO_AT] + branch]
    gain = complex(floats[ints[GAIN_RE] + branch] * scale, floats[ints[GAIN_IM] + branch] * scale)
    half = complex(floats[ints[HALF_RE] + branch], floats[ints[HALF_IM] + branch])
    inner, v_to = gain * complex(v[f, lane], v[f, i_lane]), complex(v[t, lane], v[t, i_lane])
    series = complex(floats[ints[Y_RE] + branch], floats[ints[Y_IM] + branch]) * (inner - v_to)
    if at_from:
        return inner * np.conj(series + half * inner)
    return v_to * np.conj(half * v_to - series)


@leaf
def _into_block(ints, floats, v, lane, terminal):
    """Power that enters a block at one of its terminals."""
    at, i_lane, current = ints[TERMINAL_AT], v.shape[1] // 2 + lane, 0j
    first, y = ints[ints[TERMINAL_FIRST] + terminal], ints[ints[TERMINAL_Y] + terminal]
    for j in range(ints[ints[TERMINAL_SIZE] + terminal]):
        k = ints[at + first + j]
        current += complex(floats[ints[BLOCK_RE] + y + j], floats[ints[BLOCK_IM] + y + j]) * complex(
            v[k, lane], v[k, i_lane]
        )
    k = ints[at + terminal]
    return complex(v[k, lane], v[k, i_lane]) * np.conj(current)


@leaf
def _into_pair(ints, floats, row, zip_load, v, lane, which):
    """Power that a load between two nodes draws from its first node, or behind all of those, from its second."""
    pairs, m, i_lane = ints[PAIR_A + 1] - ints[PAIR_A], ints[BUS_AT + 1] - ints[BUS_AT], v.shape[1] // 2 + lane
    e, w = which % pairs, m + pairs
    first = 2 + ints[TAP + 1] - ints[TAP] + ints[CAP_P + 1] - ints[CAP_P] + m + e
    i, j = ints[ints[PAIR_A] + e], ints[ints[PAIR_B] + e]
    v_i, v_j = complex(v[i, lane], v[i, i_lane]), complex(v[j, lane], v[j, i_lane])
    between = v_i - v_j
    v2 = between.real * between.real + between.imag * between.imag
    power = complex(row[first], row[first + w])
    if zip_load:
        power += complex(row[first + 2 * w], row[first + 3 * w]) * (PAIR_I * np.sqrt(v2))
        power += complex(row[first + 4 * w], row[first + 5 * w]) * (PAIR_Z * v2)
    inward = power * np.conj(between) / max(v2, MIN_V2)  # conjugate of the current
    return v_i * inward if which < pairs else -v_j * inward


@leaf
def _drawn(ints, floats, row, zip_load, v, lane, bus):
    """Power that a bus's loads and shunts draw."""
    m, at = ints[BUS_AT + 1] - ints[BUS_AT], ints[ints[BUS_AT] + bus]
    k, c = ints[TAP + 1] - ints[TAP], ints[CAP_P + 1] - ints[CAP_P]
    first, w = 2 + k + c + bus, m + ints[PAIR_A + 1] - ints[PAIR_A]
    re, im = v[at, lane], v[at, v.shape[1] // 2 + lane]
    v2 = re * re + im * im
    power = complex(row[first], row[first + w])
    if zip_load:
        power += complex(row[first + 2 * w], row[first + 3 * w]) * np.sqrt(v2)
        power += complex(row[first + 4 * w], row[first + 5 * w]) * v2
    power += complex(floats[ints[SHUNT_P] + bus], floats[ints[SHUNT_Q] + bus]) * v2
    for e in range(c):
        if ints[ints[CAP_BUS] + e] == bus:
            power += complex(floats[ints[CAP_P] + e], floats[ints[CAP_Q] + e]) * (row[1 + k + e] * v2)
    return power
