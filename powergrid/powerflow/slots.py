"""What the compiled code of :mod:`powergrid.powerflow.sparse_lu` reads and works on.

Few arrays cross from Python, for each costs about 0.2 us: one of integers, one of floats, and a row of inputs and a row
of outputs per scenario. Compiled without fast-math, so that a scenario has the same bits whatever its neighbours do.
Functions that allocate nothing are compiled without reference counting (`_nrt`), which otherwise costs more than the
arithmetic between two slices.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

import powergrid.core.symbols  # noqa: F401  (names of what is compiled here)
from powergrid.core.machine_code import part

INTS = (
    "lower_start", "lower_col", "upper_start", "upper_col",  # shared factors by rows
    "trail_start", "trail_col", "trail_diagonal", "trail_target",  # the regulators' block by rows
    "bus_at", "load_at", "other_bus", "extra_at", "extra_of", "from_at", "to_at",  # positions in elimination order
    "branch_at", "regulator", "regulator_of", "regulator_place", "cap_bus", "term_start", "term_index",
    "terminal_at", "terminal_first", "terminal_size", "terminal_y", "terminal_row", "terminal_of",  # of blocks
    "pair_a", "pair_b",  # nodes that a load lies between
    "moving_element", "moving_place", "moving_source", "moving_from", "closed", "branch_moving",  # topologies
    "dead_start", "dead_place", "ground_start", "ground_place",
)  # fmt: skip
"""Slots of the integers: slot s is ``ints[ints[s] : ints[s + 1]]``."""
(L_START, L_COL, U_START, U_COL, T_START, T_COL, T_DIAGONAL, T_TARGET, BUS_AT, LOAD_AT, OTHER_BUS, EXTRA_AT, EXTRA_OF,
 FROM_AT, TO_AT, BRANCH_AT, REGULATOR, REGULATOR_OF, REGULATOR_PLACE, CAP_BUS, TERM_START, TERM_INDEX,
 TERMINAL_AT, TERMINAL_FIRST, TERMINAL_SIZE, TERMINAL_Y, TERMINAL_ROW, TERMINAL_OF, PAIR_A, PAIR_B,
 MOVING_ELEMENT, MOVING_PLACE, MOVING_SOURCE, MOVING_FROM, CLOSED, BRANCH_MOVING, DEAD_START, DEAD_PLACE,
 GROUND_START, GROUND_PLACE,
 ) = range(40)  # fmt: skip
FLOATS = (
    "lower_re", "lower_im", "upper_re", "upper_im", "pivot_re", "pivot_im", "trail_re", "trail_im",
    "source_re", "source_im", "no_load_re", "no_load_im", "y_re", "y_im", "half_re", "half_im", "gain_re", "gain_im",
    "percent_from", "percent_to", "shunt_p", "shunt_q", "cap_p", "cap_q", "sign", "tap",
    "block_re", "block_im", "terminal_percent", "moving_re", "moving_im",
)  # fmt: skip
"""Slots of the floats: slot s is ``floats[ints[s] : ints[s + 1]]``, numbered after the integers' 41 bounds."""
(L_RE, L_IM, U_RE, U_IM, D_RE, D_IM, T_RE, T_IM, SOURCE_RE, SOURCE_IM, NO_LOAD_RE, NO_LOAD_IM, Y_RE, Y_IM, HALF_RE,
 HALF_IM, GAIN_RE, GAIN_IM, PERCENT_FROM, PERCENT_TO, SHUNT_P, SHUNT_Q, CAP_P, CAP_Q, SIGN, TAP,
 BLOCK_RE, BLOCK_IM, TERMINAL_PERCENT, MOVING_RE, MOVING_IM,
 ) = range(41, 72)  # fmt: skip
leaf = part(error_model="numpy", nogil=True, _nrt=False)

S, S_I, S_Z, V, X, B, J, C, E, STATE, N_WORK = range(11)
"""Working rows, slot by slot (see :mod:`powergrid.powerflow.vectors`): drawn power at constant power, current and
impedance; voltage; right-hand side, then solution, then results (magnitude at the node and loading of the branch of
that number); trailing block; source currents; admittances of the switchable shunts; all currents besides those of loads
at one node, then scratch; numbers by lane. Rows of powers behind the last node hold loads that lie between two nodes.
"""
CHANGE, LIVE, RESIDUAL, LOSS, TAPS, ON, N_STATE = range(7)
"""Numbers by lane at the beginning of `STATE`: largest change of a voltage, then the sum of their magnitudes; whether
the lane still moves; its last change; losses; gain of a regulator over its own, and whether a branch conducts.
"""
PAIR_I, PAIR_Z = 1.0 / np.sqrt(3.0), 1.0 / 3.0
"""Voltages between phases are per unit of the voltage to earth, loads between them of their own nominal voltage."""


def pack(tables: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lay tables named in :data:`INTS` and :data:`FLOATS` into one array of integers and one of floats."""
    ints, floats = [tables[name] for name in INTS], [tables[name] for name in FLOATS]
    head = len(ints) + 1 + len(floats) + 1
    bounds = np.concatenate([np.cumsum([head, *map(len, ints)]), np.cumsum([0, *map(len, floats)])])
    return np.concatenate([bounds, *ints]).astype(np.int64), np.concatenate(floats).astype(np.float64)


def height(ints: np.ndarray) -> int:
    """Working rows that the largest slot needs: nodes and loads between two, trailing entries, shunts or branches."""
    nodes, pairs, entries, shunts, branches = (
        int(ints[slot + 1] - ints[slot]) for slot in (NO_LOAD_RE, PAIR_A, T_COL, CAP_BUS, FROM_AT)
    )
    return max(nodes + pairs, entries, shunts, branches, 4)


@leaf
def is_closed(ints, topology, element):
    """Whether an element conducts in a topology."""
    elements = 1 + ints[ints[MOVING_ELEMENT + 1] - 1]
    return ints[ints[CLOSED] + topology * elements + element] > 0


@leaf
def conducts(ints, row, branch):
    """1 where a branch is closed in the scenario's topology or no topology moves it, else 0."""
    if ints[CLOSED + 1] == ints[CLOSED] or ints[ints[BRANCH_MOVING] + branch] < 0:
        return 1.0
    topology = int(row[1 + ints[TAP + 1] - ints[TAP] + ints[CAP_P + 1] - ints[CAP_P]])
    return 1.0 if is_closed(ints, topology, ints[ints[BRANCH_MOVING] + branch]) else 0.0
