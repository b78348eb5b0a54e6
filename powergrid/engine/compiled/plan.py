"""Floor plan of the compiled step: every table of the layout as flat arrays, numbered once.

Sparse sums are ``start`` (row pointers) with one entry a term behind it. Units are numbered family by family, those
that inject power first, so that the first ``N`` columns of a table of units are the layout's injecting units.

Every array that crosses from Python into compiled code costs about 0.2 us, a named tuple of ten some 3 us; so a floor
plan crosses as two arrays, made by :func:`pack`, and is read there by the numbers of its parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, get_type_hints

import numpy as np

from powergrid.core.types import Array
from powergrid.engine import local_policies
from powergrid.engine.blocks import CostColumns, FeatureColumns, MoneyColumns
from powergrid.engine.compiled.flow import Inputs
from powergrid.engine.compiled.kernels import Kernels
from powergrid.engine.compiled.layer_kernels import Seams
from powergrid.engine.compiled.rules import Rule
from powergrid.engine.compiled.topology_tables import TopologyTables, topology_tables
from powergrid.engine.layout import Family, Layout


class CallRow(NamedTuple):
    """One family's row of ``Calls.table``: addresses, number of units, and where each of its blocks begins.

    Attributes
    ----------
    step, account
        Addresses of the family's compiled functions, 0 where it has none.
    units, fields
        Numbers of units, and of fields of their state.
    numbers, places
        First entries of the family in ``Calls.numbers`` and ``Calls.places``.
    state
        First column of the states.
    unit
        Number of the first unit.
    money, settled, violation, reading
        First money column, first column of settled energy, first cost column and first reading.
    """

    step: int
    account: int
    units: int
    fields: int
    numbers: int
    places: int
    state: int
    unit: int
    money: int
    settled: int
    violation: int
    reading: int


class Widths(NamedTuple):
    """Numbers of columns.

    Attributes
    ----------
    units, states, slots, buses, prices
        Of what is carried from tick to tick and of what is delivered.
    money, costs, readings, features, measured
        Of what is worked out after the flow.
    signals_from, signals
        First column of the signals among what is carried, and their number.
    price
        Column of the market price.
    ahead_start
        First forecast of an exogenous row.
    branch_meters, references
        Metered branches, and references that hold islands; the flow measures both.
    share_first, share_count
        First of the accounts that share what nobody owns, and their number.
    """

    units: int
    states: int
    slots: int
    buses: int
    prices: int
    signals_from: int
    signals: int
    price: int
    money: int
    costs: int
    readings: int
    features: int
    measured: int
    ahead_start: int
    branch_meters: int
    references: int
    share_first: int
    share_count: int


class Numbers(NamedTuple):
    """Numbers that hold for a whole environment.

    Attributes
    ----------
    v_min_pu, v_max_pu
        Voltage band.
    voltage, overload, unserved
        Prices of violations over one tick [$/pu, $/%, $/MW].
    unbalance_max_percent, unbalance
        Limit of unbalance, and the price of more over one tick [$/%].
    reward_scale, safety_scale, max_penalty
        What makes a reward.
    dt_h
        Length of a tick.
    """

    v_min_pu: float
    v_max_pu: float
    voltage: float
    overload: float
    unserved: float
    unbalance_max_percent: float
    unbalance: float
    reward_scale: float
    safety_scale: float
    max_penalty: float
    dt_h: float


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


class RuleRow(NamedTuple):
    """One family's row of ``Rules.table``.

    Attributes
    ----------
    call
        Its row of ``Calls.table``.
    command, offer, marginal
        Addresses, see :class:`powergrid.engine.compiled.rules.Rule`.
    asked
        First of its entries in ``Rules.asked``.
    chosen
        First row of its commands among those of all rules.
    """

    call: int
    command: int
    offer: int
    marginal: int
    asked: int
    chosen: int


class ActRow(NamedTuple):
    """One row of ``Rules.acting``: a policy with a kernel at work on a family.

    Attributes
    ----------
    call
        The family's row of ``Calls.table``.
    act
        Address of the kernel's loop.
    asked, ruled
        First entries of the family in ``Rules.asked``, and first row of the commands of its rule.
    chosen
        First row of its own commands.
    params
        First of its plain numbers in ``Rules.params``.
    memory
        First column of its memory among what is carried.
    noise
        First of the slots of its units' random numbers in ``Rules.noise``; -1 for none.
    """

    call: int
    act: int
    asked: int
    ruled: int
    chosen: int
    params: int
    memory: int
    noise: int


class Rules(NamedTuple):
    """What local policies fill the slots with.

    Attributes
    ----------
    how, share, interval, offset
        As in the layout's choices and slots, ``(K,)``.
    table
        One :class:`RuleRow` per family whose rule or offer is wanted.
    asked
        Columns and accounts of the units, see :data:`powergrid.engine.compiled.rules.ASKED`.
    slot, command
        Slots filled by rules and kernels, and the row of the command that fills each.
    acting, params, noise
        Policies with a kernel, see :class:`ActRow`.
    net_start, net_series, net_p_mw
        The network's own loads by account's meters, the rest last, less available renewable power.
    ahead
        First column and number of the day-ahead prices, column of the hour, and commands of all rules.
    """

    how: Array
    share: Array
    interval: Array
    offset: Array
    table: Array
    asked: Array
    slot: Array
    command: Array
    acting: Array
    params: Array
    noise: Array
    net_start: Array
    net_series: Array
    net_p_mw: Array
    ahead: Array


class LayerRow(NamedTuple):
    """One layer's row of ``Layers.table``.

    Attributes
    ----------
    before, after, rule, abstain
        Addresses of its seams and of what gives its orders, 0 where it has none.
    stage
        When the first runs, see :data:`VERTICAL`.
    members, speakers, governed
        Their numbers.
    state, states
        First column of its state among what is carried, and their number.
    places
        First of its entries in ``Layers.places``: intervals and offsets of the speakers, tariff columns and nodes of
        the members, slots and members of governed commands.
    order, orders
        First of the slots of its orders there, and their number.
    sending, sent_before, sent_after
        First of the signals that it sends there, and how many each seam sends.
    numbers, shares, links
        First of its parameters, of the weights of nodes and of those of links in ``Layers.numbers``.
    noise
        First of its random numbers; -1 for none.
    meter
        First of its members among those of all layers.
    money, money_count, violation, violation_count
        First of its columns among those of all layers, and their names' number.
    """

    before: int
    after: int
    rule: int
    abstain: int
    stage: int
    members: int
    speakers: int
    governed: int
    state: int
    states: int
    places: int
    order: int
    orders: int
    sending: int
    sent_before: int
    sent_after: int
    numbers: int
    shares: int
    links: int
    noise: int
    meter: int
    money: int
    money_count: int
    violation: int
    violation_count: int


class Layers(NamedTuple):
    """Protocols at work.

    Attributes
    ----------
    table
        One :class:`LayerRow` per layer.
    places, numbers
        See there.
    meter_start, meter_of, meter_weight
        What is metered for members: measurements, and units of one's own below zero.
    load
        Account whose own load counts as the member's, -1 for none.
    unit_start, unit_of, unit_weight
        Units whose injection members know when they order by rule.
    fuel_start, fuel_of
        Units of members that have a marginal cost.
    """

    table: Array
    places: Array
    numbers: Array
    meter_start: Array
    meter_of: Array
    meter_weight: Array
    load: Array
    unit_start: Array
    unit_of: Array
    unit_weight: Array
    fuel_start: Array
    fuel_of: Array


class Calls(NamedTuple):
    """How families are called.

    Attributes
    ----------
    table
        One :class:`CallRow` per family.
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


class Network(NamedTuple):
    """How the step and the power flow's rows of inputs meet.

    Attributes
    ----------
    at
        First column of each kind of input, in the order of :class:`powergrid.engine.compiled.flow.Inputs`.
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
    slot, unit
        Slots that policies fill as relays would, and the unit of each.
    numbers, moves, steps
        Parameters of the units as if all had local control, first row of the moves that they remember among those of
        their state, and the most steps of each in a tick.
    from_bus, to_bus, y_re, y_im, gain, r_pu, x_pu
        As in :class:`powergrid.networks.regulation.Relays`; empty where relays read their bus as it is.
    """

    family: Array
    upstream: Array
    bus: Array
    allowed: Array
    slot: Array
    unit: Array
    numbers: Array
    moves: Array
    steps: Array
    from_bus: Array
    to_bus: Array
    y_re: Array
    y_im: Array
    gain: Array
    r_pu: Array
    x_pu: Array


class Meters(NamedTuple):
    """What is measured besides branches and the source.

    Attributes
    ----------
    unit
        Units that have a meter of their own.
    net_start, net_of, net_sign
        Net readings: measurements that each adds up, and their signs.
    """

    unit: Array
    net_start: Array
    net_of: Array
    net_sign: Array


_WHOLE = ("family", "bus", "slot", "unit", "moves", "from_bus", "to_bus")
"""Fields of :class:`Relay` that are integers."""


class FloorPlan(NamedTuple):
    """Everything the compiled step needs of a layout.

    Attributes
    ----------
    choice, calls, rules, layers, delivery, network, relay, books, sight, meters, topologies
        See there.
    money, costs, features
        First column of each block in its own table, see :mod:`powergrid.engine.blocks`.
    widths, numbers
        A :class:`Widths` and a :class:`Numbers` as arrays.
    """

    choice: Choice
    calls: Calls
    rules: Rules
    layers: Layers
    delivery: Delivery
    network: Network
    relay: Relay
    books: Books
    sight: Sight
    meters: Meters
    topologies: TopologyTables
    money: Array
    costs: Array
    features: Array
    widths: Array
    numbers: Array


VERTICAL, GOVERNING, HORIZONTAL = range(3)
"""When the first seam of a layer runs: before devices decide, before they deliver, after they have."""

T = TypeVar("T")


def numbered(kind: type[T], counter: Iterator[int] | None = None) -> T:
    """A named tuple that holds the positions of its own fields, those of named tuples within it counted through.

    Compiled code takes the positions as constants. They are nowhere written by hand, so a field can be inserted
    anywhere.
    """
    counter = itertools.count() if counter is None else counter
    hints = get_type_hints(kind).values()
    return kind(*(numbered(hint, counter) if hasattr(hint, "_fields") else next(counter) for hint in hints))


CALL, WIDTH, NUMBER, INPUT = numbered(CallRow), numbered(Widths), numbered(Numbers), numbered(Inputs)
RULE_ROW, RULE_WIDTH = numbered(RuleRow), len(RuleRow._fields)
ACT, ACT_WIDTH = numbered(ActRow), len(ActRow._fields)
LAYER, LAYER_WIDTH = numbered(LayerRow), len(LayerRow._fields)
"""Positions in a row of ``Calls.table``, in ``FloorPlan.widths``, in ``FloorPlan.numbers`` and in ``Network.at``."""
MONEY, COST, FEATURE = numbered(MoneyColumns), numbered(CostColumns), numbered(FeatureColumns)
"""Positions in ``FloorPlan.money``, ``FloorPlan.costs`` and ``FloorPlan.features``."""
CALL_WIDTH = len(CallRow._fields)
PLAN = numbered(FloorPlan)
"""Numbers of the arrays of a floor plan in what :func:`pack` makes."""
CHOICE, CALLS, RULES, LAYERS, DELIVERY = PLAN.choice, PLAN.calls, PLAN.rules, PLAN.layers, PLAN.delivery
NETWORK, RELAY, BOOKS, SIGHT = PLAN.network, PLAN.relay, PLAN.books, PLAN.sight
METERS, TOPOLOGIES = PLAN.meters, PLAN.topologies
WIDTHS, NUMBERS = PLAN.widths, PLAN.numbers
MONEY_AT, COSTS_AT, FEATURES_AT = PLAN.money, PLAN.costs, PLAN.features


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
    layout: Layout,
    kernels: list[Kernels],
    rules: list[Rule],
    acts: list[int],
    seams: list[Seams],
    inputs: Inputs,
    reward: tuple[float, ...],
) -> tuple[FloorPlan, Fields]:
    """Number a layout's families, columns and terms."""
    calls, widths, state = _calls(layout, kernels)
    slots = layout.slots
    width = max(layout.action_size, 1)
    given = layout.settings
    reward_scale, safety_scale, max_penalty = reward
    numbers = Numbers(
        v_min_pu=given.v_min_pu,
        v_max_pu=given.v_max_pu,
        voltage=given.voltage_price * given.dt_h,
        overload=given.overload_price * given.dt_h,
        unserved=given.unserved_price * given.dt_h,
        unbalance_max_percent=given.unbalance_max_percent,
        unbalance=given.unbalance_price * given.dt_h,
        reward_scale=reward_scale,
        safety_scale=safety_scale,
        max_penalty=max_penalty,
        dt_h=given.dt_h,
    )
    unserved, own = (
        _sparse(layout.grid.load_series, table)
        for table in (layout.ledger.unserved_to_account, layout.ledger.load_to_account)
    )
    net = layout.meters.net
    plan = FloorPlan(
        choice=Choice(
            actor=_ints(slots.actor),
            position=_ints(slots.given % width),
            interval=_ints(slots.interval),
            offset=_ints(slots.offset),
        ),
        calls=calls,
        rules=_rules(layout, rules, acts, Widths(*widths.tolist())),
        layers=_layers(layout, seams, rules, Widths(*widths.tolist())),
        delivery=_delivery(layout),
        network=_network(layout, inputs, state),
        relay=_relay(layout, kernels),
        books=Books(
            start=unserved[0],
            series=unserved[1],
            load_p_mw=unserved[2],
            money_cell=_ints(layout.ledger.money.target),
            cost_cell=_ints(layout.ledger.costs.target),
            money_account=_ints(layout.ledger.money.target // max(len(layout.ledger.money_names), 1)),
            cost_account=_ints(layout.ledger.costs.target // max(len(layout.ledger.cost_names), 1)),
            three_phase=_ints(layout.grid.three_phase),
        ),
        sight=_sight(layout, own),
        meters=Meters(
            unit=_ints(layout.meters.units),
            net_start=_ints(np.searchsorted(net.target, np.arange(net.size + 1))),
            net_of=_ints(net.source),
            net_sign=_floats(net.weights),
        ),
        topologies=topology_tables(layout, state),
        money=_ints(layout.ledger.money_blocks.first),
        costs=_ints(layout.ledger.cost_blocks.first),
        features=_ints(layout.view.blocks.first),
        widths=widths,
        numbers=_floats(numbers),
    )
    return plan, state


def _rules(layout: Layout, rules: list[Rule], acts: list[int], widths: Widths) -> Rules:
    choices, slots, columns = layout.policies.choices, layout.slots, layout.columns
    table: list[RuleRow] = []
    asked: list[Array] = []
    ruled: list[tuple[int, int]] = []
    chosen = entries = 0
    for f, (family, rule) in enumerate(zip(layout.families, rules, strict=True)):
        if not any(rule):
            continue
        sent = family.price >= columns.width  # a parent's price replaces the whole tariff
        prices = (np.where(sent, family.price, column) for column in (family.retail, family.feed_in))
        places = (family.price, *prices, family.account % (len(layout.accounts) + 1), family.place)
        table.append(RuleRow(f, *rule, entries, chosen))
        asked += places
        entries += len(places) * family.size
        if rule.command:
            for unit, j in np.argwhere(family.free):
                slot = int(family.slot[unit, j])
                if choices.how[slot] == local_policies.RULE:
                    ruled.append((slot, chosen + int(j) * family.size + int(unit)))
            chosen += len(family.kernel.Command._fields) * family.size
    acting: list[ActRow] = []
    params: list[Array] = []
    noise: list[Array] = []
    row_of, memory = {row.call: row for row in table}, widths.signals_from + widths.signals
    memory += sum(sum(fields) for _, fields in memories(layout)[: len(layout.coordination.layers)])
    for policy, act in zip(choices.acting, acts, strict=True):
        own, family = row_of[policy.family], layout.families[policy.family]
        first = sum(map(len, noise)) if policy.policy.noisy else -1
        acting.append(ActRow(policy.family, act, own.asked, own.chosen, chosen, sum(map(len, params)), memory, first))
        params.append(_floats(policy.params))
        noise.append(policy.noise if policy.policy.noisy else policy.noise[:0])
        for unit, j in np.argwhere(family.free & policy.slots[family.slot]):
            ruled.append((int(family.slot[unit, j]), chosen + int(j) * family.size + int(unit)))
        chosen += len(family.kernel.Command._fields) * family.size
        memory += len(policy.policy.State._fields) * family.size
    net = _sparse(
        np.concatenate([layout.grid.load_series, layout.ledger.renewable_series]),
        np.concatenate([layout.ledger.load_to_account, -layout.ledger.renewable_to_account]),
    )
    return Rules(
        how=_ints(choices.how),
        share=_floats(choices.share),
        interval=_ints(slots.slot_interval),
        offset=_ints(slots.slot_offset),
        table=_ints(table).reshape(-1, RULE_WIDTH),
        asked=_joined(np.int64, *asked),
        slot=_ints([slot for slot, _ in ruled]),
        command=_ints([command for _, command in ruled]),
        acting=_ints(acting).reshape(-1, ACT_WIDTH),
        params=_joined(float, *params),
        noise=_joined(np.int64, *noise),
        net_start=net[0],
        net_series=net[1],
        net_p_mw=net[2],
        ahead=_ints((len(columns.series), columns.price_hours, columns.column("hour"), chosen)),
    )


def _layers(layout: Layout, seams: list[Seams], rules: list[Rule], widths: Widths) -> Layers:
    """Tables of the layers."""
    rows: list[LayerRow] = []
    places: list[Array] = []
    numbers: list[Array] = []
    metered, injected, fuelled = _Sums(), _Sums(), _Sums()
    fuels = _fuels(layout, rules)
    state, money, violation = widths.signals_from + widths.signals, 0, 0
    for layer, seam in zip(layout.coordination.layers, seams, strict=True):
        m, p = layer.members, len(layer.interval)
        columns = {c.name: own for c, own in zip(layer.added.channels, layer.channels, strict=True)}
        sent = [[columns[name] for name in names] for names in (seam.sent_before, seam.sent_after)]
        own = [layer.interval, layer.offset, layer.retail, layer.feed_in, layer.node]
        own += [layer.governed, layer.governed_member]
        at = sum(map(np.size, places))
        order = at + sum(map(np.size, own))
        asked = sum(map(len, layer.orders))
        shares = sum(map(np.size, numbers)) + len(layer.params)
        states = len(layer.protocol.State._fields) * m
        horizontal = HORIZONTAL if layer.level == 0 else VERTICAL
        rows.append(
            LayerRow(
                before=seam.before,
                after=seam.after,
                rule=seam.rule,
                abstain=seam.abstain,
                stage=GOVERNING if len(layer.governed) else horizontal,
                members=m,
                speakers=p,
                governed=len(layer.governed),
                state=state,
                states=states,
                places=at,
                order=order,
                orders=asked,
                sending=order + asked,
                sent_before=sum(map(len, sent[0])),
                sent_after=sum(map(len, sent[1])),
                numbers=sum(map(np.size, numbers)),
                shares=shares,
                links=shares + layer.node_share.size,
                noise=layer.noise if layer.protocol.noisy else -1,
                meter=len(metered.start) - 1,
                money=money,
                money_count=len(layer.added.money_names),
                violation=violation,
                violation_count=len(layer.added.violation_names),
            )
        )
        places += [*own, *layer.orders, *sent[0], *sent[1]]
        numbers += [np.array(layer.params, float), layer.node_share, layer.neighbours]
        sums, units = layer.units if layer.by_units else layer.meter, layer.units
        for member in range(m):
            terms, own = sums.target == member, (units.target == member) & (len(layer.governed) == 0)
            metered.add(-1 - sums.source[terms] if layer.by_units else sums.source[terms], sums.weights[terms])
            injected.add(units.source[own], units.weights[own])
            fuelled.add(fuels.get(int(layer.accounts[member]), []))
        state += states
        money += (m + 1) * len(layer.added.money_names)
        violation += m * len(layer.added.violation_names)
    return Layers(
        table=_ints(rows).reshape(-1, LAYER_WIDTH),
        places=_joined(np.int64, *places),
        numbers=_joined(float, *numbers),
        meter_start=_ints(metered.start),
        meter_of=_ints(metered.of),
        meter_weight=_floats(metered.weight),
        load=_joined(np.int64, *(layer.load for layer in layout.coordination.layers)),
        unit_start=_ints(injected.start),
        unit_of=_ints(injected.of),
        unit_weight=_floats(injected.weight),
        fuel_start=_ints(fuelled.start),
        fuel_of=_ints(fuelled.of),
    )


class _Sums:
    """Sparse sums that grow."""

    def __init__(self) -> None:
        self.start: list[int] = [0]
        self.of: list[int] = []
        self.weight: list[float] = []

    def add(self, of: Any, weight: Any = ()) -> None:
        """One more sum, of these terms."""
        self.of += list(of)
        self.weight += list(weight)
        self.start.append(len(self.of))


def _fuels(layout: Layout, rules: list[Rule]) -> dict[int, list[int]]:
    """Units with a marginal cost, by account."""
    found: dict[int, list[int]] = {}
    first = first_units(layout)
    for i, (family, rule) in enumerate(zip(layout.families, rules, strict=True)):
        for row, account in enumerate(family.account.tolist() if rule.marginal else ()):
            found.setdefault(account, []).append(first[i] + row)
    return found


def _delivery(layout: Layout) -> Delivery:
    start, series, p_mw, q_mvar, *by_voltage = _sparse(
        layout.grid.load_series, layout.grid.load_p_mw, layout.grid.load_q_mvar, *layout.grid.load_by_voltage
    )
    return Delivery(
        low=_floats(layout.slots.low),
        half_span=_floats(layout.slots.half_span),
        start=start,
        series=series,
        load_p_mw=p_mw,
        load_q_mvar=q_mvar,
        by_voltage=_floats(by_voltage).reshape(len(by_voltage), len(p_mw)),
        unit=_ints(layout.grid.inject.source),
        unit_bus=_ints(layout.grid.inject.target),
        unit_share=_floats(layout.grid.inject.weights),
    )


def _network(layout: Layout, inputs: Inputs, state: Fields) -> Network:
    caps, regulators = layout.caps, inputs.cap - inputs.tap
    no = np.zeros(0, int)
    units = np.arange(regulators) if layout.regulators.tap_of is None else layout.regulators.tap_of
    return Network(
        at=_ints(inputs),
        tap_unit=_ints(no if layout.taps is None else units),
        cap_state=_ints(no if caps is None else np.arange(state[caps][0].start, state[caps][0].stop)),
    )


def _relay(layout: Layout, kernels: list[Kernels]) -> Relay:
    found = Relay(*(np.zeros(0, np.int64 if name in _WHOLE else float) for name in Relay._fields))
    if layout.taps is None:
        return found
    family, kernel = layout.families[layout.taps], kernels[layout.taps]
    if layout.regulators.relays is not None:
        own = layout.regulators.relays._asdict().items()
        found = found._replace(**{name: (_ints if name in _WHOLE else _floats)(column) for name, column in own})
    choices, params, names = layout.policies.choices, family.params, family.kernel.State._fields
    asked = np.flatnonzero(family.free[:, 0] & (choices.how[family.slot[:, 0]] == local_policies.RELAY))
    return found._replace(
        slot=_ints(family.slot[asked, 0]),
        unit=_ints(asked),
        numbers=block(params._replace(local_control=np.ones(family.size))),
        moves=_ints([names.index("moves") * family.size]),
        steps=_floats(params.max_steps_per_tick),
        family=_ints((layout.taps, kernel.move, kernel.want)),
        upstream=_floats(layout.regulators.upstream).ravel(),
        bus=_ints(layout.regulators.relay_bus),
        allowed=block([family.kernel.allowed_moves(np, family.params, layout.settings.dt_h)]),
    )


def _sight(layout: Layout, own: tuple[Array, ...]) -> Sight:
    net_table = np.concatenate([layout.ledger.load_to_account, -layout.ledger.renewable_to_account])
    net = _sparse(
        np.concatenate([layout.grid.load_series, layout.ledger.renewable_series]),
        net_table[:, layout.ledger.renewable_accounts],
    )
    view = layout.view
    shown = np.where(view.valid, view.index, len(view.entries))
    return Sight(
        start=own[0],
        series=own[1],
        load_p_mw=own[2],
        net_start=net[0],
        net_series=net[1],
        net_p_mw=net[2],
        shown=_ints(shown.ravel()),
        alike=_alike(shown),
        low=_floats([entry.low for _, entry in view.entries]),
        high=_floats([entry.high for _, entry in view.entries]),
    )


def _alike(shown: Array) -> Array:
    """Number of leading entries that each row shares with the row before it."""
    found = np.zeros(len(shown), np.int64)
    if len(shown) > 1:
        found[1:] = np.cumprod(shown[1:] == shown[:-1], axis=1).sum(axis=1)
    return found


def _calls(layout: Layout, kernels: list[Kernels]) -> tuple[Calls, Array, Fields]:
    """One row a family, with the places of its blocks."""
    families, first_unit = layout.families, first_units(layout)
    ledger = layout.ledger
    settle_at = dict(zip(layout.ledger.settling, layout.ledger.settle_at, strict=True))
    rows: list[CallRow] = []
    numbers: list[Array] = []
    places: list[Array] = []
    fields: list[tuple[slice, ...]] = []
    state = readings = 0
    money, settled = ledger.money_blocks.first.device, ledger.money_blocks.first.settlement
    violation = ledger.cost_blocks.first.device
    for i, (family, kernel) in enumerate(zip(families, kernels, strict=True)):
        size, kind = family.size, family.kernel
        rows.append(
            CallRow(
                step=kernel.step,
                account=kernel.account,
                units=size,
                fields=len(kind.State._fields),
                numbers=sum(map(len, numbers)),
                places=sum(map(len, places)),
                state=state,
                unit=first_unit[i],
                money=money,
                settled=settled,
                violation=violation,
                reading=readings,
            )
        )
        numbers.append(block(family.params, *_idle(family)))
        series = [source.place for source in family.sources]
        places.append(_joined(np.int64, *_slots(family), *series, settle_at.get(i, np.zeros(0))))
        fields.append(tuple(slice(state + j * size, state + (j + 1) * size) for j in range(len(kind.State._fields))))
        state += len(kind.State._fields) * size
        money += len(kind.money_names) * size
        settled += size if i in settle_at else 0
        violation += len(kind.violation_names) * size
        readings += kernel.readings * size
    carried = state + layout.slots.size + 2 * len(layout.grid.v_start) + len(layout.ledger.settle_columns)
    widths = Widths(
        units=sum(family.size for family in families),
        states=state,
        slots=layout.slots.size,
        buses=len(layout.grid.v_start),
        prices=len(layout.ledger.settle_columns),
        signals_from=carried,
        signals=len(layout.coordination.signals),
        price=layout.columns.price,
        money=ledger.money_blocks.size,
        costs=ledger.cost_blocks.size,
        readings=readings,
        features=len(layout.view.entries),
        measured=len(layout.meters.names),
        ahead_start=layout.columns.ahead_start,
        branch_meters=layout.meters.branches,
        references=0 if layout.grid.islands is None else layout.grid.islands.fallen.shape[1],
        share_first=int(layout.ledger.sharing.argmax()),
        share_count=int(layout.ledger.sharing.sum()),
    )
    calls = Calls(
        table=np.array(rows, np.int64).reshape(-1, CALL_WIDTH),
        numbers=_joined(float, *numbers),
        places=_joined(np.int64, *places),
    )
    return calls, _ints(widths), tuple(fields)


def memories(layout: Layout) -> list[tuple[Any, list[int]]]:
    """States of all layers and memories of all policies with a kernel: their kinds and the widths of their fields."""
    layers = [(layer.protocol.State, layer.members) for layer in layout.coordination.layers]
    policies = [(own.policy.State, layout.families[own.family].size) for own in layout.policies.choices.acting]
    return [(kind, [width] * len(kind._fields)) for kind, width in (*layers, *policies)]


def first_units(layout: Layout) -> dict[int, int]:
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
