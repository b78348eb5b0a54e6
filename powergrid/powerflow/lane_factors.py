"""The trailing block of each scenario of :mod:`powergrid.powerflow.sparse_lu`: its regulators and topology, factored.

What differs between scenarios, taps and closed elements, goes into the lanes one by one; the elimination goes through
all lanes together.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from powergrid.powerflow.slots import (
    BUS_AT,
    CAP_P,
    CLOSED,
    DEAD_PLACE,
    DEAD_START,
    FROM_AT,
    GAIN_IM,
    GAIN_RE,
    GROUND_PLACE,
    GROUND_START,
    HALF_IM,
    HALF_RE,
    MOVING_ELEMENT,
    MOVING_FROM,
    MOVING_IM,
    MOVING_PLACE,
    MOVING_RE,
    MOVING_SOURCE,
    NO_LOAD_IM,
    NO_LOAD_RE,
    REGULATOR,
    REGULATOR_PLACE,
    T_COL,
    T_DIAGONAL,
    T_IM,
    T_RE,
    T_START,
    T_TARGET,
    TAP,
    TO_AT,
    Y_IM,
    Y_RE,
    B,
    J,
    V,
    is_closed,
    leaf,
)  # fmt: skip
from powergrid.powerflow.vectors import Operations


def make_factor(do: Operations) -> Callable:
    """Compiled factors of a fixed number of lanes."""
    lanes, width = do.lanes, 2 * do.lanes
    product, subtract_product, reciprocal = do.product, do.subtract_product, do.reciprocal

    @leaf
    def refactor(ints, work, block):
        """LU of the trailing block by rows, in place; the diagonal becomes its reciprocal."""
        start, col = ints[ints[T_START] : ints[T_START + 1]], ints[ints[T_COL] : ints[T_COL + 1]]
        diagonal, o = ints[ints[T_DIAGONAL] : ints[T_DIAGONAL + 1]], ints[T_TARGET]
        for i in range(len(diagonal)):
            for e in range(start[i], diagonal[i]):
                d, at = diagonal[col[e]], block + e * width
                product(work, at, at, block + d * width)
                for u in range(d + 1, start[col[e] + 1]):
                    subtract_product(work, block + ints[o] * width, at, block + u * width)
                    o += 1
            reciprocal(work, block + diagonal[i] * width, block + diagonal[i] * width)

    @leaf
    def factor(ints, floats, rows, who, flat, work, step):
        """The block as it is shared, then what each scenario adds to it, then its factors."""
        block = B * step
        for e in range(ints[T_COL + 1] - ints[T_COL]):
            re, im = floats[ints[T_RE] + e], floats[ints[T_IM] + e]
            for lane in range(lanes):
                flat[block + e * width + lane] = re
            for lane in range(lanes):
                flat[block + e * width + lanes + lane] = im
        for lane in range(len(who)):
            _set_taps(ints, floats, rows[who[lane]], work[B], work[J], lane)
            if ints[CLOSED + 1] > ints[CLOSED]:
                _set_topology(ints, floats, rows[who[lane]], work, lane)
        refactor(ints, flat, block)

    return factor


@leaf
def _set_taps(ints, floats, row, block, current, lane):
    """Add the regulators at this scenario's taps to the trailing block and to the source currents."""
    lanes = block.shape[1] // 2
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
def _set_topology(ints, floats, row, work, lane):
    """Add the elements that are closed in this scenario's topology, and earth its dead islands, at no voltage."""
    block, current, v, lanes, at = (
        work[B],
        work[J],
        work[V],
        work.shape[2] // 2,
        1 + ints[TAP + 1] - ints[TAP] + ints[CAP_P + 1] - ints[CAP_P],
    )
    topology, n_entries = int(row[at]), ints[MOVING_ELEMENT + 1] - ints[MOVING_ELEMENT]
    for e in range(n_entries):
        if not is_closed(ints, topology, ints[ints[MOVING_ELEMENT] + e]):
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
    for e in range(ints[ints[DEAD_START] + topology], ints[ints[DEAD_START] + topology + 1]):
        if ints[ints[DEAD_PLACE] + e] < ints[BUS_AT + 1] - ints[BUS_AT]:
            at = ints[ints[BUS_AT] + ints[ints[DEAD_PLACE] + e]]
            v[at, lane] = v[at, lanes + lane] = 0.0
