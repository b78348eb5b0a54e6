"""The CPU default: a fixed point on sparse LU factors, many environments side by side.

Solves ``Y V = I_source - conj(S(V) / V)`` by iterating ``V <- Y^-1 (I_source - conj(S(V) / V))`` (the implicit Z-bus
method: Chen, Chen, Hwang, Kotas and Chebli, "Distribution system power flow analysis - a rigid approach", IEEE Trans.
Power Delivery 6(3), 1991). `Y` is factored once, see :mod:`powergrid.powerflow.factors`; taps that differ refactor its
small trailing block only. A batch runs through lanes that advance together as SIMD vectors and stop one by one, so that
no scenario's result depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.powerflow.compile import Compiled, batch_shape, compile_network, no_load_voltages
from powergrid.powerflow.compiled import Meter
from powergrid.powerflow.factors import Factors, factorise
from powergrid.powerflow.inputs import Voltages
from powergrid.powerflow.lanes import machine_code, own_workspace, solve_rows, workspace
from powergrid.powerflow.slots import INTS, height, pack
from powergrid.powerflow.topology import HOLD_PU, Elements, Place

if TYPE_CHECKING:
    from powergrid.networks.kinds import AnyNetwork


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
    height
        Rows that each slot of its workspace needs.
    tap_ratio
        The network's own regulator gains [1].
    inputs, outputs
        Where each input and output lies in a scenario's row.
    holds
        1 where a reference is in service in a topology, else 0, ``(T, references)``.
    defaults
        Beginning of a row, with the network's own controls.
    all_energised
        What :func:`solve` reports of one scenario of the network as given; not to be written to.
    """

    compiled: Compiled
    tol_pu: float
    max_iter: int
    meters: tuple[Meter, ...]
    ints: np.ndarray
    floats: np.ndarray
    height: int
    tap_ratio: np.ndarray
    inputs: tuple[slice, ...]
    outputs: tuple[slice, ...]
    holds: np.ndarray
    defaults: np.ndarray
    all_energised: np.ndarray


def plan(
    network: AnyNetwork,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 100,
    meters: Sequence[Meter] = (),
    topologies: Sequence[Elements] = (),
    forming: Sequence[Sequence[Place]] = (),
    buses: Sequence[int] | None = None,
) -> Plan:
    """Compile and factor a network.

    Parameters
    ----------
    network
        The network.
    tol_pu
        Largest change of a voltage in the last iteration, real plus imaginary part [pu].
    max_iter
        Iterations after which a flow counts as not converged.
    meters
        Branches whose power at their from bus is reported in ``p_meter_mw`` and ``q_meter_mvar``; several in one meter
        are added up, such as the phases of a line.
    topologies
        What ``Control.topology`` chooses from, each the branches (names or indices) that stand differently than in the
        network as given. Their ends join the small block that every scenario factors for itself.
    forming
        For each topology, the buses that hold its islands at 1 pu; what they deliver is reported in ``p_form_mw`` and
        ``q_form_mvar``, one column for each bus named, in order. Islands without one are dead.
    buses
        Buses that may draw or inject power. Sparse factors gain nothing from knowing, so every bus may.

    Returns
    -------
    Plan
        To be given to :func:`solve`.

    Raises
    ------
    NetworkError
        If buses have no path to the source, a branch has no impedance, the matrix is singular, a meter cannot be
        read, a topology names no branch, or a forming bus holds no island.
    """
    machine_code()
    compiled = compile_network(network, topologies, forming)
    ints, floats = pack(_tables(compiled, factorise(compiled), meters))
    m, b, k, c = compiled.n_bus, compiled.n_branch, len(compiled.regulator), len(compiled.cap_bus)
    w = compiled.n_place
    inputs = _slices(1, k, c, 1, w, w, w, w, w, w)
    defaults = np.zeros(inputs[3].stop)
    defaults[0], defaults[inputs[1]], defaults[inputs[2]] = compiled.source_v_pu, compiled.tap_ratio, 1.0
    all_energised = np.ones(m, bool)
    all_energised.flags.writeable = False
    return Plan(
        compiled=compiled,
        tol_pu=float(tol_pu),
        max_iter=int(max_iter),
        meters=tuple(meters),
        ints=ints,
        floats=floats,
        height=height(ints),
        tap_ratio=compiled.tap_ratio,
        holds=compiled.moving.holds.astype(float),
        outputs=_slices(m, m, m, b, *(len(meters), compiled.moving.n_reference) * 2, 4),
        inputs=inputs,
        defaults=defaults,
        all_energised=all_energised,
    )


def solve(plan: Plan, load: NodeLoad, control: Control | None = None, start: Voltages | None = None) -> Flow:
    """Solve the power flow of one scenario or of a batch.

    Parameters
    ----------
    plan
        From :func:`plan`.
    load
        What each bus draws, ``(*batch, m)``, and in a three-phase network what lies between two phases,
        ``(*batch, m + d)``; batch axes broadcast against those of `control` and `start`.
    control
        Taps, switchable shunts and source voltage; fields that are ``None`` keep the network's own.
    start
        Anything with ``v_re`` and ``v_im``, such as an earlier flow, to start from; no-load voltages by default.

    Returns
    -------
    Flow
        Finite in every case; ``converged`` is False where the iteration did not settle or the input was not a number.
        A scenario's result is bit for bit the same alone and in any batch.

    Raises
    ------
    NetworkError
        If an input has another width than the network, or chooses a topology that the plan lacks.
    """
    rows = _one_row(plan, load, control, start)
    if rows is not None:
        return _solve_one(plan, rows, any(part is not None for part in load[2:]), start is not None)
    batch = batch_shape(plan.compiled, load, control, start)
    rows, has_zip = _rows(plan, batch, load, control, start)
    count = rows.size // rows.shape[-1]
    out, iterations = np.empty((count, plan.outputs[-1].stop)), np.empty(count, np.int64)
    solve_rows(
        plan.ints, plan.floats, rows.reshape(count, -1), has_zip, start is not None, plan.tol_pu, plan.max_iter,
        workspace(plan.height), out, iterations,
    )  # fmt: skip
    out = out.reshape(*batch, -1)
    v_re, v_im, v_pu, loading, p_meter, p_form, q_meter, q_form, _ = plan.outputs
    power = out[..., p_form], out[..., q_form]
    if plan.holds.size:  # the meters of the others read rounding only
        chosen = 0 if control is None or control.topology is None else control.topology
        power = power[0] * plan.holds[chosen], power[1] * plan.holds[chosen]
    residual = out[..., -1]
    return Flow(
        v_re=out[..., v_re],
        v_im=out[..., v_im],
        v_pu=out[..., v_pu],
        loading=out[..., loading],
        loss_mw=out[..., -4],
        p_slack_mw=out[..., -3],
        q_slack_mvar=out[..., -2],
        p_meter_mw=out[..., p_meter],
        q_meter_mvar=out[..., q_meter],
        residual_pu=residual,
        iterations=iterations.reshape(batch),
        converged=residual < plan.tol_pu,
        energised=_energised(plan, batch, control),
        p_form_mw=power[0],
        q_form_mvar=power[1],
    )


def _one_row(plan: Plan, load: NodeLoad, control: Control | None, start: Voltages | None) -> np.ndarray | None:
    """Inputs of one scenario, ``(1, inputs)``, without the checks that a batch needs.

    ``None`` where something has batch axes, another width or chooses a topology; then :func:`_rows` builds them.
    """
    p, q, *by_voltage = load
    shape = (plan.compiled.n_place,)
    if plan.holds.size or not (type(p) is type(q) is np.ndarray and p.shape == q.shape == shape):
        return None
    _, tap, cap, _, at_p, at_q, *others = plan.inputs
    has_zip = any(part is not None for part in by_voltage)
    width, m = others[-1].stop if has_zip else at_q.stop, plan.compiled.n_bus
    rows = np.empty((1, width if start is None else width + 2 * m))
    rows[:, : at_p.start] = plan.defaults
    row = rows[0]
    row[at_p], row[at_q] = p, q
    if has_zip:
        for columns, part in zip(others, by_voltage, strict=True):
            if part is not None and np.shape(part) != shape:
                return None
            row[columns] = 0.0 if part is None else part
    if start is not None:
        v_re, v_im = start.v_re, start.v_im
        if not (type(v_re) is type(v_im) is np.ndarray and v_re.shape == v_im.shape == (m,)):
            return None
        row[width : width + m], row[width + m :] = v_re, v_im
    if control is not None:
        if control.topology is not None:
            return None
        if control.v_source_pu is not None:
            if np.ndim(control.v_source_pu):
                return None
            row[0] = control.v_source_pu
        for columns, chosen in ((tap, control.tap_ratio), (cap, control.cap_on)):
            if chosen is not None:
                if np.shape(chosen) != (columns.stop - columns.start,):
                    return None
                row[columns] = chosen
    return rows


def _solve_one(plan: Plan, rows: np.ndarray, has_zip: bool, has_start: bool) -> Flow:
    """The flow of one row."""
    v_re, v_im, v_pu, loading, p_meter, p_form, q_meter, q_form, rest = plan.outputs
    found, iterations = np.empty((1, rest.stop)), np.empty(1, np.int64)
    solve_rows(
        plan.ints, plan.floats, rows, has_zip, has_start, plan.tol_pu, plan.max_iter, workspace(plan.height), found,
        iterations,
    )  # fmt: skip
    out = found[0]
    residual = out[-1]
    return Flow(
        out[v_re], out[v_im], out[v_pu], out[loading], out[-4], out[-3], out[-2], out[p_meter], out[q_meter], residual,
        iterations[0], residual < plan.tol_pu, plan.all_energised, out[p_form], out[q_form],
    )  # fmt: skip


class RowSolver:
    """:func:`solve` without the cost of making its arguments and result: for callers that keep rows at hand.

    Rows are as in ``lanes._load``, with voltages to start from, and as in ``lanes._report``.

    Parameters
    ----------
    plan
        From :func:`plan`.

    Attributes
    ----------
    taps, caps
        Number of regulators and of switchable shunts.
    tol_pu
        Rows whose residual, the last output, lies below have converged.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self.taps, self.caps = len(plan.tap_ratio), len(plan.compiled.cap_bus)
        self.tol_pu = plan.tol_pu

    def compiled(self, has_zip: bool) -> tuple[Any, ...]:
        """For other compiled code: address of ``lanes.solve_rows`` and its fixed arguments."""
        given = self._plan
        space = own_workspace(given.height)
        return machine_code(), given.ints, given.floats, has_zip, given.tol_pu, given.max_iter, space

    def fill(self, rows: np.ndarray) -> None:
        """Set the network's own controls in ``(batch, inputs)``."""
        rows[:, : len(self._plan.defaults)] = self._plan.defaults

    def __call__(self, rows: np.ndarray, has_zip: bool, out: np.ndarray, iterations: np.ndarray) -> None:
        """Solve ``(batch, inputs)`` into ``(batch, outputs)`` and ``(batch,)``, all C-contiguous.

        `has_zip` is true where loads that follow the voltage are among the inputs.
        """
        given = self._plan
        solve_rows(
            given.ints, given.floats, rows, has_zip, True, given.tol_pu, given.max_iter,
            workspace(given.height), out, iterations,
        )  # fmt: skip


def _rows(
    plan: Plan, batch: tuple[int, ...], load: NodeLoad, control: Control | None, start: Voltages | None
) -> tuple[np.ndarray, bool]:
    """Inputs in the order of ``lanes._load``, broadcast over the batch."""
    _, tap, cap, topology, p, q, *by_voltage = plan.inputs
    tap_ratio, cap_on, chosen, v_source, _ = _OWN if control is None else control
    has_zip = any(part is not None for part in load[2:])
    width, m = by_voltage[-1].stop if has_zip else q.stop, plan.compiled.n_bus
    rows = np.empty((*batch, width if start is None else width + 2 * m))
    rows[..., 0] = plan.compiled.source_v_pu if v_source is None else v_source
    rows[..., tap] = plan.tap_ratio if tap_ratio is None else tap_ratio
    rows[..., cap] = 1.0 if cap_on is None else cap_on
    rows[..., topology.start] = 0.0 if chosen is None else chosen
    rows[..., p] = load.p_mw
    rows[..., q] = load.q_mvar
    if has_zip:
        for columns, part in zip(by_voltage, load[2:], strict=True):
            rows[..., columns] = 0.0 if part is None else part
    if start is not None:
        rows[..., width : width + m], rows[..., width + m :] = start.v_re, start.v_im
    return rows, has_zip


def _energised(plan: Plan, batch: tuple[int, ...], control: Control | None) -> np.ndarray:
    """Buses with a path to the source or a reference."""
    if control is None or control.topology is None:
        return np.ones((*batch, plan.compiled.n_bus), bool)
    return plan.compiled.energised(np.broadcast_to(control.topology, batch))


_OWN = Control()


def _slices(*widths: int) -> tuple[slice, ...]:
    stops = np.cumsum([0, *widths]).tolist()
    return tuple(slice(first, stop) for first, stop in pairwise(stops))


def _tables(compiled: Compiled, factors: Factors, meters: Sequence[Meter]) -> dict[str, np.ndarray]:
    """Tables that the compiled code reads, by the names of its slots."""
    n, position, regulator = compiled.n_node, factors.position, compiled.regulator
    lower, upper, trailing = factors.lower, factors.upper, factors.trailing
    bus_at, from_at, to_at = (position[x] for x in (compiled.node, compiled.from_node, compiled.to_node))
    a_bus = np.empty(len(position), np.int64)
    a_bus[bus_at] = np.arange(compiled.n_bus)
    other_bus = np.array([bus for bus in range(compiled.n_bus) if bus_at[bus] < n and a_bus[bus_at[bus]] != bus], int)
    current = np.zeros(len(position), complex)  # from a source of 1 pu into each position, without the regulators
    current[position] = -(compiled.ybus(regulators=False, moving=False)[:, n:] @ compiled.source_phasor)
    beside = current != 0
    if len(compiled.moving.size):
        ends = np.split(position[compiled.node[compiled.moving.bus]], np.cumsum(compiled.moving.size)[:-1])
        beside[np.concatenate([at for at in ends if at.max() >= n] or [np.zeros(0, int)])] = True
        beside[position[compiled.node[compiled.moving.held_bus]]] = True
    beside[from_at[regulator[to_at[regulator] >= n]]] = True
    beside[to_at[regulator[from_at[regulator] >= n]]] = True
    beside[bus_at[compiled.cap_bus]] = True
    if compiled.phases is not None:
        beside[bus_at[np.concatenate([compiled.phases.pair_a, compiled.phases.pair_b])]] = True
    extra_at = np.flatnonzero(beside[:n])
    extra_of = np.full(len(position), -1)
    extra_of[extra_at] = np.arange(len(extra_at))
    regulator_of = np.full(compiled.n_branch, -1)
    regulator_of[regulator] = np.arange(len(regulator))
    diagonal, terms = _diagonal(trailing), compiled.terms(meters, references=True)
    no_load = np.empty(len(position), complex)
    no_load[position] = no_load_voltages(compiled)
    return _phase_tables(compiled, position) | _moving_tables(compiled, factors, extra_at) | {
        "lower_start": lower.indptr, "lower_col": lower.indices, "lower_re": lower.data.real,
        "lower_im": lower.data.imag, "upper_start": upper.indptr, "upper_col": upper.indices,
        "upper_re": upper.data.real, "upper_im": upper.data.imag,
        "pivot_re": factors.pivot.real, "pivot_im": factors.pivot.imag, "trail_start": trailing.indptr,
        "trail_col": trailing.indices, "trail_re": trailing.data.real, "trail_im": trailing.data.imag,
        "trail_diagonal": diagonal, "trail_target": _targets(trailing, diagonal), "bus_at": bus_at,
        "load_at": np.where(a_bus[bus_at] == np.arange(compiled.n_bus), bus_at, n), "other_bus": other_bus,
        "branch_at": np.arange(compiled.n_branch),
        "extra_at": extra_at, "extra_of": extra_of, "source_re": current[extra_at].real,
        "source_im": current[extra_at].imag,
        "from_at": from_at, "to_at": to_at, "regulator": regulator, "regulator_of": regulator_of,
        "regulator_place": _regulator_places(factors, from_at[regulator], to_at[regulator], extra_at),
        "no_load_re": no_load.real, "no_load_im": no_load.imag, "y_re": compiled.series.real,
        "y_im": compiled.series.imag, "half_re": compiled.half_shunt.real, "half_im": compiled.half_shunt.imag,
        "gain_re": compiled.gain.real, "gain_im": compiled.gain.imag, "percent_from": compiled.percent_from,
        "percent_to": compiled.percent_to, "shunt_p": compiled.shunt.real, "shunt_q": compiled.shunt.imag,
        "cap_bus": compiled.cap_bus, "cap_p": compiled.cap.real, "cap_q": compiled.cap.imag, "tap": compiled.tap_ratio,
        "term_start": terms.start, "term_index": terms.power, "sign": terms.sign,
    }  # fmt: skip


def _moving_tables(compiled: Compiled, factors: Factors, extra_at: np.ndarray) -> dict[str, np.ndarray]:
    """Elements that topologies open and close, and what is dead in each topology."""
    if not len(compiled.moving.size):
        ints = (name for name in INTS if name.startswith(("moving", "closed", "branch_moving", "dead", "ground")))
        return dict.fromkeys((*ints, "moving_re", "moving_im"), np.zeros(0))
    moving, n, shared = compiled.moving, compiled.n_node, factors.n_shared
    at = factors.position[compiled.node]
    element, row, column = moving.entries
    row, column = at[moving.bus[row]], at[moving.bus[column]]
    inside, from_source = (row < n) & (column < n), (row < n) & (column >= n)
    place, source = np.full(len(row), -1), np.full(len(row), -1)
    places = zip(row[inside] - shared, column[inside] - shared, strict=True)
    place[inside] = [_place(factors.trailing, *pair) for pair in places]
    source[from_source] = np.searchsorted(extra_at, row[from_source])
    pushing = np.flatnonzero(moving.reference >= 0)  # what references inject, behind the entries of the matrices
    push = np.searchsorted(extra_at, at[moving.held_bus])
    entries = np.concatenate([moving.y, -moving.held[pushing] / HOLD_PU])
    phases, none = compiled.phases, np.zeros(0, int)
    pairs = np.stack([none, none] if phases is None else [phases.pair_a, phases.pair_b])  # loads between two nodes
    dead = [np.flatnonzero(~np.append(alive, alive[pairs].all(0))) for alive in moving.energised]
    grounds = [np.unique(at[buses]) - shared for buses in moving.ground]
    return {
        "moving_element": np.concatenate([element, pushing]),
        "moving_place": np.concatenate([place, np.full(len(pushing), -1)]),
        "moving_source": np.concatenate([source, push]),
        "moving_from": np.concatenate([column, np.full(len(pushing), -1)]),
        "closed": moving.closed.ravel(), "branch_moving": moving.branch,
        "dead_start": _starts(dead), "dead_place": np.concatenate(dead),
        "ground_start": _starts(grounds),
        "ground_place": np.array([_place(factors.trailing, k, k) for places in grounds for k in places], int),
        "moving_re": entries.real, "moving_im": entries.imag,
    }  # fmt: skip


def _starts(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Row pointer of rows that follow each other."""
    return np.cumsum([0, *map(len, rows)])


def _phase_tables(compiled: Compiled, position: np.ndarray) -> dict[str, np.ndarray]:
    """Blocks and pairs of a three-phase network; empty for a balanced one."""
    found, none = compiled.phases, np.zeros(0)
    if found is None:
        names = ("terminal_at", "terminal_first", "terminal_size", "terminal_y", "terminal_row", "pair_a", "pair_b")
        return dict.fromkeys((*names, "terminal_of", "block_re", "block_im", "terminal_percent"), none)
    at = position[compiled.node]
    return {
        "terminal_at": at[found.bus], "terminal_first": found.first, "terminal_size": np.repeat(found.size, found.size),
        "terminal_y": found.y_start, "terminal_row": found.row, "terminal_of": compiled.terminal_of.ravel(),
        "pair_a": at[found.pair_a], "pair_b": at[found.pair_b], "block_re": found.y.real, "block_im": found.y.imag,
        "terminal_percent": found.percent,
    }  # fmt: skip


def _diagonal(matrix: sp.csr_matrix) -> np.ndarray:
    """Place of each row's diagonal entry among the stored entries."""
    return np.array([_place(matrix, i, i) for i in range(matrix.shape[0])], np.int64)


def _place(matrix: sp.csr_matrix, row: int, column: int) -> int:
    start = matrix.indptr[row]
    return int(start + np.searchsorted(matrix.indices[start : matrix.indptr[row + 1]], column))


def _targets(matrix: sp.csr_matrix, diagonal: np.ndarray) -> np.ndarray:
    """Entries (i, j) that elimination by rows changes, in its order: for each k < i in row i, each j > k in row k."""
    start, column, middle = matrix.indptr.tolist(), matrix.indices.tolist(), diagonal.tolist()
    found = []
    for i in range(matrix.shape[0]):
        place = dict(zip(column[start[i] : start[i + 1]], range(start[i], start[i + 1]), strict=True))
        for k in column[start[i] : middle[i]]:
            found += [place[j] for j in column[middle[k] + 1 : start[k + 1]]]
    return np.array(found, np.int64)


def _regulator_places(factors: Factors, f: np.ndarray, t: np.ndarray, extra_at: np.ndarray) -> np.ndarray:
    """Six numbers per regulator, -1 for none.

    Places of (f, f), (f, t), (t, f) and (t, t) in the trailing block, and the source current that its to end and its
    from end receive if the other end is the source.
    """
    n, shared, places = factors.lower.shape[0], factors.n_shared, []
    for ends in zip(f, t, strict=True):
        for row in ends:
            for column in ends:
                inside = row < n and column < n
                places.append(_place(factors.trailing, row - shared, column - shared) if inside else -1)
        for end, other in ((ends[1], ends[0]), (ends[0], ends[1])):
            places.append(int(np.searchsorted(extra_at, end)) if other >= n and end < n else -1)
    return np.array(places, np.int64)
