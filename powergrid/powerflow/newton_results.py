"""Results of :mod:`powergrid.powerflow.newton_rows` from the voltages of one scenario."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from math import hypot, isfinite

import numpy as np

from powergrid.core.machine_code import part
from powergrid.powerflow.newton_tables import (
    BUS_AT,
    CAP_BUS,
    CAP_P,
    CAP_Q,
    FROM_BUS,
    GAIN_IM,
    GAIN_RE,
    HALF_IM,
    HALF_RE,
    HELD_AT,
    HELD_COUNT,
    HELD_MIN,
    HELD_SPAN,
    OTHER_BUS,
    OTHER_P,
    PERCENT_FROM,
    PERCENT_TO,
    REGULATOR,
    SERIES_IM,
    SERIES_RE,
    SHUNT_P,
    SHUNT_Q,
    SIGN,
    SOURCE_AT,
    TERM_INDEX,
    TERM_START,
    TO_BUS,
    UNIT_AT,
    UNIT_BUS,
    UNIT_HELD,
    UNIT_LOW,
    UNIT_P,
    UNIT_SPAN,
)


@part(error_model="numpy", nogil=True)
def report(ints, floats, row, zip_load, re, im, residual, out):
    """Voltages, loadings, losses, and what meters and the source read, into a row of results."""
    bus_at, m = ints[ints[BUS_AT] : ints[BUS_AT + 1]], ints[BUS_AT + 1] - ints[BUS_AT]
    b, k, c, g = (
        ints[FROM_BUS + 1] - ints[FROM_BUS],
        ints[REGULATOR + 1] - ints[REGULATOR],
        ints[CAP_BUS + 1] - ints[CAP_BUS],
        ints[UNIT_AT + 1] - ints[UNIT_AT],
    )
    powers = np.empty(2 * b + m, np.complex128)
    leaving = np.zeros(len(re), np.complex128)
    column = 1 + k + c + g
    for bus in range(m):
        at = bus_at[bus]
        vm = hypot(re[at], im[at])
        out[bus], out[m + bus], out[2 * m + bus] = re[at], im[at], vm
        p, q = row[column + bus], row[column + m + bus]
        z_p, z_q = floats[ints[SHUNT_P] + bus], floats[ints[SHUNT_Q] + bus]
        if zip_load:
            p += row[column + 2 * m + bus] * vm
            q += row[column + 3 * m + bus] * vm
            z_p += row[column + 4 * m + bus]
            z_q += row[column + 5 * m + bus]
        powers[2 * b + bus] = complex(p + z_p * vm * vm, q + z_q * vm * vm)
    for e in range(c):
        bus = ints[ints[CAP_BUS] + e]
        v2 = out[2 * m + bus] ** 2 * row[1 + k + e]
        powers[2 * b + bus] += complex(floats[ints[CAP_P] + e] * v2, floats[ints[CAP_Q] + e] * v2)
    loss = 0.0
    for e in range(b):
        f, t = ints[ints[FROM_BUS] + e], ints[ints[TO_BUS] + e]
        v_f, v_t = complex(out[f], out[m + f]), complex(out[t], out[m + t])
        half = complex(floats[ints[HALF_RE] + e], floats[ints[HALF_IM] + e])
        inner = complex(floats[ints[GAIN_RE] + e], floats[ints[GAIN_IM] + e])
        for r in range(k):
            if ints[ints[REGULATOR] + r] == e:
                inner = inner / abs(inner) * row[1 + r]
        inner *= v_f
        series = complex(floats[ints[SERIES_RE] + e], floats[ints[SERIES_IM] + e]) * (inner - v_t)
        s_f = inner * (series + half * inner).conjugate()
        s_t = v_t * (half * v_t - series).conjugate()
        powers[e], powers[b + e] = s_f, s_t
        leaving[bus_at[f]] += s_f
        leaving[bus_at[t]] += s_t
        loss += s_f.real + s_t.real
        at_from = floats[ints[PERCENT_FROM] + e] * (hypot(s_f.real, s_f.imag) / out[2 * m + f])
        at_to = floats[ints[PERCENT_TO] + e] * (hypot(s_t.real, s_t.imag) / out[2 * m + t])
        out[3 * m + e] = max(at_from, at_to)
    for bus in range(m):
        leaving[bus_at[bus]] += powers[2 * b + bus]
    _feed(ints, floats, leaving, powers[2 * b :])
    slack = complex(0.0, 0.0)
    for e in range(ints[SOURCE_AT + 1] - ints[SOURCE_AT] - 1):
        fed = leaving[ints[ints[SOURCE_AT] + e]] - floats[ints[OTHER_P] + e]
        powers[2 * b + ints[ints[OTHER_BUS] + e]] -= fed
        slack += fed
    meters, at = ints[TERM_START + 1] - ints[TERM_START] - 2, 3 * m + b
    for meter in range(meters + 1):
        read = complex(0.0, 0.0)
        for e in range(ints[ints[TERM_START] + meter], ints[ints[TERM_START] + meter + 1]):
            read += floats[ints[SIGN] + e] * powers[ints[ints[TERM_INDEX] + e]]
        if meter < meters:
            out[at + meter], out[at + meters + meter] = read.real, read.imag
        else:
            slack += read
    end = at + 2 * meters
    out[end], out[end + 1], out[end + 2], out[end + 3] = loss, slack.real, slack.imag, residual


@part(error_model="numpy", nogil=True)
def _feed(ints, floats, leaving, drawn):
    """Take what generators feed in from what their buses draw, as :mod:`powergrid.powerflow.generation` shares it."""
    for e in range(ints[UNIT_AT + 1] - ints[UNIT_AT]):
        q, h = 0.0, ints[ints[UNIT_HELD] + e]
        if h >= 0:
            total, missing = floats[ints[HELD_SPAN] + h], leaving[ints[ints[HELD_AT] + h]].imag
            if isfinite(total) and total > 0:
                low, share = floats[ints[UNIT_LOW] + e], floats[ints[UNIT_SPAN] + e] / total
                q = low + share * (missing - floats[ints[HELD_MIN] + h])
            else:
                q = missing / ints[ints[HELD_COUNT] + h]
        drawn[ints[ints[UNIT_BUS] + e]] -= complex(floats[ints[UNIT_P] + e], q)
