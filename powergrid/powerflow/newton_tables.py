"""What the compiled Newton's method reads: the network and the pattern of its Jacobian in elimination order.

The Jacobian is eliminated by blocks of two, angle and magnitude of a node, without exchanging rows. Its pattern, fill
included, is that of the nodal admittance matrix and is found once per network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.powerflow.compiled import Compiled, Sparse, Terms
from powergrid.powerflow.generation import Units

INTS = (
    "lower_start", "lower_col", "upper_start", "upper_col",  # pattern of the factors by rows
    "y_start", "y_col", "y_diagonal",  # admittance matrix by rows
    "regulator", "tap_ff", "tap_ft", "tap_tf", "tap_tt",  # branches with a tap, and where their admittances are
    "bus_at", "from_bus", "to_bus", "cap_bus", "unit_bus", "unit_at", "unit_held", "source_at", "other_bus",
    "held_at", "held_count", "term_start", "term_index",
)  # fmt: skip
"""Slots of the integers: slot s is ``ints[ints[s] : ints[s + 1]]``."""
(L_START, L_COL, U_START, U_COL, Y_START, Y_COL, Y_DIAGONAL, REGULATOR, TAP_FF, TAP_FT, TAP_TF, TAP_TT, BUS_AT,
 FROM_BUS, TO_BUS, CAP_BUS, UNIT_BUS, UNIT_AT, UNIT_HELD, SOURCE_AT, OTHER_BUS, HELD_AT, HELD_COUNT, TERM_START,
 TERM_INDEX) = range(25)  # fmt: skip
FLOATS = (
    "y_re", "y_im", "series_re", "series_im", "half_re", "half_im", "gain_re", "gain_im", "percent_from", "percent_to",
    "shunt_p", "shunt_q", "cap_p", "cap_q", "unit_p", "unit_low", "unit_span", "held_min", "held_max", "held_span",
    "source_v", "source_angle", "other_p", "sign",
)  # fmt: skip
"""Slots of the floats: slot s is ``floats[ints[s] : ints[s + 1]]``, numbered after the integers' 26 bounds."""
(Y_RE, Y_IM, SERIES_RE, SERIES_IM, HALF_RE, HALF_IM, GAIN_RE, GAIN_IM, PERCENT_FROM, PERCENT_TO, SHUNT_P, SHUNT_Q,
 CAP_P, CAP_Q, UNIT_P, UNIT_LOW, UNIT_SPAN, HELD_MIN, HELD_MAX, HELD_SPAN, SOURCE_V, SOURCE_ANGLE, OTHER_P, SIGN,
 ) = range(26, 50)  # fmt: skip


class Pattern(NamedTuple):
    """Places of the Jacobian of a given Ybus pattern, in an order that fills little.

    Attributes
    ----------
    row, column
        Node of each entry of Ybus.
    diagonal
        Place of each node's diagonal entry in Ybus.
    source
        Which of the four blocks' entries each entry of the Jacobian is.
    indices, indptr
        The Jacobian as CSC.
    order
        Unknown at each place of the elimination order.
    """

    row: np.ndarray
    column: np.ndarray
    diagonal: np.ndarray
    source: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    order: np.ndarray


def pack(compiled: Compiled, own: Units, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """Lay all tables into one array of integers and one of floats; nodes are numbered in elimination order."""
    ybus = compiled.ybus()
    nodes = elimination_order(ybus)
    place = np.empty(len(nodes), np.int64)
    place[nodes] = np.arange(len(nodes))
    tables = {**_pattern(ybus, place), **_admittances(compiled, place), **_elements(compiled, own, terms, place)}
    ints, floats = [np.asarray(tables[name]) for name in INTS], [np.asarray(tables[name], float) for name in FLOATS]
    head = len(ints) + 1 + len(floats) + 1
    bounds = np.concatenate([np.cumsum([head, *map(len, ints)]), np.cumsum([0, *map(len, floats)])])
    return np.concatenate([bounds, *ints]).astype(np.int64), np.concatenate(floats)


def elimination_order(ybus: Sparse) -> np.ndarray:
    """Node at each place of an order that fills little."""
    shape = abs(ybus) + abs(ybus).T
    dominant = (shape + sp.diags_array(np.asarray(shape.sum(axis=1)).ravel() + 1.0)).tocsc()
    return np.argsort(splu(dominant, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).perm_c)


def _pattern(ybus: Sparse, place: np.ndarray) -> dict[str, np.ndarray]:
    """Pattern of the factors by rows, strictly below and above the diagonal, as the elimination tree fills it."""
    size, entries = len(place), sp.coo_array(ybus)
    low, high = np.sort(np.stack([place[entries.row], place[entries.col]]), axis=0)
    above: list[set[int]] = [set() for _ in range(size)]
    for a, b in zip(low.tolist(), high.tolist(), strict=True):
        if a != b:
            above[a].add(b)
    for columns in above:
        if columns:  # what this row fills, it fills in the first row below it, and that one in the next
            parent = min(columns)
            above[parent] |= columns - {parent}
    rows = np.repeat(np.arange(size), [len(columns) for columns in above])
    column = np.array([j for row in above for j in sorted(row)], np.int64)
    upper = sp.csr_array((np.ones(len(rows)), (rows, column)), shape=(size, size))
    lower = sp.csr_array(upper.T)
    lower.sort_indices()
    return {
        "lower_start": lower.indptr, "lower_col": lower.indices,
        "upper_start": upper.indptr, "upper_col": upper.indices,
    }  # fmt: skip


def _admittances(compiled: Compiled, place: np.ndarray) -> dict[str, np.ndarray]:
    """Admittance matrix by rows without the branches that have taps, and where these add theirs."""
    full = abs(compiled.ybus())
    own = sp.coo_array(compiled.ybus(regulators=False))
    size, pattern = full.shape[0], sp.coo_array(full)
    row = np.concatenate([place[pattern.row], place])
    column = np.concatenate([place[pattern.col], place])
    keys = np.unique(row * size + column)
    y = np.zeros(len(keys), complex)
    np.add.at(y, np.searchsorted(keys, place[own.row] * size + place[own.col]), own.data)
    f, t = (place[ends[compiled.regulator]] for ends in (compiled.from_node, compiled.to_node))
    start = np.concatenate([[0], np.cumsum(np.bincount(keys // size, minlength=size))])
    where = {
        name: np.minimum(np.searchsorted(keys, a * size + b), len(keys) - 1)
        for name, (a, b) in {"ff": (f, f), "ft": (f, t), "tf": (t, f), "tt": (t, t)}.items()
    }
    at = np.arange(size)
    return {
        "y_start": start, "y_col": keys % size, "y_diagonal": np.searchsorted(keys, at * size + at),
        "y_re": y.real, "y_im": y.imag, "regulator": compiled.regulator,
        **{f"tap_{ends}": places for ends, places in where.items()},
    }  # fmt: skip


def _elements(compiled: Compiled, own: Units, terms: Terms, place: np.ndarray) -> dict[str, np.ndarray]:
    """Buses, branches, generators, sources and meters."""
    n, live = compiled.n_node, compiled.live
    beside = np.bincount(own.node, own.p_mw, n + 1)
    held_span = np.bincount(own.at[own.at >= 0], (own.q_max_mvar - own.q_min_mvar)[own.at >= 0], len(own.held))
    return {
        "bus_at": place[compiled.node], "from_bus": compiled.from_bus, "to_bus": compiled.to_bus,
        "cap_bus": compiled.cap_bus, "unit_bus": own.bus, "unit_at": place[own.node], "unit_held": own.at,
        "source_at": place[np.append(own.source_node, n)], "other_bus": compiled.other_source_bus,
        "held_at": place[own.held], "held_count": np.bincount(own.at[own.at >= 0], minlength=len(own.held)),
        "term_start": terms.start, "term_index": terms.power, "sign": terms.sign,
        "series_re": compiled.series.real, "series_im": compiled.series.imag,
        "half_re": compiled.half_shunt.real, "half_im": compiled.half_shunt.imag,
        "gain_re": compiled.gain.real, "gain_im": compiled.gain.imag,
        "percent_from": compiled.percent_from * live, "percent_to": compiled.percent_to * live,
        "shunt_p": compiled.shunt.real, "shunt_q": compiled.shunt.imag,
        "cap_p": compiled.cap.real, "cap_q": compiled.cap.imag,
        "unit_p": own.p_mw, "unit_low": own.q_min_mvar, "unit_span": own.q_max_mvar - own.q_min_mvar,
        "held_min": own.q_min, "held_max": own.q_max, "held_span": held_span,
        "source_v": np.abs(own.source_v), "source_angle": np.angle(own.source_v), "other_p": beside[own.source_node],
    }  # fmt: skip


def pattern_of(ybus: Sparse) -> Pattern:
    """Pattern of the Jacobian of a nodal admittance matrix, for SciPy."""
    size, row = ybus.shape[0], ybus.indices
    column = np.repeat(np.arange(size), np.diff(ybus.indptr))
    diagonal = np.flatnonzero(row == column)
    nodes = elimination_order(ybus)
    order = np.stack([nodes, nodes + size], axis=1).ravel()  # angle and magnitude of a node side by side
    place = np.empty(2 * size, np.int64)
    place[order] = np.arange(2 * size)
    rows = np.concatenate([place[row + size * up] for up in (0, 0, 1, 1)])
    columns = np.concatenate([place[column + size * right] for right in (0, 1, 0, 1)])
    source = np.lexsort((rows, columns))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=2 * size))])
    return Pattern(row, column, diagonal, source, rows[source].astype(np.int32), indptr.astype(np.int32), order)
