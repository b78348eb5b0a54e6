"""Lower bound on the cost of a day: the perfect-foresight optimum without a network.

A linear program that every policy's day satisfies, at no more than the policy's cost. Members of a market pool their
energy behind one meter, losses and violations are left out, every device is its linear model, and nothing in the day is
uncertain. A policy that costs less has found energy or money that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from powergrid.agents.device_agent import LinearDevice
from powergrid.core.errors import PowerGridError
from powergrid.worlds.export import EpisodeData, Meter


class NoBoundError(PowerGridError):
    """An episode whose bound cannot be computed; says what stands in the way."""


class Bound(NamedTuple):
    """Perfect-foresight optimum of the relaxation.

    Attributes
    ----------
    cost
        Money of all accounts over the episode, less than or equal to that of any policy [$].
    dispatch
        Injection of each device in the optimum [MW], ``(ticks,)``.
    """

    cost: float
    dispatch: Mapping[str, np.ndarray]


def lower_bound(data: EpisodeData) -> Bound:
    """Bound on the money that all accounts together pay in an episode.

    Energy at the meters, fuel, wear, starts, unserved flexible demand and the settlement at the end are in; violations,
    tap and switching costs, which are never negative, are out. It holds for episodes that run to their time limit with
    every power flow solved. Losses are never negative, and a tariff with feed-in at or below retail, both of at least
    zero, never pays for splitting or wasting energy, so that pooling meters and dropping losses only lower the cost.

    Parameters
    ----------
    data
        From ``env.export_episode(day, seed)``.

    Returns
    -------
    Bound

    Raises
    ------
    NoBoundError
        If a device has no linear model, or the program has no optimum.
    """
    program = _Program(len(data.network.load_p_mw))
    power = {unit: _device(program, data, unit, model) for unit, model in data.linear.items()}
    for pool in _pools(data.prices.meters):
        _energy_trade(program, data, pool, power)
    cost, values = program.minimise()
    return Bound(cost, {unit: values[fed] - values[drawn] for unit, (fed, drawn) in power.items()})


class _Power(NamedTuple):
    """Columns of what a device feeds in and draws [MW], neither negative."""

    fed: slice
    drawn: slice


class _Program:
    """Collects columns and rows of a linear program, one of each a tick."""

    def __init__(self, ticks: int):
        self.ticks = ticks
        self.offset = 0.0
        self.columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.rows: list[tuple[np.ndarray, np.ndarray]] = []
        self.entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def column(self, low: Any, high: Any, cost: Any = 0.0) -> slice:
        """New columns with their bounds and cost, one a tick."""
        start = self.ticks * len(self.columns)
        self.columns.append((self._each(low), self._each(high), self._each(cost)))
        return slice(start, start + self.ticks)

    def add_cost(self, cost: Any) -> None:
        """Cost that nothing decides, one a tick."""
        self.offset += float(np.broadcast_to(cost, self.ticks).sum())

    def row(self, low: Any, high: Any, *terms: tuple[Any, slice], before: Sequence[tuple[Any, slice]] = ()) -> None:
        """New rows ``low <= sum of factor * column <= high``, one a tick; `before` takes columns of the tick before."""
        start = self.ticks * len(self.rows)
        self.rows.append((self._each(low), self._each(high)))
        here = np.arange(self.ticks)
        for factor, at in terms:
            self.entries.append((start + here, at.start + here, self._each(factor)))
        for factor, at in before:
            self.entries.append((start + here[1:], at.start + here[:-1], self._each(factor)[1:]))

    def _each(self, value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype=float), self.ticks)

    def minimise(self) -> tuple[float, np.ndarray]:
        """Least cost and the columns there, by HiGHS."""
        low, high, cost = (np.concatenate(part) for part in zip(*self.columns, strict=True))
        row_low, row_high = (np.concatenate(part) for part in zip(*self.rows, strict=True))
        rows, columns, values = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        matrix = coo_array((values, (rows, columns)), shape=(len(row_low), len(low))).tocsc()
        found = milp(cost, bounds=Bounds(low, high), constraints=LinearConstraint(matrix, row_low, row_high))
        if not found.success:
            raise NoBoundError(f"the linear program of the lower bound has no optimum: {found.message}")
        return float(found.fun) + self.offset, np.asarray(found.x)


def _device(program: _Program, data: EpisodeData, unit: str, model: LinearDevice) -> _Power:
    """Columns, rows and costs of one device."""
    dt_h, p_min, p_max = data.dt_h, np.asarray(model.p_min_mw, float), np.asarray(model.p_max_mw, float)
    moved, unserved = model.throughput_cost_per_mwh, model.curtailment_cost_per_mwh
    fed = program.column(np.maximum(p_min, 0.0), np.maximum(p_max, 0.0), dt_h * (moved + unserved))
    drawn = program.column(np.maximum(-p_max, 0.0), np.maximum(-p_min, 0.0), dt_h * (moved - unserved))
    program.add_cost(-dt_h * unserved * p_min)
    power = _Power(fed, drawn)
    if model.e_max_mwh > model.e_min_mwh:
        _stored_energy(program, data, unit, model, power)
    if model.cost_mw:
        blocks = zip(model.cost_mw, model.cost_per_mwh, strict=True)
        columns = [program.column(0.0, width, dt_h * cost) for width, cost in blocks]
        program.row(0.0, 0.0, (1.0, fed), *((-1.0, column) for column in columns))
    if np.isfinite(model.ramp_mw_per_h):
        _ramp(program, data, unit, model, power)
    if model.commitment:
        _commitment(program, data, model, power)
    else:
        program.add_cost(dt_h * model.no_load_cost_per_h)
    return power


def _stored_energy(program: _Program, data: EpisodeData, unit: str, model: LinearDevice, power: _Power) -> None:
    """Energy balance, window, and the settlement of what is missing or left at the end."""
    kept = 1.0 - model.decay_per_h * data.dt_h
    # self-discharge may carry the energy below the window, never faster than this
    lowest = model.e_min_mwh * kept ** np.arange(1, program.ticks + 1)
    price = data.prices.settlement_per_mwh[unit]
    first, last = np.zeros(program.ticks), np.zeros(program.ticks)
    first[0], last[-1] = kept * model.e_start_mwh, price
    stored = program.column(lowest, model.e_max_mwh, -last)
    program.add_cost(last * model.e_start_mwh)
    flows = (data.dt_h / model.eta_out, power.fed), (-data.dt_h * model.eta_in, power.drawn)
    program.row(first, first, (1.0, stored), *flows, before=[(-kept, stored)])


def _ramp(program: _Program, data: EpisodeData, unit: str, model: LinearDevice, power: _Power) -> None:
    """Largest change from one tick to the next, from the power before the first if the state tells it."""
    most = np.full(program.ticks, model.ramp_mw_per_h * data.dt_h)
    middle = np.zeros(program.ticks)
    if hasattr(data.initial_state[unit], "p_mw"):
        middle[0] = data.initial_state[unit].p_mw
    else:
        most[0] = np.inf
    program.row(
        middle - most,
        middle + most,
        (1.0, power.fed),
        (-1.0, power.drawn),
        before=[(-1.0, power.fed), (1.0, power.drawn)],
    )


def _commitment(program: _Program, data: EpisodeData, model: LinearDevice, power: _Power) -> None:
    """Share of the unit that is on, and its starts; the status before the first tick is left open.

    A unit on at the start and off at the end pays a restart, the reverse is credited, so that starts and settlement
    together cost as much as one start for every stop.
    """
    on = program.column(0.0, 1.0, data.dt_h * model.no_load_cost_per_h)
    stopped = program.column(0.0, 1.0, model.start_cost)
    program.row(-np.inf, 0.0, (1.0, power.fed), (-np.asarray(model.p_max_mw, float), on))
    program.row(0.0, np.inf, (1.0, power.fed), (-model.p_on_min_mw, on))
    program.row(0.0, np.inf, (1.0, stopped), (1.0, on), before=[(-1.0, on)])


def _pools(meters: Sequence[Meter]) -> list[list[Meter]]:
    """Meters that may trade with each other; each other meter alone."""
    pools: dict[Any, list[Meter]] = {}
    for i, meter in enumerate(meters):
        pools.setdefault(meter.market or i, []).append(meter)
    return list(pools.values())


def _energy_trade(program: _Program, data: EpisodeData, pool: Sequence[Meter], power: Mapping[str, _Power]) -> None:
    """Balance of a pool without losses; what it lacks is bought, what is left is sold, by each tariff in it."""
    terms = []
    for tariff in {(m.retail_per_mwh.tobytes(), m.feed_in_per_mwh.tobytes()): m for m in pool}.values():
        same = [m for m in pool if _same_tariff(m, tariff)]
        most_in, most_out = _extremes(data, same)
        bought = program.column(0.0, most_in, data.dt_h * tariff.retail_per_mwh)
        sold = program.column(0.0, most_out, -data.dt_h * tariff.feed_in_per_mwh)
        terms += [(1.0, bought), (-1.0, sold)]
    for meter in pool:
        for unit in meter.units:
            terms += [(1.0, power[unit].fed), (-1.0, power[unit].drawn)]
    load_mw = np.sum([meter.load_mw for meter in pool], axis=0)
    program.row(load_mw, load_mw, *terms)


def _same_tariff(one: Meter, other: Meter) -> bool:
    return np.array_equal(one.retail_per_mwh, other.retail_per_mwh) and np.array_equal(
        one.feed_in_per_mwh, other.feed_in_per_mwh
    )


def _extremes(data: EpisodeData, meters: Sequence[Meter]) -> tuple[np.ndarray, np.ndarray]:
    """Most that meters can read either way [MW]: a pool of two tariffs must not buy at one to sell at the other."""
    most_in, most_out = np.zeros(1), np.zeros(1)
    for meter in meters:
        for unit in meter.units:
            if unit not in data.linear:
                raise NoBoundError(f'device "{unit}" behind meter "{meter.name}" has no linear model (`linear`)')
        models = [data.linear[unit] for unit in meter.units]
        most_in = most_in + np.maximum(meter.load_mw - sum((model.p_min_mw for model in models), np.zeros(1)), 0.0)
        most_out = most_out + np.maximum(sum((model.p_max_mw for model in models), np.zeros(1)) - meter.load_mw, 0.0)
    return most_in, most_out
