"""Scenarios side by side: the compiled entry of :mod:`powergrid.powerflow.sparse_lu`.

Only :func:`solve_rows` is kept on disk, with all that it calls inside, as long as no file of this folder changes.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

import numpy as np
from numba import types

from powergrid.core.machine_code import cached, compile_for
from powergrid.powerflow.columns import into_lanes
from powergrid.powerflow.lane_factors import make_factor
from powergrid.powerflow.lane_results import DIVERGED_PU, make_report
from powergrid.powerflow.slots import (
    BUS_AT,
    CAP_P,
    CAP_Q,
    CHANGE,
    CLOSED,
    DEAD_PLACE,
    DEAD_START,
    EXTRA_AT,
    L_START,
    LIVE,
    LOAD_AT,
    N_STATE,
    N_WORK,
    NO_LOAD_IM,
    NO_LOAD_RE,
    OTHER_BUS,
    PAIR_A,
    PAIR_I,
    PAIR_Z,
    RESIDUAL,
    SOURCE_IM,
    SOURCE_RE,
    STATE,
    T_COL,
    TAP,
    C,
    J,
    V,
    X,
    leaf,
)  # fmt: skip
from powergrid.powerflow.sweep import make_sweep
from powergrid.powerflow.vectors import operations

LANES = 16
"""Scenarios side by side in a batch: several vectors, so that reading an index serves many, yet few enough
that a feeder of a thousand buses stays in the cache: 16 beat 8 and 32."""
FEW = 3
"""Up to so many scenarios cost less one after the other than side by side in lanes of which most are empty."""
_ONE, _MANY = operations(1), operations(LANES)
_sweep_one, _sweep_many = make_sweep(_ONE), make_sweep(_MANY)
_factor_one, _factor_many = make_factor(_ONE), make_factor(_MANY)
_report_one, _report_many = make_report(_ONE), make_report(_MANY)


class _Kept(threading.local):
    """Working numbers of a thread, kept from call to call: mapping fresh memory costs up to a fifth of a solution."""

    numbers = np.zeros(0)


_kept = _Kept()


def workspace(height: int) -> np.ndarray:
    """A thread's working rows for :func:`solve_rows`, with room for so many rows a slot."""
    size = N_WORK * height * 2 * LANES
    if len(_kept.numbers) < size:
        _kept.numbers = own_workspace(height)
    return _kept.numbers[:size]


def own_workspace(height: int) -> np.ndarray:
    """Working rows for a caller that keeps them and is never in two threads at a time."""
    size = N_WORK * height * 2 * LANES
    numbers = np.zeros(size + 7)
    first = -(numbers.ctypes.data // 8) % 8  # no vector then straddles two lines of memory
    return numbers[first : first + size]


@cached(Path(__file__).parent, error_model="numpy", nogil=True, no_cfunc_wrapper=True)
def solve_rows(ints, floats, rows, zip_load, has_start, tol, max_iter, space, out, iterations):
    """Solve every row of `rows` into the same row of `out`; see :func:`_load` and `report` for their columns.

    `space` is a :func:`workspace`. Lanes stop one by one as they converge. When few of them are left and slow, they
    are put off and solved once more, together, at the end: grouping changes no result.
    """
    height, total, left, patient = len(space) // (N_WORK * 2 * LANES), len(rows), 0, len(rows) <= LANES
    todo = np.arange(total)
    while total > 0:
        first = 0
        while first < total:
            lanes = LANES if total - first > FEW else 1
            who = todo[first : min(first + lanes, total)]
            first += lanes
            step = height * 2 * lanes
            flat = space[: N_WORK * step]
            work = flat.reshape(N_WORK, height, 2 * lanes)
            state = flat[STATE * step :][: N_STATE * lanes].reshape(N_STATE, lanes)
            _load(ints, floats, rows, who, zip_load, has_start, flat, work)
            _iterate(ints, floats, flat, step, who, zip_load, tol, max_iter, patient, state, iterations)
            if lanes == 1:
                _report_one(ints, floats, rows, who, zip_load, work[V], flat, step, iterations, out)
            else:
                _report_many(ints, floats, rows, who, zip_load, work[V], flat, step, iterations, out)
            for scenario in who:
                if iterations[scenario] < 0:  # put off; `who` has been read beyond this place already
                    todo[left] = scenario
                    left += 1
        total, left, patient = left, 0, True


_INTS, _FLOATS, _TABLE = (
    types.Array(kind, n, "C") for kind, n in ((types.int64, 1), (types.float64, 1), (types.float64, 2))
)
SOLVER = (
    _INTS, _FLOATS, _TABLE, types.boolean, types.boolean, types.float64, types.int64, _FLOATS, _TABLE, _INTS,
)  # fmt: skip
"""Types of the arguments of :func:`solve_rows`."""


@cache
def machine_code() -> int:
    """Address of :func:`solve_rows` as compiled for :data:`SOLVER`, in numba's calling convention."""
    compile_for(solve_rows, SOLVER, "power flow", 55)
    found = solve_rows.overloads[SOLVER]
    return int(found.library.get_pointer_to_function(found.fndesc.llvm_func_name))


@leaf
def _iterate(ints, floats, work, step, who, zip_load, tol, max_iter, patient, state, iterations):
    """Sweep until every lane has stopped; its number of iterations is -1 where it is put off."""
    change, live, residual, lanes = state[CHANGE], state[LIVE], state[RESIDUAL], state.shape[1]
    for lane in range(lanes):
        live[lane] = 1.0 if lane < len(who) else 0.0
    busy, sweeps, half = len(who), 0, max_iter
    while busy > 0:
        if lanes == 1:
            _sweep_one(ints, floats, work, step, zip_load)
        else:
            _sweep_many(ints, floats, work, step, zip_load)
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
def _load(ints, floats, rows, who, zip_load, has_start, flat, work):
    """Put scenarios into the lanes.

    A row holds ``[v_source, tap k, cap c, topology, p w, q w (, p_i w, q_i w, p_z w, q_z w) (, start_re m,
    start_im m)]``, where ``w = m + d`` counts buses and pairs of nodes. Loads in dead islands are struck from it.
    """
    m, lanes, step = ints[BUS_AT + 1] - ints[BUS_AT], work.shape[2] // 2, work.shape[1] * work.shape[2]
    k, c, pairs = ints[TAP + 1] - ints[TAP], ints[CAP_P + 1] - ints[CAP_P], ints[PAIR_A + 1] - ints[PAIR_A]
    column, width, w = 2 + k + c, rows.shape[1], m + pairs
    if ints[CLOSED + 1] > ints[CLOSED]:
        _strike(ints, rows, who, column, w, zip_load)
    values, load_at = rows.reshape(rows.size), ints[ints[LOAD_AT] : ints[LOAD_AT + 1]]
    for slot in range(3 if zip_load else 1):
        into_lanes(values, width, who, column, flat, load_at, slot * step, lanes)
        into_lanes(values, width, who, column + w, flat, load_at, slot * step + lanes, lanes)
        _add_others(ints, rows, who, column, w, (1.0, PAIR_I, PAIR_Z)[slot], work[slot])
        column += 2 * w
    _begin(ints, floats, rows, who, work)
    if has_start:
        into_lanes(values, width, who, column, flat, load_at, X * step, lanes)
        into_lanes(values, width, who, column + m, flat, load_at, X * step + lanes, lanes)
        _adopt(ints, who, work[X], work[V])
    for lane in range(len(who)):
        row = rows[who[lane]]
        for e in range(c):  # conjugate, for the current
            work[C, e, lane] = floats[ints[CAP_P] + e] * row[1 + k + e]
            work[C, e, lanes + lane] = -floats[ints[CAP_Q] + e] * row[1 + k + e]
    if ints[T_COL + 1] > ints[T_COL]:
        if lanes == 1:
            _factor_one(ints, floats, rows, who, flat, work, step)
        else:
            _factor_many(ints, floats, rows, who, flat, work, step)


@leaf
def _strike(ints, rows, who, column, w, zip_load):
    """Take the loads of dead islands out of the rows."""
    for scenario in who:
        topology = int(rows[scenario, column - 1])
        for e in range(ints[ints[DEAD_START] + topology], ints[ints[DEAD_START] + topology + 1]):
            for slot in range(6 if zip_load else 2):
                rows[scenario, column + slot * w + ints[ints[DEAD_PLACE] + e]] = 0.0


@leaf
def _add_others(ints, rows, who, column, w, scale, into):
    """Loads of buses that share a node with an earlier bus, and loads between two nodes."""
    m, lanes, nodes = ints[BUS_AT + 1] - ints[BUS_AT], into.shape[1] // 2, ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]
    for e in range(ints[OTHER_BUS], ints[OTHER_BUS + 1]):
        bus, at = ints[e], ints[ints[BUS_AT] + ints[e]]
        for lane in range(len(who)):
            into[at, lane] += rows[who[lane], column + bus]
            into[at, lanes + lane] += rows[who[lane], column + w + bus]
    for e in range(w - m):
        for lane in range(len(who)):
            into[nodes + e, lane] = scale * rows[who[lane], column + m + e]
            into[nodes + e, lanes + lane] = scale * rows[who[lane], column + w + m + e]


@leaf
def _begin(ints, floats, rows, who, work):
    """Voltages without load, and currents from the source."""
    v, current, lanes = work[V], work[J], work.shape[2] // 2
    for at in range(ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]):
        re, im = floats[ints[NO_LOAD_RE] + at], floats[ints[NO_LOAD_IM] + at]
        for lane in range(len(who)):
            v[at, lane], v[at, lanes + lane] = re * rows[who[lane], 0], im * rows[who[lane], 0]
    for e in range(ints[EXTRA_AT + 1] - ints[EXTRA_AT]):
        re, im = floats[ints[SOURCE_RE] + e], floats[ints[SOURCE_IM] + e]
        for lane in range(len(who)):
            current[e, lane], current[e, lanes + lane] = re * rows[who[lane], 0], im * rows[who[lane], 0]


@leaf
def _adopt(ints, who, start, v):
    """Start from given voltages; one that is not plausible would only do harm."""
    lanes = v.shape[1] // 2
    for at in range(ints[L_START + 1] - ints[L_START] - 1):
        for lane in range(len(who)):
            a, b = start[at, lane], start[at, lanes + lane]
            if 0.25 < a * a + b * b < 4.0:
                v[at, lane], v[at, lanes + lane] = a, b
