"""Clearing a planned market: checks, then one method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np

from powergrid.core import machine_code
from powergrid.core.backend import Namespace
from powergrid.core.errors import ArgumentError, unknown_name
from powergrid.core.types import Array, Control
from powergrid.markets import dc, ipm, lindistflow
from powergrid.markets.assembly import Case, batch_of, program
from powergrid.markets.blocks import Blocks
from powergrid.markets.clearing import Clearing, read, traded
from powergrid.markets.highs import Simplex
from powergrid.markets.model import Linear, Plan
from powergrid.markets.planning import METHODS
from powergrid.markets.program import Program, Solution

ROUNDS = 3
"""Clearings of a ``lindistflow`` market for which no operating point is known."""

_NUMPY: Namespace = np


def clear(
    plan: Plan,
    offers: Blocks,
    bids: Blocks | None = None,
    *,
    load_mw: Array | None = None,
    load_mvar: Array | None = None,
    reserve: Blocks | None = None,
    reserve_mw: Array = 0.0,
    dispatch_mw: Array | None = None,
    control: Control | None = None,
    rounds: int | None = None,
    method: str | None = None,
) -> Clearing:
    """Clear a market: the cheapest accepted offers less bids that serve the fixed demand within the network's limits.

    Parameters
    ----------
    plan
        From :func:`powergrid.markets.plan`.
    offers, bids
        Blocks at the buses that the plan names, ``(*batch, o)`` and ``(*batch, d)``; nobody bids by default.
    load_mw, load_mvar
        Fixed demand of every bus [MW, Mvar], ``(*batch, m)``; by default the network's own. Reactive power counts in
        ``lindistflow`` only.
    reserve
        Reserve offers of the plan's `reserve_participant`, ``(*batch, s)``; none by default.
    reserve_mw
        Required reserve [MW], ``(*batch,)``.
    dispatch_mw
        Injection of the participants at every bus [MW], ``(*batch, m)``, around which ``lindistflow`` is linear; by
        default none.
    control
        Taps, switchable shunts and source voltage for ``lindistflow``; the network's own by default.
    rounds
        Clearings in a row, each linear around the dispatch of the one before. By default 1 around a given dispatch,
        else :data:`ROUNDS`.
    method
        One of :data:`powergrid.markets.METHODS`; by default the plan's.

    Returns
    -------
    Clearing
        NumPy arrays.

    Raises
    ------
    ArgumentError
        If an array has another width than the plan, shapes do not fit each other, or a value is not finite or a
        quantity negative.
    UnknownNameError
        If there is no such method.
    """
    chosen = plan.method if method is None else method
    if chosen not in METHODS:
        raise unknown_name("clearing method", chosen, METHODS)
    case = checked(plan, offers, bids, load_mw, load_mvar, reserve, reserve_mw)
    point = np.zeros(plan.n_bus) if dispatch_mw is None else _column("dispatch_mw", dispatch_mw, plan.n_bus)
    times = (ROUNDS if dispatch_mw is None else 1) if rounds is None else rounds
    if times < 1:
        raise ArgumentError(f"rounds = {rounds}; give at least 1")

    def solve(problem: Program) -> Solution:
        return _simplex(plan).solve(problem) if chosen == "highs" else ipm.solve(_NUMPY, problem)

    return _cleared(_NUMPY, plan, case, point, control or Control(), times, solve)


def _cleared(
    xp: Namespace,
    plan: Plan,
    case: Case,
    dispatch_mw: Array,
    control: Control,
    rounds: int,
    solve: Callable[[Program], Solution],
) -> Clearing:
    """Clear so many times in a row; models that are linear in themselves need only one."""
    plan = plan.as_type(batch_of(xp, case).dtype)

    def once(dispatch_mw: Array) -> Clearing:
        equations = _equations(xp, plan, case, dispatch_mw, control)
        problem = program(xp, plan, equations, case)
        return read(xp, plan, equations, case, problem, solve(problem))

    cleared = once(dispatch_mw)
    for _ in range(rounds - 1 if plan.radial is not None else 0):
        cleared = once(traded(xp, plan, cleared))
    return cleared


def _equations(xp: Namespace, plan: Plan, case: Case, dispatch_mw: Array, control: Control) -> Linear:
    """The network's equations around an operating point, which only ``lindistflow`` depends on."""
    if plan.radial is None:
        return dc.linear(plan)
    zero = batch_of(xp, case)
    return lindistflow.linear(xp, plan, case.load_mw + zero, case.load_mvar + zero, dispatch_mw + zero, control)


def clear_arrays(
    xp: Namespace,
    plan: Plan,
    offers: Blocks,
    bids: Blocks | None,
    load_mw: Array,
    load_mvar: Array | None = None,
    *,
    reserve: Blocks | None = None,
    reserve_mw: Array | None = None,
    dispatch_mw: Array | None = None,
    control: Control | None = None,
    rounds: int = 1,
    iterations: int = ipm.ITERATIONS,
) -> Clearing:
    """:func:`clear` by ``ipm`` without checks, for kernels: pure, batched, and traced under ``jax.jit``.

    NumPy arrays in float64 go through compiled code (:mod:`powergrid.markets.ipm_rows`), on the same equations.

    Parameters
    ----------
    xp
        NumPy or ``jax.numpy``.
    plan
        The market; its arrays are constants of the traced program.
    offers, bids
        Blocks, ``(*batch, o)`` and ``(*batch, d)``, with finite numbers; a quantity below zero counts as zero.
    load_mw, load_mvar
        Fixed demand of every bus [MW, Mvar], ``(*batch, m)``; no reactive power by default.
    reserve, reserve_mw
        Reserve offers ``(*batch, s)`` and required reserve ``(*batch,)`` [MW]; none by default.
    dispatch_mw, control, rounds
        As in :func:`clear`; :func:`traded` gives the dispatch of an earlier clearing.
    iterations
        Most iterations.

    Raises
    ------
    ArgumentError
        If blocks have another width than the plan.
    """
    none = 0.0 * load_mw
    case = Case(
        _given(xp, "offers", offers, plan.n_offer, none),
        _given(xp, "bids", bids, plan.n_bid, none),
        _given(xp, "reserve", reserve, plan.n_reserve, none),
        load_mw,
        none if load_mvar is None else load_mvar,
        none[..., 0] if reserve_mw is None else reserve_mw,
    )

    method = _interior(xp, load_mw)

    def solve(problem: Program) -> Solution:
        return method(problem, iterations)

    point = none if dispatch_mw is None else dispatch_mw
    return _cleared(xp, plan, case, point, control or Control(), rounds, solve)


@cache
def _compiles() -> bool:
    """Whether code can be compiled here; finding out reads the version of an installed package."""
    return not machine_code.problem()


def _interior(xp: Namespace, load_mw: Array) -> Callable[[Program, int], Solution]:
    """The interior-point method for a kernel: compiled for NumPy's float64, on arrays where nothing can be compiled."""
    if xp is np and load_mw.dtype == np.float64 and _compiles():
        from powergrid.markets import ipm_rows

        return ipm_rows.solve
    return lambda problem, iterations: ipm.solve(xp, problem, iterations=iterations)


def _given(xp: Namespace, kind: str, blocks: Blocks | None, width: int, none: Array) -> Blocks:
    """Blocks with quantities of zero or more; of width zero where none are given."""
    if blocks is None:
        empty = none[..., :1] * xp.zeros(width, dtype=none.dtype)
        return Blocks(empty, empty)
    for name, column in zip(Blocks._fields, blocks, strict=True):
        if column.shape[-1] != width:
            raise ArgumentError(f"{kind}.{name} has shape {column.shape}; the plan has {width} of them: (..., {width})")
    return Blocks(xp.maximum(blocks.quantity_mw, 0.0 * blocks.quantity_mw), blocks.price_per_mwh)


def checked(
    plan: Plan,
    offers: Blocks,
    bids: Blocks | None,
    load_mw: Array | None,
    load_mvar: Array | None,
    reserve: Blocks | None,
    reserve_mw: Array,
) -> Case:
    """What is to be cleared, checked against the plan.

    Raises
    ------
    ArgumentError
        As :func:`clear`.
    """
    blocks = [
        Blocks(
            _column(f"{kind}.quantity_mw", given.quantity_mw, width),
            _column(f"{kind}.price_per_mwh", given.price_per_mwh, width),
        )
        if given is not None
        else Blocks(np.zeros(width), np.zeros(width))
        for kind, given, width in (
            ("offers", offers, plan.n_offer),
            ("bids", bids, plan.n_bid),
            ("reserve", reserve, plan.n_reserve),
        )
    ]
    for kind, given in zip(("offers", "bids", "reserve"), blocks, strict=True):
        if np.any(given.quantity_mw < 0):
            at = tuple(int(i) for i in np.argwhere(given.quantity_mw < 0)[0])
            raise ArgumentError(f"{kind}.quantity_mw{list(at)} = {given.quantity_mw[at]}; give 0 or more")
        largest = np.max(np.abs(given.price_per_mwh), initial=0.0)
        if largest >= plan.balance_per_mwh:
            raise ArgumentError(
                f"{kind}.price_per_mwh holds {largest:g}; give prices below {plan.balance_per_mwh:g}, a hundred times "
                "the larger of lost_load_per_mwh and limit_per_mwh"
            )
    load = plan.load_mw if load_mw is None else _column("load_mw", load_mw, plan.n_bus)
    reactive = plan.load_mvar if load_mvar is None else _column("load_mvar", load_mvar, plan.n_bus)
    required = _column("reserve_mw", np.asarray(reserve_mw, float)[..., None], 1)
    if np.any(required < 0):
        raise ArgumentError(f"reserve_mw = {required.min()}; give 0 or more")
    if np.any(required > 0) and not plan.n_reserve:
        raise ArgumentError("reserve_mw is required, but the plan has no reserve_participant; name some in the plan")
    elsewhere = np.setdiff1d(np.arange(plan.n_bus), plan.load_bus)
    loaded = elsewhere[np.any(np.reshape(load, (-1, plan.n_bus))[:, elsewhere] != 0, axis=0)]
    if len(loaded):
        raise ArgumentError(
            f'load_mw holds a load at bus "{plan.buses[loaded[0]]}", which is not in the plan\'s load_bus; name the '
            "buses with load there"
        )
    case = Case(blocks[0], blocks[1], blocks[2], load, reactive, required[..., 0])
    shapes = {
        "offers": np.shape(case.offers.quantity_mw)[:-1],
        "offer prices": np.shape(case.offers.price_per_mwh)[:-1],
        "bids": np.shape(case.bids.quantity_mw)[:-1],
        "bid prices": np.shape(case.bids.price_per_mwh)[:-1],
        "reserve": np.shape(case.reserve.quantity_mw)[:-1],
        "load_mw": np.shape(load)[:-1],
        "load_mvar": np.shape(reactive)[:-1],
        "reserve_mw": np.shape(case.reserve_mw),
    }
    _fitting(shapes)
    return case


def _fitting(shapes: dict[str, tuple[int, ...]]) -> None:
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ArgumentError(f"the batch shapes do not fit each other: {shown}") from None


def _column(name: str, values: Sequence[float] | Array, width: int) -> np.ndarray:
    """A finite column of numbers of the given width."""
    try:
        column = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} = {values!r}; give numbers") from None
    if column.ndim == 0 or column.shape[-1] != width:
        raise ArgumentError(f"{name} has shape {column.shape}; the plan has {width} of them: give (..., {width})")
    if not np.all(np.isfinite(column)):
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(column))[0])
        raise ArgumentError(f"{name}{list(at)} = {column[at]}; give a finite number")
    return column


@lru_cache(maxsize=32)
def _simplex(plan: Plan) -> Simplex:
    """The solver of a plan; its start is the network's own load, served by all offers alike at rising prices."""
    total = max(float(np.abs(plan.load_mw).sum()), 1.0)
    offers = Blocks(np.full(plan.n_offer, total), np.arange(1.0, plan.n_offer + 1.0))
    bids = Blocks(np.zeros(plan.n_bid), np.zeros(plan.n_bid))
    reserve = Blocks(np.zeros(plan.n_reserve), np.zeros(plan.n_reserve))
    case = Case(offers, bids, reserve, plan.load_mw, plan.load_mvar, np.zeros(()))
    equations = _equations(_NUMPY, plan, case, np.zeros(plan.n_bus), Control())
    return Simplex(program(_NUMPY, plan, equations, case))
