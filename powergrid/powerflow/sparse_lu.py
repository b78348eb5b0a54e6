"""The CPU default: a fixed point on sparse LU factors, many environments side by side.

Solves ``Y V = I_source - conj(S(V) / V)`` by iterating ``V <- Y^-1 (I_source - conj(S(V) / V))`` (the implicit Z-bus
method: Chen, Chen, Hwang, Kotas and Chebli, "Distribution system power flow analysis - a rigid approach", IEEE Trans.
Power Delivery 6(3), 1991). `Y` is factored once, see :mod:`powergrid.powerflow.factors`; taps that differ refactor its
small trailing block only. A batch runs through `LANES` lanes that advance together as SIMD vectors. A lane that has
converged is written out and takes the next scenario, so no scenario waits for, or depends on, its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.powerflow.compile import Compiled, compile_network
from powergrid.powerflow.factors import Factors, factorise
from powergrid.powerflow.lanes import Grid, Lu, Trailing, solve_many, solve_one

if TYPE_CHECKING:
    from powergrid.networks.network import Network

@dataclass(frozen=True, eq=False)
class Plan:
    """What :func:`solve` needs, made once per network by :func:`plan`.

    Attributes
    ----------
    compiled
        The network as matrices and tables.
    tol_pu, max_iter
        Tolerance on the largest voltage change [pu] and limit of iterations.
    meters
        Metered branches.
    ints, floats
        Packed tables of the compiled code.
    columns
        Where each output lies in a row of results.
    """

    compiled: Compiled
    tol_pu: float
    max_iter: int
    meters: tuple[int, ...]
    ints: np.ndarray
    floats: np.ndarray
    columns: tuple[slice, ...]
    width: int
    energised: np.ndarray


def plan(
    network: Network,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 100,
    meters: Sequence[int] = (),
    topologies: Sequence[Any] = (),
) -> Plan:
    """Compile and factor a network.

    Parameters
    ----------
    network
        The network.
    tol_pu
        Largest change of a voltage in the last iteration [pu].
    max_iter
        Iterations after which a flow counts as not converged.
    meters
        Branches whose power at their from bus is reported in ``p_meter_mw`` and ``q_meter_mvar``.
    topologies
        Reserved for outages declared beforehand; must be empty.

    Returns
    -------
    Plan
        To be given to :func:`solve`.

    Raises
    ------
    NetworkError
        If the network cannot be solved by any method: dead islands, branches without impedance, singular matrix.
    """
    if len(topologies):
        raise NetworkError("sparse_lu solves one topology a plan; make a plan for each outage instead of topologies=")
    compiled = compile_network(network)
    factors = factorise(compiled)
    ints, floats = _tables(compiled, factors, meters)
    m, b, k = compiled.n_bus, compiled.n_branch, len(meters)
    stops = np.cumsum([0, m, m, m, b, k, k]).tolist()
    return Plan(
        compiled=compiled,
        tol_pu=float(tol_pu),
        max_iter=int(max_iter),
        meters=tuple(int(branch) for branch in meters),
        ints=ints,
        floats=floats,
        columns=tuple(slice(a, z) for a, z in zip(stops, stops[1:], strict=False)),
        width=stops[-1] + 4,
        energised=np.ones(m, bool),
    )


def solve(plan: Plan, load: NodeLoad, control: Control = Control(), start: Flow | None = None) -> Flow:  # noqa: B008
    """Solve the power flow of one scenario or of a batch.

    Parameters
    ----------
    plan
        From :func:`plan`.
    load
        What each bus draws, ``(*batch, m)``.
    control
        Taps, switchable shunts and source voltage; ``None`` fields keep the network's own.
    start
        An earlier flow (anything with ``v_re`` and ``v_im``) to start from; no-load voltages by default.

    Returns
    -------
    Flow
        Finite in every case; ``converged`` is False where the iteration did not settle or the input was not a number.
        A scenario's result is bit for bit the same alone and in any batch.
    """
    if control.topology is not None:
        raise NetworkError("sparse_lu solves one topology a plan; leave Control.topology None")
    given = (*load, control.tap_ratio, control.cap_on, control.v_source_pu)
    given += (None, None) if start is None else (start.v_re, start.v_im)
    arrays = [_NONE if a is None else _float64(a) for a in given]
    if arrays[0].ndim == 1 and all(a.ndim <= 1 for a in arrays):
        return _solve_single(plan, arrays)
    return _solve_batch(plan, arrays)


_NONE = np.zeros(0)
_SCALAR = 8  # place of v_source_pu among the inputs: the only one without a trailing axis


def _float64(a: Any) -> np.ndarray:
    if type(a) is np.ndarray and a.dtype == np.float64 and a.flags.c_contiguous:
        return a
    return np.asarray(a, dtype=np.float64, order="C")


def _solve_single(plan: Plan, arrays: list[np.ndarray]) -> Flow:
    arrays[_SCALAR] = arrays[_SCALAR].reshape(-1)
    _check_widths(plan.compiled, arrays)
    row = np.empty(plan.width)
    iterations, converged = solve_one(plan.ints, plan.floats, *arrays, plan.tol_pu, plan.max_iter, row)
    return _flow(plan, row, np.int64(iterations), np.bool_(converged), plan.energised)


def _solve_batch(plan: Plan, arrays: list[np.ndarray]) -> Flow:
    lead = [a.shape if i == _SCALAR else a.shape[:-1] for i, a in enumerate(arrays) if a is not _NONE]
    batch = np.broadcast_shapes(*lead)
    for i, a in enumerate(arrays):
        width = () if i == _SCALAR else a.shape[-1:]
        if a is _NONE:
            arrays[i] = np.zeros((0, *(() if i == _SCALAR else (0,))))
        elif a.shape[: a.ndim - len(width)] == batch or a.size == np.prod(width, dtype=int):
            arrays[i] = a.reshape(-1, *width)
        else:
            arrays[i] = np.ascontiguousarray(np.broadcast_to(a, batch + width)).reshape(-1, *width)
    _check_widths(plan.compiled, arrays)
    count = int(np.prod(batch, dtype=int))
    rows, iterations, converged = np.empty((count, plan.width)), np.empty(count, np.int64), np.empty(count, np.bool_)
    solve_many(plan.ints, plan.floats, *arrays, plan.tol_pu, plan.max_iter, rows, iterations, converged)
    energised = np.broadcast_to(plan.energised, (*batch, plan.compiled.n_bus))
    return _flow(plan, rows.reshape(*batch, plan.width), iterations.reshape(batch), converged.reshape(batch), energised)


def _flow(plan: Plan, rows: np.ndarray, iterations: Any, converged: Any, energised: np.ndarray) -> Flow:
    v_re, v_im, v_pu, loading, p_meter, q_meter = plan.columns
    if rows.ndim == 1:
        loss, p_slack, q_slack, residual = rows[-4:]
        return Flow(
            rows[v_re], rows[v_im], rows[v_pu], rows[loading], loss, p_slack, q_slack,
            rows[p_meter], rows[q_meter], residual, iterations, converged, energised,
        )  # fmt: skip
    return Flow(
        rows[..., v_re], rows[..., v_im], rows[..., v_pu], rows[..., loading], rows[..., -4], rows[..., -3],
        rows[..., -2], rows[..., p_meter], rows[..., q_meter], rows[..., -1], iterations, converged, energised,
    )  # fmt: skip


def _check_widths(compiled: Compiled, arrays: list[np.ndarray]) -> None:
    """Compiled code does not check bounds, so widths are checked here."""
    m, k, c = compiled.n_bus, len(compiled.regulator), len(compiled.cap_bus)
    for a, width, what in zip(arrays, (m, m, m, m, m, m, k, c, None, m, m), _INPUTS, strict=True):
        if width is not None and a.shape[-1] != width and a.size:
            raise NetworkError(f"{what} has {a.shape[-1]} columns; this network needs {width}")
    if arrays[0].shape[-1] != m or arrays[1].shape[-1] != m:
        raise NetworkError(f"p_mw and q_mvar need {m} columns, one a bus")


_INPUTS = (
    "p_mw", "q_mvar", "p_i_mw", "q_i_mvar", "p_z_mw", "q_z_mvar", "tap_ratio", "cap_on", "v_source_pu",
    "start.v_re", "start.v_im",
)  # fmt: skip


def _tables(compiled: Compiled, factors: Factors, meters: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """All that compiled code reads as one array of integers, headed by the slots' bounds, and one of floats.

    Every array that crosses from Python costs about 0.2 us, so that 46 of them would cost more than the solution.
    """
    lower, upper, trailing = factors.lower, factors.upper, factors.trailing
    diagonal = _diagonal(trailing)
    groups = (
        Lu(
            lower.indptr, lower.indices, upper.indptr, upper.indices, lower.data.real, lower.data.imag, upper.data.real,
            upper.data.imag, factors.pivot.real, factors.pivot.imag,
        ),
        Trailing(
            trailing.indptr, trailing.indices, diagonal, _targets(trailing, diagonal), trailing.data.real,
            trailing.data.imag,
        ),
        _grid(compiled, factors, meters),
    )  # fmt: skip
    arrays = [array for group in groups for array in group]
    integer = [np.issubdtype(array.dtype, np.integer) for array in arrays]
    bounds, ends = [], {True: 2 * len(arrays), False: 0}
    for array, kind in zip(arrays, integer, strict=True):
        bounds += [ends[kind], ends[kind] + len(array)]
        ends[kind] += len(array)
    header = np.concatenate([bounds, *(a for a, kind in zip(arrays, integer, strict=True) if kind)])
    table = np.concatenate([a for a, kind in zip(arrays, integer, strict=True) if not kind])
    return header.astype(np.int64), table.astype(np.float64)


def _grid(compiled: Compiled, factors: Factors, meters: Sequence[int]) -> Grid:
    n, position, regulator = compiled.n_node, factors.position, compiled.regulator
    at_bus = position[compiled.node]
    a_bus = np.empty(n + 1, np.int64)
    a_bus[at_bus] = np.arange(compiled.n_bus)
    from_at, to_at = position[compiled.from_node], position[compiled.to_node]
    current = np.zeros(n + 1, complex)  # per pu of source voltage, without regulators
    current[position] = -compiled.ybus(regulators=False)[:, n].toarray()[:, 0]
    adjacent = current != 0
    adjacent[from_at[regulator[to_at[regulator] == n]]] = True
    adjacent[to_at[regulator[from_at[regulator] == n]]] = True
    source_at = np.flatnonzero(adjacent[:n])
    no_load = np.ones(n + 1, complex)
    y = compiled.ybus()
    if n:
        no_load[position[:n]] = splu(y[:n, :n].tocsc()).solve(-y[:n, n].toarray()[:, 0])
    regulator_of = np.full(compiled.n_branch, -1)
    regulator_of[regulator] = np.arange(len(regulator))
    places = _regulator_places(factors, from_at[regulator], to_at[regulator], source_at)
    terms = compiled.terms(meters)
    return Grid(
        position=at_bus,
        bus=a_bus,
        source_at=source_at,
        from_at=from_at,
        to_at=to_at,
        regulator=regulator,
        regulator_of=regulator_of,
        regulator_place=places,
        cap_bus=compiled.cap_bus,
        term_start=terms.start,
        term_index=terms.index,
        source_re=current[source_at].real,
        source_im=current[source_at].imag,
        y_re=compiled.series.real,
        y_im=compiled.series.imag,
        half_re=compiled.half_shunt.real,
        half_im=compiled.half_shunt.imag,
        gain_re=compiled.gain.real,
        gain_im=compiled.gain.imag,
        percent_from=compiled.percent_from,
        percent_to=compiled.percent_to,
        shunt_p=compiled.shunt.real,
        shunt_q=compiled.shunt.imag,
        cap_p=compiled.cap.real,
        cap_q=compiled.cap.imag,
        sign=terms.sign,
        no_load_re=no_load.real,
        no_load_im=no_load.imag,
        tap=compiled.tap_ratio,
        v_source=np.array([compiled.source_v_pu]),
    )


def _diagonal(matrix: sp.csr_matrix) -> np.ndarray:
    """Place of each row's diagonal entry among the stored entries."""
    return np.array([_place(matrix, i, i) for i in range(matrix.shape[0])], np.int64)


def _place(matrix: sp.csr_matrix, row: int, column: int) -> int:
    start = matrix.indptr[row]
    return int(start + np.searchsorted(matrix.indices[start : matrix.indptr[row + 1]], column))


def _targets(matrix: sp.csr_matrix, diagonal: np.ndarray) -> np.ndarray:
    """Entries that elimination by rows changes, in its order: (i, j) for each k < i in row i and each j > k in row k."""
    start, column = matrix.indptr, matrix.indices
    return np.array(
        [
            _place(matrix, i, column[u])
            for i in range(matrix.shape[0])
            for e in range(start[i], diagonal[i])
            for u in range(diagonal[column[e]] + 1, start[column[e] + 1])
        ],
        np.int64,
    )


def _regulator_places(factors: Factors, f: np.ndarray, t: np.ndarray, source_at: np.ndarray) -> np.ndarray:
    """Six numbers a regulator, see :class:`~powergrid.powerflow.lanes.Grid`."""
    n, shared, places = len(factors.position) - 1, factors.n_shared, []
    for ends in zip(f, t, strict=True):
        for row in ends:
            for column in ends:
                inside = row < n and column < n
                places.append(_place(factors.trailing, row - shared, column - shared) if inside else -1)
        for end, other in ((ends[1], ends[0]), (ends[0], ends[1])):
            places.append(int(np.searchsorted(source_at, end)) if other == n and end < n else -1)
    return np.array(places, np.int64)
