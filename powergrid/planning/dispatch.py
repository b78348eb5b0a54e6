"""Devices behind meters as columns and rows of a linear program: one text for bounds and for policies that plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from powergrid.agents.device_agent import LinearDevice
from powergrid.planning.program import LinearProgram, NoOptimumError, Optimum, Term

Commitment = Literal["relaxed", "milp"]
"""How units that may be off are committed: as a share that is on, or as whole numbers: on or off."""


_LATER_PER_MWH = 1e-4
"""Cost for each tick by which a store waits [$/MWh]: among ticks of one price it acts in the first."""


class Trade(NamedTuple):
    """Energy that can be traded with others at one price, ``(ticks,)`` or numbers.

    Attributes
    ----------
    price_per_mwh
        The price, either way [$/MWh].
    buy_mw, sell_mw
        The most of it.
    """

    price_per_mwh: np.ndarray
    buy_mw: float
    sell_mw: float


class Meter(NamedTuple):
    """A meter at which an account pays for energy.

    Attributes
    ----------
    name
        Place of the meter: a branch, ``"source"`` or a device.
    account
        The account that pays.
    units
        Devices that it is the first to measure: each device belongs to one meter.
    load_mw
        The network's own load that it is the first to measure [MW], ``(ticks,)``.
    retail_per_mwh, feed_in_per_mwh
        Its tariff [$/MWh], ``(ticks,)``.
    market
        Name of the market whose members may trade the energy of this meter; ``""`` if there is none.
    trade
        What is expected of trading with others on top; ``None`` for nothing.
    """

    name: str
    account: str
    units: tuple[str, ...]
    load_mw: np.ndarray
    retail_per_mwh: np.ndarray
    feed_in_per_mwh: np.ndarray
    market: str
    trade: Trade | None = None


class Before(NamedTuple):
    """What a device did before the horizon.

    Attributes
    ----------
    p_mw
        Injection in the tick before [MW]; ``None`` where no one knows it.
    on
        Whether it is committed.
    held_h
        Time for which it must stay so [h].
    """

    p_mw: float | None = None
    on: bool = True
    held_h: float = 0.0


class Power(NamedTuple):
    """Columns of what a device feeds in and draws [MW], neither negative, and of whether it is on, if it may be off."""

    fed: slice
    drawn: slice
    on: slice | None = None


class Problem(NamedTuple):
    """Devices behind meters over a horizon.

    Attributes
    ----------
    dt_h
        Length of a tick [h].
    ticks
        Length of the horizon.
    linear
        Linear model of each device.
    meters
        Meters in front of them, with load and tariff.
    settlement_per_mwh
        Price of the difference between the energy that a device stores at the end and at the start [$/MWh].
    before
        What devices did before; those not in it are free.
    commitment
        How units that may be off are committed.
    bound
        Whether the cost shall be a lower bound on that of every policy: commitment is relaxed and has no times, and
        self-discharge may carry stored energy below its window.
    """

    dt_h: float
    ticks: int
    linear: Mapping[str, LinearDevice]
    meters: Sequence[Meter]
    settlement_per_mwh: Mapping[str, float]
    before: Mapping[str, Before]
    commitment: Commitment = "relaxed"
    bound: bool = False


class Dispatch(NamedTuple):
    """Least-cost operation.

    Attributes
    ----------
    cost
        Money over the horizon [$].
    p_mw
        Injection of each device [MW], ``(ticks,)``.
    on
        Share of each unit that is on [1], ``(ticks,)``, of those that may be off.
    value_per_mwh
        Cost of one more MWh of load behind each meter [$/MWh], ``(ticks,)``.
    """

    cost: float
    p_mw: Mapping[str, np.ndarray]
    on: Mapping[str, np.ndarray]
    value_per_mwh: Mapping[str, np.ndarray]


def least_cost(problem: Problem, *, gap: float = 1e-4) -> Dispatch:
    """Operation at the least cost of energy, fuel, wear, starts, unserved flexible demand and the settlement.

    Charging and discharging have columns of their own, which is exact where no price is negative. Losses of the network
    and its limits are left out.

    Parameters
    ----------
    problem
        Devices behind meters.
    gap
        Relative gap to the best bound at which whole numbers count as optimal [1].

    Raises
    ------
    NoOptimumError
        If a device behind a meter has no linear model, or the program has no optimum.
    """
    for unit, model in problem.linear.items():
        if any(np.isnan(value).any() for value in model):
            raise NoOptimumError(f'the linear model of device "{unit}" has numbers that are no numbers: {model}')
    program = LinearProgram(problem.ticks)
    power = {unit: _device(program, problem, unit, model) for unit, model in problem.linear.items()}
    balances = {}
    for pool in _pools(problem.meters):
        balance = _energy_trade(program, problem, pool, power)
        balances.update(dict.fromkeys((meter.name for meter in pool), balance))
    optimum = program.minimise(gap=gap)
    return _dispatch(problem, optimum, power, balances)


def relaxed(problem: Problem) -> Problem:
    """A problem that always has an optimum: without ramps, times and what was before, windows as wide as the state."""
    models = {
        unit: model._replace(
            p_min_mw=np.minimum(model.p_min_mw, model.p_max_mw),
            p_max_mw=np.maximum(model.p_min_mw, model.p_max_mw),
            e_min_mwh=min(model.e_min_mwh, model.e_start_mwh),
            e_max_mwh=max(model.e_max_mwh, model.e_start_mwh),
            ramp_mw_per_h=np.inf,
        )
        for unit, model in problem.linear.items()
    }
    return problem._replace(linear=models, before={}, commitment="relaxed", bound=True)


def _dispatch(
    problem: Problem, optimum: Optimum, power: Mapping[str, Power], balances: Mapping[str, slice]
) -> Dispatch:
    values = optimum.values
    return Dispatch(
        optimum.cost,
        {unit: values[at.fed] - values[at.drawn] for unit, at in power.items()},
        {unit: values[at.on] for unit, at in power.items() if at.on is not None},
        {meter: optimum.duals[rows] / problem.dt_h for meter, rows in balances.items()},
    )


def _device(program: LinearProgram, problem: Problem, unit: str, model: LinearDevice) -> Power:
    """Columns, rows and costs of one device."""
    dt_h, p_min, p_max = problem.dt_h, np.asarray(model.p_min_mw, float), np.asarray(model.p_max_mw, float)
    unserved = model.curtailment_cost_per_mwh
    moved: Any = model.throughput_cost_per_mwh
    if model.e_max_mwh > model.e_min_mwh and not problem.bound:
        moved = moved + _LATER_PER_MWH * np.arange(problem.ticks)
    power = Power(
        program.columns(np.maximum(p_min, 0.0), np.maximum(p_max, 0.0), dt_h * (moved + unserved)),
        program.columns(np.maximum(-p_max, 0.0), np.maximum(-p_min, 0.0), dt_h * (moved - unserved)),
    )
    program.add_cost(-dt_h * unserved * p_min)
    if model.e_max_mwh > model.e_min_mwh:
        _stored_energy(program, problem, unit, model, power)
    if model.cost_mw:
        blocks = zip(model.cost_mw, model.cost_per_mwh, strict=True)
        columns = [program.columns(0.0, width, dt_h * cost) for width, cost in blocks]
        program.rows(0.0, 0.0, [Term(1.0, power.fed), *(Term(-1.0, column) for column in columns)])
    if np.isfinite(model.ramp_mw_per_h):
        _ramp(program, problem, unit, model, power)
    if model.commitment:
        return _commitment(program, problem, unit, model, power)
    program.add_cost(dt_h * model.no_load_cost_per_h)
    return power


def _stored_energy(program: LinearProgram, problem: Problem, unit: str, model: LinearDevice, power: Power) -> None:
    """Energy balance, window, and the settlement of what is missing or left at the end."""
    kept = 1.0 - model.decay_per_h * problem.dt_h
    # self-discharge may carry the energy below the window, never faster than this
    decay = kept ** np.arange(1, program.ticks + 1)
    lowest = model.e_min_mwh * decay if problem.bound else np.minimum(model.e_min_mwh, model.e_start_mwh * decay)
    price = problem.settlement_per_mwh[unit]
    first, last = np.zeros(program.ticks), np.zeros(program.ticks)
    first[0], last[-1] = kept * model.e_start_mwh, price
    stored = program.columns(lowest, model.e_max_mwh, -last)
    program.add_cost(last * model.e_start_mwh)
    flows = Term(problem.dt_h / model.eta_out, power.fed), Term(-problem.dt_h * model.eta_in, power.drawn)
    program.rows(first, first, [Term(1.0, stored), *flows, Term(-kept, stored, lag=1)])


def _ramp(program: LinearProgram, problem: Problem, unit: str, model: LinearDevice, power: Power) -> None:
    """Largest change from one tick to the next, from the power before the first where that is known."""
    most = np.full(program.ticks, model.ramp_mw_per_h * problem.dt_h)
    middle = np.zeros(program.ticks)
    p_before_mw = problem.before.get(unit, Before()).p_mw
    if p_before_mw is None:
        most[0] = np.inf
    else:
        middle[0] = p_before_mw
    change = [Term(sign, power.fed, lag) for sign, lag in ((1.0, 0), (-1.0, 1))]
    change += [Term(-sign, power.drawn, lag) for sign, _, lag in change]
    program.rows(middle - most, middle + most, change)


def _commitment(program: LinearProgram, problem: Problem, unit: str, model: LinearDevice, power: Power) -> Power:
    """Whether the unit is on, its starts and stops, and its shortest times on and off.

    A unit on at the start and off at the end pays a restart, the reverse is credited, so that starts and settlement
    together cost as much as one start for every stop. A bound leaves out the times and what was before.
    """
    before = problem.before.get(unit, Before())
    low, high = np.zeros(program.ticks), np.ones(program.ticks)
    change = np.zeros(program.ticks)
    if not problem.bound:
        held = _whole_ticks(before.held_h, problem.dt_h)
        (low if before.on else high)[:held] = float(before.on)
        change[0] = float(before.on)
    on = program.columns(
        low, high, problem.dt_h * model.no_load_cost_per_h, whole=problem.commitment == "milp" and not problem.bound
    )
    stopped = program.columns(0.0, 1.0, model.start_cost)
    program.rows(-np.inf, 0.0, [Term(1.0, power.fed), Term(-np.asarray(model.p_max_mw, float), on)])
    program.rows(0.0, np.inf, [Term(1.0, power.fed), Term(-model.p_on_min_mw, on)])
    program.rows(change, np.inf, [Term(1.0, stopped), Term(1.0, on), Term(-1.0, on, lag=1)])
    if not problem.bound:
        up, down = (_whole_ticks(hours, problem.dt_h) for hours in (model.min_up_h, model.min_down_h))
        if up > 1:
            started = program.columns(0.0, 1.0)
            program.rows(-change, np.inf, [Term(1.0, started), Term(-1.0, on), Term(1.0, on, lag=1)])
            program.rows(-np.inf, 0.0, [*_last(started, up, program.ticks), Term(-1.0, on)])
        if down > 1:
            program.rows(-np.inf, 1.0, [*_last(stopped, down, program.ticks), Term(1.0, on)])
    return power._replace(on=on)


def _whole_ticks(hours: float, dt_h: float) -> int:
    """Ticks that last at least so long."""
    return int(np.ceil(hours / dt_h - 1e-6))


def _last(columns: slice, ticks: int, horizon: int) -> list[Term]:
    """Sum of columns over the last ticks."""
    return [Term(1.0, columns, lag) for lag in range(min(ticks, horizon))]


def _pools(meters: Sequence[Meter]) -> list[list[Meter]]:
    """Meters that may trade with each other; each other meter alone."""
    pools: dict[Any, list[Meter]] = {}
    for i, meter in enumerate(meters):
        pools.setdefault(meter.market or i, []).append(meter)
    return list(pools.values())


def _energy_trade(program: LinearProgram, problem: Problem, pool: Sequence[Meter], power: Mapping[str, Power]) -> slice:
    """Balance of a pool without losses; what it lacks is bought, what is left is sold, by each tariff in it."""
    terms = []
    for tariff in {(m.retail_per_mwh.tobytes(), m.feed_in_per_mwh.tobytes()): m for m in pool}.values():
        same = [m for m in pool if _same_tariff(m, tariff)]
        most_in, most_out = _extremes(problem, same)
        bought = program.columns(0.0, most_in, problem.dt_h * tariff.retail_per_mwh)
        sold = program.columns(0.0, most_out, -problem.dt_h * tariff.feed_in_per_mwh)
        terms += [Term(1.0, bought), Term(-1.0, sold)]
    for meter in pool:
        if meter.trade is not None:
            price, buy_mw, sell_mw = meter.trade
            terms.append(Term(1.0, program.columns(-sell_mw, buy_mw, problem.dt_h * price)))
        for unit in meter.units:
            terms += [Term(1.0, power[unit].fed), Term(-1.0, power[unit].drawn)]
    load_mw = np.sum([meter.load_mw for meter in pool], axis=0)
    return program.rows(load_mw, load_mw, terms)


def _same_tariff(one: Meter, other: Meter) -> bool:
    return np.array_equal(one.retail_per_mwh, other.retail_per_mwh) and np.array_equal(
        one.feed_in_per_mwh, other.feed_in_per_mwh
    )


def _extremes(problem: Problem, meters: Sequence[Meter]) -> tuple[np.ndarray, np.ndarray]:
    """Most that meters can read either way [MW]: a pool of two tariffs must not buy at one to sell at the other."""
    most_in, most_out = np.zeros(1), np.zeros(1)
    for meter in meters:
        for unit in meter.units:
            if unit not in problem.linear:
                raise NoOptimumError(f'device "{unit}" behind meter "{meter.name}" has no linear model (`linear`)')
        models = [problem.linear[unit] for unit in meter.units]
        most_in = most_in + np.maximum(meter.load_mw - sum((model.p_min_mw for model in models), np.zeros(1)), 0.0)
        most_out = most_out + np.maximum(sum((model.p_max_mw for model in models), np.zeros(1)) - meter.load_mw, 0.0)
    return most_in, most_out
