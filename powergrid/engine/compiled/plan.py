"""Floor plan of the compiled step: every table of the layout as flat arrays, numbered once.

Sparse sums are ``start`` (row pointers) with one entry a term behind it. Units are numbered family by family, those
that inject power first, so that the first ``N`` columns of a table of units are the layout's injecting units.

Every array that crosses from Python into compiled code costs about 0.2 us, a named tuple of ten some 3 us; so a floor
plan crosses as two arrays, made by :func:`pack`, and is read there by the numbers of its parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.compiled.flow import Inputs
from powergrid.engine.compiled.kernels import Kernels
from powergrid.engine.layout import Family, Layout

STEP, ACCOUNT, UNITS, NUMBERS_FROM, PLACES, STATE, UNIT, MONEY, SETTLED, VIOLATION, READING = range(11)
"""Columns of ``Calls.table``: addresses, number of units, and where each block of a family begins."""
CALL_COLUMNS = 11
(UNITS_ALL, STATES, SLOTS, BUSES, PRICES, DEVICE_MONEY, MONEY_COLUMNS, COST_COLUMNS, READINGS, FEATURES, MEASURED,
 AHEAD_START, ACTING, BRANCH_METERS, SHARE_FIRST, SHARE_COUNT) = range(16)  # fmt: skip
"""Entries of ``FloorPlan.widths``."""
(V_MIN, V_MAX, VOLTAGE, OVERLOAD, UNSERVED, UNBALANCE_MAX, UNBALANCE, REWARD_SCALE, SAFETY_SCALE, MAX_PENALTY,
 DT_H) = range(11)  # fmt: skip
"""Entries of ``FloorPlan.numbers``."""
TAP, CAP, LOAD_P, LOAD_Q, BY_VOLTAGE, START_RE, START_IM = range(7)
"""Entries of ``Network.at``."""


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
    """The network's own loads by account's area, the shared rest last, and where money and cost columns belong.

    `three_phase` holds the nodes of buses with three phases, ``(t, 3)``. Cells number the flattened tables of
    ``accounts + 1`` rows, accounts those rows; -1 drops a column.
    """

    start: Array
    series: Array
    load_p_mw: Array
    money_cell: Array
    cost_cell: Array
    money_account: Array
    cost_account: Array
    three_phase: Array


class Sight(NamedTuple):
    """What is seen.

    Attributes
    ----------
    start, series, load_p_mw
        The network's own loads by account's meters, the rest last.
    net_start, net_series, net_p_mw
        The same less available renewable power, of the accounts that have renewables.
    shown
        Feature of each entry of the observations, ``(A * d_max,)``; padding shows the one behind the last.
    low, high
        Bounds of the features that agents see; the others' do not matter.
    alike
        Number of leading entries of each agent that equal those of the agent before, ``(A,)``.
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
    alike: Array
    low: Array
    high: Array
    signal: Array


class Network(NamedTuple):
    """How the step and the power flow's rows of inputs meet.

    Attributes
    ----------
    at
        First column of each kind of input, ``(7,)``: taps, capacitors, loads and voltages to start from.
    tap_unit
        Unit of the regulators' family that moves each regulator; empty where none does.
    cap_state
        Column of the states that switches each capacitor.
    """

    at: Array
    tap_unit: Array
    cap_state: Array


class Relay(NamedTuple):
    """Regulators: their rows in ``Calls.table``, what moves and asks, and compensators where there are any.

    Attributes
    ----------
    family
        Row of the regulators' family, address of ``move`` and of ``want``; empty where there are none.
    upstream
        As in the layout, ``(u * u,)``.
    bus, allowed
        Bus that each unit regulates, and steps that it may take within a tick, ``(u,)``.
    from_bus, to_bus, y_re, y_im, gain, r_pu, x_pu
        As in :class:`powergrid.networks.regulation.Relays`; empty where relays read their bus as it is.
    """

    family: Array
    upstream: Array
    bus: Array
    allowed: Array
    from_bus: Array
    to_bus: Array
    y_re: Array
    y_im: Array
    gain: Array
    r_pu: Array
    x_pu: Array


class FloorPlan(NamedTuple):
    """Everything the compiled step needs of a layout.

    Attributes
    ----------
    choice, calls, delivery, network, relay, books, sight
        See there.
    unit_meter
        Units that have a meter of their own.
    net_start, net_of, net_sign
        Net readings: measurements that each adds up, and their signs.
    widths
        Numbers of columns, in the order of :data:`UNITS_ALL` and so on.
    numbers
        Voltage band [pu], limit of unbalance [%], prices of violations over one tick [$/pu, $/%, $/MW, $/%], what makes
        a reward, and the length of a tick [h], in the order of :data:`V_MIN` and so on.
    """

    choice: Choice
    calls: Calls
    delivery: Delivery
    network: Network
    relay: Relay
    books: Books
    sight: Sight
    unit_meter: Array
    net_start: Array
    net_of: Array
    net_sign: Array
    widths: Array
    numbers: Array


(CHOICE_ACTOR, CHOICE_POSITION, CHOICE_INTERVAL, CHOICE_OFFSET, CALLS_TABLE, CALLS_NUMBERS, CALLS_PLACES, DELIVERY_LOW,
 DELIVERY_HALF_SPAN, DELIVERY_START, DELIVERY_SERIES, DELIVERY_LOAD_P_MW, DELIVERY_LOAD_Q_MVAR, DELIVERY_BY_VOLTAGE,
 DELIVERY_UNIT, DELIVERY_UNIT_BUS, DELIVERY_UNIT_SHARE, NETWORK_AT, NETWORK_TAP_UNIT, NETWORK_CAP_STATE, RELAY_FAMILY,
 RELAY_UPSTREAM, RELAY_BUS, RELAY_ALLOWED, RELAY_FROM_BUS, RELAY_TO_BUS, RELAY_Y_RE, RELAY_Y_IM, RELAY_GAIN,
 RELAY_R_PU, RELAY_X_PU, BOOKS_START, BOOKS_SERIES, BOOKS_LOAD_P_MW, BOOKS_MONEY_CELL, BOOKS_COST_CELL,
 BOOKS_MONEY_ACCOUNT, BOOKS_COST_ACCOUNT, BOOKS_THREE_PHASE, SIGHT_START, SIGHT_SERIES, SIGHT_LOAD_P_MW,
 SIGHT_NET_START, SIGHT_NET_SERIES, SIGHT_NET_P_MW, SIGHT_SHOWN, SIGHT_ALIKE, SIGHT_LOW, SIGHT_HIGH, SIGHT_SIGNAL,
 UNIT_METER, NET_START, NET_OF, NET_SIGN, WIDTHS, NUMBERS,
 ) = range(56)  # fmt: skip
"""Numbers of the arrays of a floor plan in what :func:`pack` makes, by part and field."""


def pack(plan: FloorPlan) -> tuple[Array, Array]:
    """Lay a floor plan into one array of integers and one of floats.

    Arrays are numbered as they stand in the plan; array i is ``[ints[2 i] : ints[2 i + 1]]`` of the one or the other.
    """
    arrays = [array for part in plan for array in (part if isinstance(part, tuple) else (part,))]
    ends, head = {True: 2 * len(arrays), False: 0}, []
    for array in arrays:
        whole = array.dtype.kind == "i"
        head += [ends[whole], ends[whole] + array.size]
        ends[whole] += array.size
    ints = [array for array in arrays if array.dtype.kind == "i"]
    floats = [array for array in arrays if array.dtype.kind == "f"]
    return _joined(np.int64, _ints(head), *ints), _joined(float, *floats)


Fields = tuple[tuple[slice, ...], ...]
"""Where each field of each family's state lies."""


def floor_plan(
    layout: Layout, kernels: list[Kernels], inputs: Inputs, reward: tuple[float, ...]
) -> tuple[FloorPlan, Fields]:
    """Number a layout's families, columns and terms."""
    calls, widths, state = _calls(layout, kernels)
    slots = layout.slots
    width = max(layout.action_size, 1)
    given = layout.settings
    numbers = (
        given.v_min_pu,
        given.v_max_pu,
        given.voltage_price * given.dt_h,
        given.overload_price * given.dt_h,
        given.unserved_price * given.dt_h,
        given.unbalance_max_percent,
        given.unbalance_price * given.dt_h,
        *reward,
        given.dt_h,
    )
    unserved, own = (
        _sparse(layout.load_series, table)
        for table in (layout.ledger.unserved_to_account, layout.ledger.load_to_account)
    )
    net = layout.net
    plan = FloorPlan(
        choice=Choice(_ints(slots.actor), _ints(slots.given % width), _ints(slots.interval), _ints(slots.offset)),
        calls=calls,
        delivery=_delivery(layout),
        network=_network(layout, inputs, state),
        relay=_relay(layout, kernels),
        books=Books(
            unserved[0],
            unserved[1],
            unserved[2],
            _ints(layout.ledger.money.target),
            _ints(layout.ledger.costs.target),
            _ints(layout.ledger.money.target // max(len(layout.ledger.money_names), 1)),
            _ints(layout.ledger.costs.target // max(len(layout.ledger.cost_names), 1)),
            _ints(layout.three_phase),
        ),
        sight=_sight(layout, own),
        unit_meter=_ints(layout.unit_meter),
        net_start=_ints(np.searchsorted(net.target, np.arange(net.size + 1))),
        net_of=_ints(net.source),
        net_sign=_floats(net.weights),
        widths=widths,
        numbers=_floats(numbers),
    )
    return plan, state


def _delivery(layout: Layout) -> Delivery:
    start, series, p_mw, q_mvar, *by_voltage = _sparse(
        layout.load_series, layout.load_p_mw, layout.load_q_mvar, *layout.load_by_voltage
    )
    return Delivery(
        low=_floats(layout.slots.low),
        half_span=_floats(layout.slots.half_span),
        start=start,
        series=series,
        load_p_mw=p_mw,
        load_q_mvar=q_mvar,
        by_voltage=_floats(by_voltage).reshape(len(by_voltage), len(p_mw)),
        unit=_ints(layout.inject.source),
        unit_bus=_ints(layout.inject.target),
        unit_share=_floats(layout.inject.weights),
    )


def _network(layout: Layout, inputs: Inputs, state: Fields) -> Network:
    caps, regulators = layout.caps, inputs.cap - inputs.tap
    no = np.zeros(0, int)
    units = np.arange(regulators) if layout.tap_of is None else layout.tap_of
    return Network(
        at=_ints(inputs),
        tap_unit=_ints(no if layout.taps is None else units),
        cap_state=_ints(no if caps is None else np.arange(state[caps][0].start, state[caps][0].stop)),
    )


def _relay(layout: Layout, kernels: list[Kernels]) -> Relay:
    none = _floats(())
    if layout.taps is None:
        return Relay(_ints(()), none, _ints(()), none, _ints(()), _ints(()), *[none] * 5)
    family, kernel, given = layout.families[layout.taps], kernels[layout.taps], layout.relays
    own = (_ints(()), _ints(()), *[none] * 5)
    if given is not None:
        columns = (given.y_re, given.y_im, given.gain, given.r_pu, given.x_pu)
        own = (_ints(given.from_bus), _ints(given.to_bus), *map(_floats, columns))
    return Relay(
        _ints((layout.taps, kernel.move, kernel.want)),
        _floats(layout.upstream).ravel(),
        _ints(layout.relay_bus),
        block([family.kernel.allowed_moves(np, family.params, layout.settings.dt_h)]),
        *own,
    )


def _sight(layout: Layout, own: tuple[Array, ...]) -> Sight:
    net_table = np.concatenate([layout.ledger.load_to_account, -layout.ledger.renewable_to_account])
    net = _sparse(
        np.concatenate([layout.load_series, layout.renewable_series]), net_table[:, layout.renewable_accounts]
    )
    view = layout.view
    shown = np.where(view.valid, view.index, len(view.entries))
    return Sight(
        *(own[0], own[1], own[2], net[0], net[1], net[2]),
        _ints(shown.ravel()),
        _alike(shown),
        _floats([entry.low for _, entry in view.entries]),
        _floats([entry.high for _, entry in view.entries]),
        _ints(layout.slots.signal),
    )


def _alike(shown: Array) -> Array:
    """Number of leading entries that each row shares with the row before it."""
    found = np.zeros(len(shown), np.int64)
    if len(shown) > 1:
        found[1:] = np.cumprod(shown[1:] == shown[:-1], axis=1).sum(axis=1)
    return found


def _calls(layout: Layout, kernels: list[Kernels]) -> tuple[Calls, Array, Fields]:
    """One row a family, with the places of its blocks."""
    families, first_unit = layout.families, _first_units(layout)
    violations = sum(len(family.kernel.violation_names) * family.size for family in families)
    settle_at = dict(zip(layout.ledger.settling, layout.ledger.settle_at, strict=True))
    table = np.zeros((len(families), CALL_COLUMNS), np.int64)
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
    widths = (
        sum(family.size for family in families),
        state,
        layout.slots.size,
        len(layout.v_start),
        len(layout.ledger.settle_columns),
        settled,
        len(layout.ledger.money.target),
        len(layout.ledger.costs.target),
        readings,
        len(layout.view.entries),
        len(layout.meters),
        layout.columns.ahead_start,
        len(layout.actors),
        layout.metered_branches,
        int(layout.ledger.sharing.argmax()),
        int(layout.ledger.sharing.sum()),
    )
    return Calls(table, _joined(float, *numbers), _joined(np.int64, *places)), _ints(widths), tuple(fields)


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
