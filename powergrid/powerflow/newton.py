"""Sparse Newton-Raphson in polar coordinates, for generators and meshes, and for the last percent before collapse.

Unknown are the angle of every node but the sources, and the magnitude of every node without a set voltage. Each step
solves ``J [d theta, d V] = -F`` with the mismatch ``F = S(V) + S_load(|V|) - S_gen`` (Tinney and Hart, "Power flow
solution by Newton's method", IEEE Trans. Power Apparatus and Systems 86(11), 1967; derivatives as in R. D. Zimmerman,
MATPOWER Technical Note 2, 2010). A step that does not lessen the mismatch is halved; if no part of it does, there is
no solution nearby, and the flow counts as not converged.

A generator holds its voltage while its reactive power allows. Beyond its range it feeds in the limit and lets the
voltage go, and takes it up again as soon as the voltage returns to the set point from the other side.

:mod:`powergrid.powerflow.newton_rows` is the same compiled. Where nothing can be compiled, and for the scenarios that
it leaves, SciPy's LU factorisation, which exchanges rows, does the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.core import machine_code
from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, Flow, NodeLoad
from powergrid.powerflow.compile import Compiled, Terms, batch_shape, compile_network, holding, injected_powers
from powergrid.powerflow.compiled import Sparse
from powergrid.powerflow.faults import fixed_topology
from powergrid.powerflow.generation import Units, generation, units
from powergrid.powerflow.inputs import Voltages
from powergrid.powerflow.newton_batch import Given, blank, filled, has_zip
from powergrid.powerflow.newton_start import Problem, starts
from powergrid.powerflow.newton_tables import Pattern, pack, pattern_of
from powergrid.powerflow.topology import Elements, Place

if TYPE_CHECKING:
    from powergrid.networks.network import Network

LIMIT_TOLERANCE_MVAR = 1e-6
"""By how much a reactive limit may be exceeded [Mvar]."""
_ROUNDS = 40  # of switching generators between voltage and limit
_RETURNS = 3  # how often one generator may take its voltage up again
_HALVINGS = 8


@dataclass(frozen=True, eq=False)
class Plan:
    """What :func:`solve` needs, made once per network by :func:`plan`.

    Attributes
    ----------
    compiled
        The network as matrices and tables.
    units
        Its generators and sources by node.
    q_limits
        Whether generators keep their reactive limits.
    tol_pu, max_iter
        Tolerance on the largest voltage change [pu] and limit of iterations.
    meters
        Metered branches.
    terms
        How the meters and the source are read.
    ybus
        Admittance matrix at the network's own taps, CSC [pu].
    pattern
        Where the Jacobian's entries go.
    tables
        What compiled code reads; ``None`` where SciPy solves every scenario.
    """

    compiled: Compiled
    units: Units
    q_limits: bool
    tol_pu: float
    max_iter: int
    meters: tuple[int, ...]
    terms: Terms
    ybus: Sparse
    pattern: Pattern
    tables: tuple[np.ndarray, np.ndarray] | None = None


def plan(
    network: Network,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 100,
    meters: Sequence[int] = (),
    topologies: Sequence[Elements] = (),
    forming: Sequence[Sequence[Place]] = (),
    buses: Sequence[int] | None = None,
    q_limits: bool = True,
    compiled_code: bool = True,
) -> Plan:
    """Compile a network.

    Parameters
    ----------
    network
        The network.
    tol_pu
        Largest change of a voltage in the last iteration [pu].
    max_iter
        Iterations after which a flow counts as not converged.
    meters
        Branches whose power at their from bus is reported.
    topologies
        Outages declared beforehand; this method takes none.
    forming
        Buses that hold islands; without topologies there are none.
    buses
        Not used: every bus may draw.
    q_limits
        False lets generators hold their voltage whatever reactive power it takes.
    compiled_code
        False solves every scenario with SciPy; the results are the same.

    Raises
    ------
    NetworkError
        If buses have no path to a source, a branch has no impedance, set voltages at one bus differ or a meter cannot
        be read; if the network has three phases.
    """
    if len(topologies):
        issue = fixed_topology(network, holding(network) or "it was chosen, or the fixed point does not converge")
        raise NetworkError(f"{issue.message}; {issue.hint}")
    if network.is_three_phase:
        raise NetworkError("newton solves balanced networks only; take sparse_lu for a three-phase one")
    compiled = compile_network(network, generators=True)
    ybus, own, terms = _sorted(compiled.ybus()), units(network, compiled), compiled.terms(meters)
    usable = compiled_code and not machine_code.problem()
    return Plan(
        compiled=compiled,
        units=own,
        q_limits=bool(q_limits),
        tol_pu=float(tol_pu),
        max_iter=int(max_iter),
        meters=tuple(int(branch) for branch in meters),
        terms=terms,
        ybus=ybus,
        pattern=pattern_of(ybus),
        tables=pack(compiled, own, terms) if usable else None,
    )


def solve(plan: Plan, load: NodeLoad, control: Control | None = None, start: Voltages | None = None) -> Flow:
    """Solve the power flow of one scenario or, one after the other, of a batch.

    Parameters
    ----------
    plan
        From :func:`plan`.
    load
        What each bus draws besides the network's generators, ``(*batch, m)``.
    control
        Taps, switchable shunts, the first source's voltage and the generators' set points; fields that are ``None``
        keep the network's own.
    start
        Anything with ``v_re`` and ``v_im`` to start from; else from angles of a DC power flow.

    Returns
    -------
    Flow
        ``p_slack_mw`` and ``q_slack_mvar`` are the sum over all sources. Where Newton does not converge, ``converged``
        is False and the voltages are its last ones.
    """
    control = Control() if control is None else control
    batch = batch_shape(plan.compiled, load, control, start)
    if control.v_set_pu is not None:
        batch = np.broadcast_shapes(batch, np.shape(control.v_set_pu)[:-1])
    inputs = [*load, *control, *([None, None] if start is None else [start.v_re, start.v_im])]
    scalars = [6 + Control._fields.index(name) for name in ("topology", "v_source_pu")]
    count, flat = int(np.prod(batch, dtype=int)), []
    for place, value in enumerate(inputs):
        tail = () if value is None or place in scalars else np.shape(value)[-1:]
        flat.append(None if value is None else np.broadcast_to(value, batch + tail).reshape(count, *tail))
    out, flow = blank(plan.compiled, plan.terms, count)
    solved = np.zeros(count, bool)
    if plan.tables is not None:
        _by_rows(plan, flat, out, flow, solved)
    for k in np.flatnonzero(~solved).tolist():
        found = _solve_one(plan, *_scenario(flat, k))
        for column, value in zip(flow, found, strict=True):
            column[k] = value
    columns: list[Any] = list(flow)
    return Flow(*(column.reshape((*batch, *column.shape[1:])) for column in columns))


def _scenario(flat: Given, k: int) -> tuple[NodeLoad, Control, Given]:
    """Load, control and start of one scenario."""
    one = [None if value is None else value[k] for value in flat]
    return NodeLoad(*one[:6]), Control(*one[6:11]), one[11:]


def _by_rows(plan: Plan, flat: Given, out: np.ndarray, flow: Flow, solved: np.ndarray) -> None:
    """Solve by compiled code, in place; `solved` is True where it did."""
    from powergrid.powerflow.newton_rows import solver  # needs numba

    assert plan.tables is not None
    compiled = plan.compiled

    def first(k: int) -> np.ndarray:
        load, control, _ = _scenario(flat, k)
        problem, _, tap = _problem(plan, load, control)
        begin: np.ndarray = next(starts(compiled, problem, tap, None))[compiled.node]
        return begin

    rows = filled(compiled, plan.units, len(solved), flat, first)
    bounds = np.array([_ROUNDS, _RETURNS, _HALVINGS])
    solver()(
        *plan.tables, rows, has_zip(flat), plan.q_limits, plan.tol_pu, plan.max_iter, bounds, LIMIT_TOLERANCE_MVAR, out,
        flow.iterations, solved,
    )  # fmt: skip
    flow.converged[:] = solved


def _solve_one(plan: Plan, load: NodeLoad, control: Control, start: Given) -> Flow:
    problem, by_bus, tap = _problem(plan, load, control)
    re, im = start
    first = None if re is None or im is None else re + 1j * im
    v, residual, iterations = _with_limits(plan, problem, tap, first)
    return _flow(plan, v, by_bus, tap, residual, iterations)


def _problem(plan: Plan, load: NodeLoad, control: Control) -> tuple[Problem, list[np.ndarray], np.ndarray]:
    """One scenario by nodes, what its buses draw, and its taps."""
    compiled, own = plan.compiled, plan.units
    tap = compiled.tap_ratio if control.tap_ratio is None else np.asarray(control.tap_ratio, float)
    cap = compiled.cap * (1.0 if control.cap_on is None else np.asarray(control.cap_on, float))
    complete = [np.zeros(compiled.n_bus) if part is None else np.asarray(part, float) for part in load]
    by_bus = [complete[k] + 1j * complete[k + 1] for k in (0, 2, 4)]
    np.add.at(by_bus[2], compiled.cap_bus, cap)
    constant, current, impedance = (_by_node(compiled, part) for part in by_bus)
    np.add.at(constant, own.node, -own.p_mw)
    v_fixed, angle_fixed = own.fixed(compiled, control)
    y = plan.ybus if control.tap_ratio is None else _sorted(compiled.ybus(tap))
    return Problem(y, constant, current, impedance, v_fixed, angle_fixed), by_bus, tap


def _by_node(compiled: Compiled, by_bus: np.ndarray) -> np.ndarray:
    total = np.zeros(compiled.n_node + 1, complex)
    np.add.at(total, compiled.node, by_bus)
    return total


def _with_limits(
    plan: Plan, problem: Problem, tap: np.ndarray, first: np.ndarray | None
) -> tuple[np.ndarray, float, int]:
    """Newton between changes of the generators that stand at a limit: node voltages, residual, iterations."""
    own, compiled = plan.units, plan.compiled
    v, residual, total = np.zeros(0, complex), np.inf, 0
    for begin in starts(compiled, problem, tap, first):
        v, residual, spent = _newton(plan, problem, begin)
        total += spent
        if residual < plan.tol_pu:
            break
    if not plan.q_limits or not len(own.held):
        return v, residual, total
    at_limit, returns = np.zeros(len(own.held)), np.zeros(len(own.held), int)
    for _ in range(_ROUNDS):
        if residual >= plan.tol_pu:
            break
        moved = _switch(own, problem, v, at_limit, returns)
        if not moved.any():
            break
        limited = _at_limits(own, problem, at_limit)
        v, residual, spent = _newton(plan, limited, v)
        total += spent
    else:
        residual = np.inf  # generators still change between voltage and limit
    return v, residual, total


def _switch(own: Units, problem: Problem, v: np.ndarray, at_limit: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Move nodes to a limit (1 upper, -1 lower) or back to their voltage (0), in place; which ones moved."""
    held, vm = own.held, np.abs(v)
    fed = (v * np.conj(problem.y @ v) + problem.drawn(vm)).imag[held]
    before = at_limit.copy()
    at_limit[(before == 0) & (fed > own.q_max + LIMIT_TOLERANCE_MVAR)] = 1
    at_limit[(before == 0) & (fed < own.q_min - LIMIT_TOLERANCE_MVAR)] = -1
    too_high = (before == 1) & (vm[held] > problem.v_fixed[held] + 1e-9)
    too_low = (before == -1) & (vm[held] < problem.v_fixed[held] - 1e-9)
    back = (too_high | too_low) & (returns < _RETURNS)
    at_limit[back] = 0
    returns += back
    moved: np.ndarray = at_limit != before
    return moved


def _at_limits(own: Units, problem: Problem, at_limit: np.ndarray) -> Problem:
    """The problem with some generators feeding in their limit instead of holding their voltage."""
    constant, v_fixed = problem.constant.copy(), problem.v_fixed.copy()
    limit = np.where(at_limit > 0, own.q_max, own.q_min)
    chosen = at_limit != 0
    constant[own.held[chosen]] -= 1j * limit[chosen]
    v_fixed[own.held[chosen]] = np.nan
    return problem._replace(constant=constant, v_fixed=v_fixed)


def _newton(plan: Plan, problem: Problem, v: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Node voltages, largest change in the last step [pu] and steps taken; infinite change where it gave up."""
    free_angle, free_v = np.isnan(problem.angle_fixed), np.isnan(problem.v_fixed)
    vm = np.where(free_v, np.abs(v), problem.v_fixed)
    angle = np.where(free_angle, np.angle(v), problem.angle_fixed)
    v = vm * np.exp(1j * angle)
    power, norm = _mismatch(problem, v, free_angle, free_v)
    for iteration in range(1, plan.max_iter + 1):
        step = _step(plan.pattern, problem, v, power, free_angle, free_v)
        if step is None:
            return v, np.inf, iteration
        d_angle, d_vm = step
        largest = float(np.max(np.hypot(vm * d_angle, d_vm), initial=0.0))
        for halving in range(_HALVINGS + 1):
            part = 0.5**halving
            tried = (vm + part * d_vm) * np.exp(1j * (angle + part * d_angle))
            power, new_norm = _mismatch(problem, tried, free_angle, free_v)
            if largest < plan.tol_pu or (new_norm < norm * (1 - 1e-4 * part) and np.all(vm + part * d_vm > 0)):
                break
        else:
            return v, np.inf, iteration
        v, vm, angle, norm = tried, vm + part * d_vm, angle + part * d_angle, new_norm
        if largest < plan.tol_pu:
            return v, largest, iteration
    return v, largest, plan.max_iter


def _mismatch(problem: Problem, v: np.ndarray, free_angle: np.ndarray, free_v: np.ndarray) -> tuple[np.ndarray, float]:
    """Power that is missing at each node, zero where it is not to be balanced, and its norm."""
    power = v * np.conj(problem.y @ v) + problem.drawn(np.abs(v))
    power = np.where(free_angle, power.real, 0.0) + 1j * np.where(free_v, power.imag, 0.0)
    return power, float(np.linalg.norm(power))


def _step(
    pattern: Pattern, problem: Problem, v: np.ndarray, power: np.ndarray, free_angle: np.ndarray, free_v: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Newton's step of angles and magnitudes; ``None`` where the Jacobian is singular."""
    row, column, diagonal = pattern.row, pattern.column, pattern.diagonal
    vm, size = np.abs(v), len(v)
    product = v[row] * np.conj(problem.y.data * v[column])
    injected = v * np.conj(problem.y @ v)
    by_angle, by_vm = -1j * product, product / vm[column]
    by_angle[diagonal] += 1j * injected
    by_vm[diagonal] += injected / vm + problem.current + 2 * problem.impedance * vm
    blocks = np.stack([by_angle.real, by_vm.real, by_angle.imag, by_vm.imag])
    # A known value keeps its row and column: its own equation keeps it constant.
    for kept, known in ((0, ~free_angle), (3, ~free_v)):
        blocks[2 * (kept // 2) : 2 * (kept // 2) + 2, known[row]] = 0.0
        blocks[kept, diagonal[known]] = 1.0
    matrix = sp.csc_matrix(
        (blocks.ravel()[pattern.source], pattern.indices, pattern.indptr), shape=(2 * size, 2 * size)
    )
    right = -np.concatenate([power.real, power.imag])[pattern.order]
    try:
        found = splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.1).solve(right)
    except RuntimeError:
        return None
    if not np.isfinite(found).all():
        return None
    step = np.empty(2 * size)
    step[pattern.order] = found
    return step[:size], step[size:]


def _sorted(matrix: Sparse) -> Sparse:
    csc = sp.csc_matrix(matrix)
    csc.sort_indices()
    return csc


def _flow(
    plan: Plan, v_node: np.ndarray, by_bus: list[np.ndarray], tap: np.ndarray, residual: float, iterations: int
) -> Flow:
    """Results at the voltages found."""
    compiled, b = plan.compiled, plan.compiled.n_branch
    v = v_node[compiled.node]
    vm = np.abs(v)
    drawn = by_bus[0] + by_bus[1] * vm + (by_bus[2] + compiled.shunt) * vm**2
    powers = injected_powers(compiled, v, drawn, compiled.gains(tap))
    fed = generation(plan.units, compiled, powers)
    np.add.at(powers, 2 * b + plan.units.bus, -fed.generators)
    np.add.at(powers, 2 * b + compiled.other_source_bus, -fed.sources)
    start, sign = plan.terms.start, plan.terms.sign
    read = np.add.reduceat(sign * powers[plan.terms.power], start[:-1])  # every meter has terms
    slack = complex(read[-1] + fed.sources.sum())
    current = [np.abs(powers[:b]) / vm[compiled.from_bus], np.abs(powers[b : 2 * b]) / vm[compiled.to_bus]]
    return Flow(
        v_re=v.real,
        v_im=v.imag,
        v_pu=vm,
        loading=np.maximum(compiled.percent_from * current[0], compiled.percent_to * current[1]) * compiled.live,
        loss_mw=float(powers[: 2 * b].real.sum()),
        p_slack_mw=slack.real,
        q_slack_mvar=slack.imag,
        p_meter_mw=read[:-1].real,
        q_meter_mvar=read[:-1].imag,
        residual_pu=residual if np.isfinite(residual) else 1e3,
        iterations=iterations,
        converged=residual < plan.tol_pu,
        energised=np.ones(compiled.n_bus, bool),
        p_form_mw=np.zeros(0),
        q_form_mvar=np.zeros(0),
    )
