"""One iteration of :mod:`powergrid.powerflow.sparse_lu`: currents at V, forward and backward through the factors."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable

from powergrid.powerflow.slots import (
    BUS_AT,
    CAP_BUS,
    D_IM,
    D_RE,
    EXTRA_AT,
    EXTRA_OF,
    L_COL,
    L_IM,
    L_RE,
    L_START,
    NO_LOAD_RE,
    PAIR_A,
    PAIR_B,
    STATE,
    T_COL,
    T_DIAGONAL,
    T_START,
    U_COL,
    U_IM,
    U_RE,
    U_START,
    B,
    C,
    E,
    J,
    S,
    V,
    X,
    leaf,
)  # fmt: skip
from powergrid.powerflow.vectors import Operations


def make_sweep(do: Operations) -> Callable:
    """Compiled iteration over a fixed number of lanes."""
    lanes, width = do.lanes, 2 * do.lanes
    current, drawn, add, difference = do.current, do.drawn, do.add, do.difference
    subtract, scale, subtract_product, product = do.subtract, do.scale, do.subtract_product, do.product
    settle, settle_scaled = do.settle, do.settle_scaled

    @leaf
    def extras(ints, work, step, zip_load):
        """Place of the currents into nodes from the source, from switchable shunts and from loads between two nodes."""
        pairs, caps = ints[PAIR_A + 1] - ints[PAIR_A], ints[CAP_BUS + 1] - ints[CAP_BUS]
        if pairs == 0 and caps == 0:
            return J * step
        v, nodes = V * step, ints[NO_LOAD_RE + 1] - ints[NO_LOAD_RE]
        for i in range((ints[EXTRA_AT + 1] - ints[EXTRA_AT]) * width):
            work[E * step + i] = work[J * step + i]
        for e in range(caps):
            k = ints[ints[BUS_AT] + ints[ints[CAP_BUS] + e]]
            if ints[ints[EXTRA_OF] + k] >= 0:
                into = E * step + ints[ints[EXTRA_OF] + k] * width
                subtract_product(work, into, C * step + e * width, v + k * width)
        between, power = X * step, X * step + width  # free until the sweep
        for e in range(pairs):
            i, j = ints[ints[PAIR_A] + e], ints[ints[PAIR_B] + e]
            of = S * step + (nodes + e) * width
            difference(work, between, v + i * width, v + j * width)
            if zip_load:
                drawn(work, power, between, of, step)
                of = power
            current(work, power, between, of)
            i, j = ints[ints[EXTRA_OF] + i], ints[ints[EXTRA_OF] + j]
            if i >= 0:
                add(work, E * step + i * width, power)
            if j >= 0:
                difference(work, E * step + j * width, E * step + j * width, power)
        return E * step

    @leaf
    def forward(ints, floats, work, step, zip_load):
        """X <- L^-1 (currents into the nodes at V)."""
        v, s, x, extra = V * step, S * step, X * step, extras(ints, work, step, zip_load)
        start, col = ints[ints[L_START] : ints[L_START + 1]], ints[ints[L_COL] : ints[L_COL + 1]]
        re, im = floats[ints[L_RE] : ints[L_RE + 1]], floats[ints[L_IM] : ints[L_IM + 1]]
        extra_of = ints[ints[EXTRA_OF] : ints[EXTRA_OF + 1]]
        for k in range(ints[L_START + 1] - ints[L_START] - 1):
            at = k * width
            if zip_load:
                drawn(work, x + at, v + at, s + at, step)
                current(work, x + at, v + at, x + at)
            else:
                current(work, x + at, v + at, s + at)
            if extra_of[k] >= 0:
                add(work, x + at, extra + extra_of[k] * width)
            for e in range(start[k], start[k + 1]):
                subtract(work, x + at, x + col[e] * width, re[e], im[e])

    @leaf
    def trailing(ints, work, step, shared, size):
        """X <- (LU)^-1 X of the trailing block, each lane with its own factors."""
        start, col = ints[ints[T_START] : ints[T_START + 1]], ints[ints[T_COL] : ints[T_COL + 1]]
        diagonal, b, x = ints[ints[T_DIAGONAL] : ints[T_DIAGONAL + 1]], B * step, X * step + shared * width
        for k in range(size):
            for e in range(start[k], diagonal[k]):
                subtract_product(work, x + k * width, b + e * width, x + col[e] * width)
        for k in range(size - 1, -1, -1):
            for e in range(diagonal[k] + 1, start[k + 1]):
                subtract_product(work, x + k * width, b + e * width, x + col[e] * width)
            product(work, x + k * width, b + diagonal[k] * width, x + k * width)
            settle(work, V * step + (shared + k) * width, x + k * width, STATE * step)

    @leaf
    def sweep(ints, floats, work, step, zip_load):
        """V <- Y^-1 (source currents - conj(S / V)), S = P + P_i |V| + P_z |V|^2, and its largest change.

        Lanes that are not live keep their V. V is replaced while X is solved backward: what a lane that is not live
        then computes from its old V is discarded.
        """
        v, x, state = V * step, X * step, STATE * step
        n, shared = ints[L_START + 1] - ints[L_START] - 1, ints[U_START + 1] - ints[U_START] - 1
        for lane in range(lanes):
            work[state + lane] = 0.0
        forward(ints, floats, work, step, zip_load)
        trailing(ints, work, step, shared, n - shared)
        start, col = ints[ints[U_START] : ints[U_START + 1]], ints[ints[U_COL] : ints[U_COL + 1]]
        re, im = floats[ints[U_RE] : ints[U_RE + 1]], floats[ints[U_IM] : ints[U_IM + 1]]
        d_re, d_im = floats[ints[D_RE] : ints[D_RE + 1]], floats[ints[D_IM] : ints[D_IM + 1]]
        for k in range(shared - 1, -1, -1):
            at, first, last = k * width, start[k], start[k + 1]
            if last - first == 1:  # nearly all rows of a radial network: a node and the one before it
                before = v + col[first] * width
                settle_scaled(work, v + at, x + at, state, before, d_re[k], d_im[k], re[first], im[first])
            else:
                scale(work, x + at, x + at, d_re[k], d_im[k])
                for e in range(first, last):
                    subtract(work, x + at, v + col[e] * width, re[e], im[e])
                settle(work, v + at, x + at, state)

    return sweep
