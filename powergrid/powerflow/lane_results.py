"""Results of :mod:`powergrid.powerflow.sparse_lu` from the voltages of a group of scenarios."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from powergrid.powerflow.columns import out_of_lanes
from powergrid.powerflow.slots import (
    BLOCK_IM,
    BLOCK_RE,
    BRANCH_AT,
    BRANCH_MOVING,
    BUS_AT,
    CAP_BUS,
    CAP_P,
    CAP_Q,
    CHANGE,
    CLOSED,
    FROM_AT,
    GAIN_IM,
    GAIN_RE,
    HALF_IM,
    HALF_RE,
    LOSS,
    NO_LOAD_IM,
    NO_LOAD_RE,
    ON,
    PAIR_A,
    PAIR_B,
    PAIR_I,
    PAIR_Z,
    PERCENT_FROM,
    PERCENT_TO,
    REGULATOR_OF,
    RESIDUAL,
    SHUNT_P,
    SHUNT_Q,
    SIGN,
    STATE,
    TAP,
    TAPS,
    TERM_INDEX,
    TERM_START,
    TERMINAL_AT,
    TERMINAL_FIRST,
    TERMINAL_OF,
    TERMINAL_PERCENT,
    TERMINAL_ROW,
    TERMINAL_SIZE,
    TERMINAL_Y,
    TO_AT,
    Y_IM,
    Y_RE,
    E,
    V,
    X,
    conducts,
    leaf,
)  # fmt: skip
from powergrid.powerflow.vectors import MIN_V2, Operations

DIVERGED_PU = 1e3
"""A voltage that moves by more than this in one iteration will not come back."""
MAX_V_PU = 1e9
"""Voltages that sum up to more, or to no number, are replaced by those of the unloaded network."""


def make_report(do: Operations) -> Callable:
    """Compiled results of a fixed number of lanes."""
    lanes, width = do.lanes, 2 * do.lanes
    scale, add, difference, subtract, weigh = do.scale, do.add, do.difference, do.subtract, do.weigh
    magnitude, loading, dissipate = do.magnitude, do.loading, do.dissipate

    @leaf
    def branches(ints, floats, rows, who, work, step):
        """Loading of every branch [%], and the sum of their losses."""
        state, v, percent, u = STATE * step, V * step, X * step + lanes, E * step
        d, s, f = u + width, u + 2 * width, u + 3 * width
        loss, taps, on = state + LOSS * lanes, state + TAPS * lanes, state + ON * lanes
        for branch in range(ints[FROM_AT + 1] - ints[FROM_AT]):
            at_from, at_to = v + ints[ints[FROM_AT] + branch] * width, v + ints[ints[TO_AT] + branch] * width
            g_re, g_im = floats[ints[GAIN_RE] + branch], floats[ints[GAIN_IM] + branch]
            h_re, h_im = floats[ints[HALF_RE] + branch], floats[ints[HALF_IM] + branch]
            per_from = floats[ints[PERCENT_FROM] + branch] * np.sqrt(g_re * g_re + g_im * g_im)
            per_to, regulator = floats[ints[PERCENT_TO] + branch], ints[ints[REGULATOR_OF] + branch]
            moving = ints[CLOSED + 1] > ints[CLOSED] and ints[ints[BRANCH_MOVING] + branch] >= 0
            for lane in range(lanes):
                work[percent + branch * width + lane] = 0.0
            scale(work, u, at_from, g_re, g_im)
            if regulator >= 0:
                for lane in range(len(who)):
                    work[taps + lane] = rows[who[lane], 1 + regulator] / floats[ints[TAP] + regulator]
                weigh(work, u, taps)
            difference(work, d, u, at_to)
            scale(work, s, d, floats[ints[Y_RE] + branch], floats[ints[Y_IM] + branch])
            if moving:
                for lane in range(len(who)):
                    work[on + lane] = conducts(ints, rows[who[lane]], branch)
                weigh(work, s, on)
            dissipate(work, loss, d, s)
            if h_re == 0.0 and h_im == 0.0:
                loading(work, percent + branch * width, s, max(per_from, per_to))
                continue
            scale(work, f, u, h_re, h_im)
            scale(work, d, at_to, h_re, h_im)
            if moving:
                weigh(work, f, on)
                weigh(work, d, on)
            dissipate(work, loss, u, f)
            dissipate(work, loss, at_to, d)
            add(work, f, s)
            difference(work, d, s, d)
            loading(work, percent + branch * width, f, per_from)
            loading(work, percent + branch * width, d, per_to)

    @leaf
    def blocks(ints, floats, rows, who, work, step):
        """The same of elements between several nodes: the larger loading of both ends of a conductor, and losses."""
        state, v, percent, i = STATE * step, V * step, X * step + lanes, E * step
        at = ints[ints[TERMINAL_AT] : ints[TERMINAL_AT + 1]]
        for t in range(len(at)):
            first, y = ints[ints[TERMINAL_FIRST] + t], ints[ints[TERMINAL_Y] + t]
            scale(work, i, v + at[first] * width, floats[ints[BLOCK_RE] + y], floats[ints[BLOCK_IM] + y])
            for j in range(1, ints[ints[TERMINAL_SIZE] + t]):
                re, im = floats[ints[BLOCK_RE] + y + j], floats[ints[BLOCK_IM] + y + j]
                subtract(work, i, v + at[first + j] * width, -re, -im)
            branch = ints[ints[TERMINAL_ROW] + t]
            if ints[CLOSED + 1] > ints[CLOSED]:
                for lane in range(len(who)):
                    work[state + ON * lanes + lane] = conducts(ints, rows[who[lane]], branch)
                weigh(work, i, state + ON * lanes)
            dissipate(work, state + LOSS * lanes, v + at[t] * width, i)
            loading(work, percent + branch * width, i, floats[ints[TERMINAL_PERCENT] + t])

    @leaf
    def measure(ints, floats, rows, who, zip_load, v, work, step, iterations, out):
        """Magnitudes and meters; lanes that are no numbers are put back to the network without load."""
        state, nodes = STATE * step, ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]
        for lane in range(lanes):
            work[state + CHANGE * lanes + lane] = 0.0
        for at in range(nodes):
            magnitude(work, X * step + at * width, V * step + at * width, state + CHANGE * lanes)
        for lane in range(len(who)):
            residual, total = state + RESIDUAL * lanes + lane, work[state + CHANGE * lanes + lane]
            row, result = rows[who[lane]], out[who[lane]]
            power = _meters(ints, floats, row, zip_load, v, lane, result)
            if iterations[who[lane]] < 0 or (total < MAX_V_PU and power < np.inf):
                work[residual] = min(work[residual], DIVERGED_PU)
                continue
            work[residual] = DIVERGED_PU
            _unload(ints, floats, row, v, lane)
            _meters(ints, floats, row, zip_load, v, lane, result)
            for at in range(nodes):
                work[X * step + at * width + lane] = abs(complex(v[at, lane], v[at, lanes + lane]))

    @leaf
    def report(ints, floats, rows, who, zip_load, v, work, step, iterations, out):
        """Write each scenario's row.

        It holds ``[v_re m, v_im m, v_pu m, loading b, p_meter, q_meter, loss, p_slack, q_slack, residual]``.
        """
        m, state = ints[BUS_AT + 1] - ints[BUS_AT], STATE * step
        measure(ints, floats, rows, who, zip_load, v, work, step, iterations, out)
        for lane in range(lanes):
            work[state + LOSS * lanes + lane] = 0.0
        branches(ints, floats, rows, who, work, step)
        if ints[TERMINAL_AT + 1] > ints[TERMINAL_AT]:
            blocks(ints, floats, rows, who, work, step)
        bus_at, branch_at = ints[ints[BUS_AT] : ints[BUS_AT + 1]], ints[ints[BRANCH_AT] : ints[BRANCH_AT + 1]]
        results, width = out.reshape(out.size), out.shape[1]
        out_of_lanes(work, bus_at, V * step, lanes, results, width, who, 0)
        out_of_lanes(work, bus_at, V * step + lanes, lanes, results, width, who, m)
        out_of_lanes(work, bus_at, X * step, lanes, results, width, who, 2 * m)
        out_of_lanes(work, branch_at, X * step + lanes, lanes, results, width, who, 3 * m)
        for lane in range(len(who)):
            row = out[who[lane]]
            row[len(row) - 4] = work[state + LOSS * lanes + lane]
            row[len(row) - 1] = work[state + RESIDUAL * lanes + lane]

    return report


@leaf
def _unload(ints, floats, row, v, lane):
    """Replace a lane that is not finite, and its scenario, by the network without load at 1 pu."""
    nodes, k, lanes = ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE], ints[TAP + 1] - ints[TAP], v.shape[1] // 2
    for e in range(len(row)):
        row[e] = floats[ints[TAP] + e - 1] if 1 <= e <= k else 0.0
    for at in range(nodes):
        v[at, lane], v[at, lanes + lane] = floats[ints[NO_LOAD_RE] + at], floats[ints[NO_LOAD_IM] + at]


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
    if conducts(ints, row, branch) == 0.0:
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
