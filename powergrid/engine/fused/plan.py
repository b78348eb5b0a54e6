"""Floor plan of the compiled step: every table of the layout as flat arrays, numbered once.

Sparse sums are ``start`` (row pointers) with one entry a term behind it. Units are numbered family by family, those
that inject power first, so that the first ``N`` columns of a table of units are the layout's injecting units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.fused.kernels import Kernels
from powergrid.engine.layout import Family, Layout

STEP, ACCOUNT, UNITS, NUMBERS, PLACES, STATE, UNIT, MONEY, SETTLED, VIOLATION, READING = range(11)
"""Columns of ``Calls.table``: addresses, number of units, and where each block of a family begins."""


class Choice(NamedTuple):
    """Acting agent of each slot (-1: none), its place in the agent's action, and when agents act.

    Attributes
    ----------
    actor, position
        ``(K,)``.
    interval, offset
        Ticks between two decisions and first tick, ``(A,)``.
    """

    actor: Array
    position: Array
    interval: Array
    offset: Array


class Calls(NamedTuple):
    """How families are called.

    Attributes
    ----------
    table
        One row a family, ``(families, 11)``.
    numbers
        Parameters and idle commands of all families.
    places
        Slots of commands (-1: idle), columns of series, and places of settlement prices.
    """

    table: Array
    numbers: Array
    places: Array


class Delivery(NamedTuple):
    """Physical range of each slot ``(K,)``, the network's own loads by bus, and what units feed into which bus.

    `by_voltage` holds the parts of the loads that follow the voltage, ``(4, terms)``: active and reactive power of
    constant current, then of constant impedance; ``(0, terms)`` where none does. `unit`, `unit_bus` and `unit_share`
    have one entry for each bus of each injecting unit.
    """

    low: Array
    half_span: Array
    start: Array
    series: Array
    load_p_mw: Array
    load_q_mvar: Array
    by_voltage: Array
    unit: Array
    unit_bus: Array
    unit_share: Array


class Books(NamedTuple):
    """The network's own loads by account, the shared rest last, and the cell of each money and cost column.

    `three_phase` holds the nodes of buses with three phases, ``(t, 3)``. Cells number the flattened tables of
    ``accounts + 1`` rows; -1 drops a column.
    """

    start: Array
    series: Array
    load_p_mw: Array
    money_cell: Array
    cost_cell: Array
    three_phase: Array


class Sight(NamedTuple):
    """What is seen.

    Attributes
    ----------
    start, series, load_p_mw
        As in :class:`Books`.
    net_start, net_series, net_p_mw
        The same less available renewable power, of the accounts that have renewables.
    shown
        Feature of each entry of the observations, ``(A * d_max,)``; padding shows the one behind the last.
    low, high
        Bounds of the features that agents see; the others' do not matter.
    central
        Features of the central state.
    signal
        Slots of parents' price signals.
    """

    start: Array
    series: Array
    load_p_mw: Array
    net_start: Array
    net_series: Array
    net_p_mw: Array
    shown: Array
    low: Array
    high: Array
    central: Array
    signal: Array


class Prices(NamedTuple):
    """Voltage band [pu], limit of unbalance [%] and prices of violations over one tick [$/pu, $/%, $/MW, $/%]."""

    v_min_pu: float
    v_max_pu: float
    voltage: float
    overload: float
    unserved: float
    unbalance_max_percent: float
    unbalance: float


class Widths(NamedTuple):
    """Columns of the step's tables: units, injecting units, states, money (devices', all), costs and so on."""

    units: int
    injecting: int
    state: int
    device_money: int
    money: int
    costs: int
    readings: int
    features: int


class FloorPlan(NamedTuple):
    """Everything the compiled step needs of a layout; `state` says where each field of each family's state lies."""

    choice: Choice
    calls: Calls
    delivery: Delivery
    unit_meter: Array
    books: Books
    sight: Sight
    prices: Prices
    widths: Widths
    state: tuple[tuple[slice, ...], ...]


def floor_plan(layout: Layout, kernels: list[Kernels]) -> FloorPlan:
    """Number a layout's families, columns and terms."""
    calls, widths, state = _calls(layout, kernels)
    loads = layout.load_series
    load_start, load_series, load_p, load_q, *by_voltage = _sparse(
        loads, layout.load_p_mw, layout.load_q_mvar, *layout.load_by_voltage
    )
    own_start, own_series, own_p = _sparse(loads, layout.ledger.load_to_account)
    net_table = np.concatenate([layout.ledger.load_to_account, -layout.ledger.renewable_to_account])
    net_start, net_series, net_p = _sparse(
        np.concatenate([loads, layout.renewable_series]), net_table[:, layout.renewable_accounts]
    )
    slots, view, given = layout.slots, layout.view, layout.settings
    width = max(layout.action_size, 1)
    return FloorPlan(
        choice=Choice(_ints(slots.actor), _ints(slots.given % width), _ints(slots.interval), _ints(slots.offset)),
        calls=calls,
        delivery=Delivery(
            low=_floats(slots.low),
            half_span=_floats(slots.half_span),
            start=load_start,
            series=load_series,
            load_p_mw=load_p,
            load_q_mvar=load_q,
            by_voltage=_floats(by_voltage).reshape(-1, len(load_p)),
            unit=_ints(layout.inject.source),
            unit_bus=_ints(layout.inject.target),
            unit_share=_floats(layout.inject.weights),
        ),
        unit_meter=_ints(layout.unit_meter),
        books=Books(
            start=own_start,
            series=own_series,
            load_p_mw=own_p,
            money_cell=_ints(layout.ledger.money.target),
            cost_cell=_ints(layout.ledger.costs.target),
            three_phase=_ints(layout.three_phase),
        ),
        sight=Sight(
            start=own_start,
            series=own_series,
            load_p_mw=own_p,
            net_start=net_start,
            net_series=net_series,
            net_p_mw=net_p,
            shown=np.where(view.valid, view.index, len(view.entries)).ravel().astype(np.uint32),
            low=_floats([entry.low for _, entry in view.entries]),
            high=_floats([entry.high for _, entry in view.entries]),
            central=_ints(view.central),
            signal=_ints(slots.signal),
        ),
        prices=Prices(
            given.v_min_pu,
            given.v_max_pu,
            given.voltage_price * given.dt_h,
            given.overload_price * given.dt_h,
            given.unserved_price * given.dt_h,
            given.unbalance_max_percent,
            given.unbalance_price * given.dt_h,
        ),
        widths=widths,
        state=state,
    )


def _calls(layout: Layout, kernels: list[Kernels]) -> tuple[Calls, Widths, tuple[tuple[slice, ...], ...]]:
    """One row a family, with the places of its blocks."""
    families, first_unit = layout.families, _first_units(layout)
    violations = sum(len(family.kernel.violation_names) * family.size for family in families)
    settle_at = dict(zip(layout.ledger.settling, layout.ledger.settle_at, strict=True))
    table = np.zeros((len(families), 11), np.int64)
    numbers: list[Array] = []
    places: list[Array] = []
    fields: list[tuple[slice, ...]] = []
    state = money = readings = 0
    settled = sum(len(family.kernel.money_names) * family.size for family in families)  # behind all other money
    violation = len(layout.ledger.costs.target) - violations  # behind voltage, overload and unserved load
    for i, (family, kernel) in enumerate(zip(families, kernels, strict=True)):
        size, kind = family.size, family.kernel
        begins = (sum(map(len, numbers)), sum(map(len, places)), state, first_unit[i])
        table[i] = (kernel.step, kernel.account, size, *begins, money, settled, violation, readings)
        numbers.append(block(family.params, *_idle(family)))
        series = [source.place for source in family.sources]
        places.append(_joined(np.int64, *_slots(family), *series, settle_at.get(i, np.zeros(0))))
        fields.append(tuple(slice(state + j * size, state + (j + 1) * size) for j in range(len(kind.State._fields))))
        state += len(kind.State._fields) * size
        money += len(kind.money_names) * size
        settled += size if i in settle_at else 0
        violation += len(kind.violation_names) * size
        readings += kernel.readings * size
    widths = Widths(
        units=sum(family.size for family in families),
        injecting=len(layout.units),
        state=state,
        device_money=settled,
        money=len(layout.ledger.money.target),
        costs=len(layout.ledger.costs.target),
        readings=readings,
        features=len(layout.view.entries),
    )
    return Calls(table, _joined(float, *numbers), _joined(np.int64, *places)), widths, tuple(fields)


def _first_units(layout: Layout) -> dict[int, int]:
    """Number of each family's first unit."""
    others = [i for i in range(len(layout.families)) if i not in layout.injecting]
    found, at = {}, 0
    for i in (*layout.injecting, *others):
        found[i], at = at, at + layout.families[i].size
    return found


def block(columns: Any, *more: Array) -> Array:
    """Columns of a named tuple, and more of them, one after the other."""
    return _joined(float, *columns, *more)


def _idle(family: Family) -> list[Array]:
    """What each command field holds where nobody chooses it."""
    return [np.zeros(family.size) if idle is None else idle for idle in family.idle]


def _slots(family: Family) -> list[Array]:
    """Slot of each unit for each command field, -1 where nobody chooses it."""
    fields = zip(family.slot.T, family.idle, strict=True)
    return [slot if idle is None else np.full(family.size, -1) for slot, idle in fields]


def _sparse(series: Array, *tables: Array) -> tuple[Array, ...]:
    """Row pointers, series and values of tables ``(series, n)``, column by column, wherever one of them is not zero."""
    used = np.any([table != 0.0 for table in tables], axis=0)
    column, row = np.nonzero(used.T)
    start = np.concatenate([[0], np.cumsum(used.sum(axis=0))])
    return _ints(start), _ints(np.asarray(series)[row]), *(_floats(table[row, column]) for table in tables)


def _joined(dtype: Any, *parts: Array) -> Array:
    return np.concatenate([np.zeros(0, dtype), *(np.ravel(part) for part in parts)]).astype(dtype)


def _ints(values: Any) -> Array:
    return np.ascontiguousarray(values, dtype=np.int64)


def _floats(values: Any) -> Array:
    return np.ascontiguousarray(values, dtype=np.float64)
