"""Tables of the compiled step: what they hold, and the numbers by which compiled code finds it.

Sparse sums are ``start`` (row pointers) with one entry a term behind it. Units are numbered family by family, those
that inject power first, so that the first ``N`` columns of a table of units are the layout's injecting units.
:mod:`powergrid.engine.compiled.plan` fills them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.blocks import CostColumns, FeatureColumns, MoneyColumns
from powergrid.engine.compiled.flow import Inputs
from powergrid.engine.compiled.topology_tables import TopologyTables

Ints = Annotated[Array, np.int64]
Floats = Annotated[Array, np.float64]

Fields = tuple[tuple[slice, ...], ...]
"""Where each field of each family's state lies."""


class CallRow(NamedTuple):
    """One family's row of ``Calls.table``: addresses, number of units, and where each of its blocks begins.

    Attributes
    ----------
    step, account, failed
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
    failed: int
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

    actor: Ints
    position: Ints
    interval: Ints
    offset: Ints


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
    how, share, reach, interval, offset
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

    how: Ints
    share: Floats
    reach: Floats
    interval: Ints
    offset: Ints
    table: Ints
    asked: Ints
    slot: Ints
    command: Ints
    acting: Ints
    params: Floats
    noise: Ints
    net_start: Ints
    net_series: Ints
    net_p_mw: Floats
    ahead: Ints


class LayerRow(NamedTuple):
    """One layer's row of ``Layers.table``.

    Attributes
    ----------
    before, after, rule, abstain
        Addresses of its seams and of what gives its orders, 0 where it has none.
    memberwise
        Whether all of them but the second seam run for a group of environments at once.
    stage
        When the first runs, see :data:`VERTICAL`.
    members, speakers, governed
        Their numbers.
    state, states
        First column of its state among what is carried, and their number.
    places
        First of its entries in ``Layers.places``: intervals and offsets of the speakers, tariff columns and nodes of
        the members, slots and members of governed commands, first units of the members.
    order, orders
        First of the slots of its orders there, and their number.
    sending, sent_before, sent_after
        First of the signals that it sends there, and how many each seam sends.
    sizes
        First of its sizes and whole tables there.
    numbers, shares, tables
        First of its parameters, of the weights of nodes, with the nominal frequency behind them, and of its tables in
        ``Layers.numbers``.
    noise, draws
        First of its random numbers, and their number.
    works
        Number of its members' units.
    heard
        Signal that stands for the market price; -1 for none.
    member
        First of its members among those of all layers.
    meter, metered
        First of its sums of metered energy among those of all layers, and their number.
    parties
        Those whom its money passes between: one more than those whom its violations are booked on.
    money, money_count, violation, violation_count
        First of its columns among those of all layers, and their names' number.
    """

    before: int
    after: int
    rule: int
    abstain: int
    memberwise: int
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
    sizes: int
    numbers: int
    shares: int
    tables: int
    noise: int
    draws: int
    works: int
    heard: int
    member: int
    meter: int
    metered: int
    parties: int
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
    most
        Largest number of any layer in each column of `table`.
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

    table: Ints
    most: Ints
    places: Ints
    numbers: Floats
    meter_start: Ints
    meter_of: Ints
    meter_weight: Floats
    load: Ints
    unit_start: Ints
    unit_of: Ints
    unit_weight: Floats
    fuel_start: Ints
    fuel_of: Ints


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

    table: Ints
    numbers: Floats
    places: Ints


class Delivery(NamedTuple):
    """Physical range of each slot ``(K,)``, the network's own loads by bus, and what units feed into which bus.

    `by_voltage` holds the parts of the loads that follow the voltage, ``(4, terms)``: active and reactive power of
    constant current, then of constant impedance; ``(0, terms)`` where none does. `unit`, `unit_bus` and `unit_share`
    have one entry for each bus of each injecting unit.
    """

    low: Floats
    half_span: Floats
    start: Ints
    series: Ints
    load_p_mw: Floats
    load_q_mvar: Floats
    by_voltage: Floats
    unit: Ints
    unit_bus: Ints
    unit_share: Floats


class Books(NamedTuple):
    """The network's own loads by account's area, the shared rest last, and where money and cost columns belong.

    `three_phase` holds the nodes of buses with three phases, ``(t, 3)``. Cells number the flattened tables of
    ``accounts + 1`` rows, accounts those rows; -1 drops a column. `objective_account` are the accounts that the reward
    of each acting agent sums, from its `objective_start` on; both are empty where each has its own alone.
    """

    start: Ints
    series: Ints
    load_p_mw: Floats
    money_cell: Ints
    cost_cell: Ints
    money_account: Ints
    cost_account: Ints
    objective_start: Ints
    objective_account: Ints
    three_phase: Ints


class Service(NamedTuple):
    """Devices that may be out of service; empty but for `column` where none ever is.

    Attributes
    ----------
    column
        Among what is carried, column that says whether each unit is out, -1 for one that never is.
    status
        First of these columns.
    silent_start, silent_column
        Columns of the devices of actors that act for no others.
    actor_column, slot_column
        Column that says of each actor, and of the agent that decides each slot, whether it is absent; -1 for those that
        never are.
    lost_column, lost_series, lost_mw
        Plants that follow a series: their columns, their series, and their power at a series value of 1 [MW].
    lost_account, lost_feature
        Account of each, the rest last, and its place among those with renewables, -1 for none.
    """

    column: Ints
    status: Ints
    silent_start: Ints
    silent_column: Ints
    actor_column: Ints
    slot_column: Ints
    lost_column: Ints
    lost_series: Ints
    lost_mw: Floats
    lost_account: Ints
    lost_feature: Ints


class Sight(NamedTuple):
    """What is seen.

    Attributes
    ----------
    start, series, load_p_mw
        The network's own loads by account's meters, the rest last.
    net_start, net_series, net_p_mw
        The same less available renewable power, of the accounts that have renewables.
    shown
        Feature of each number that agents observe, ``(N,)``.
    offsets
        First number of each agent and, last, `N`, ``(A + 1,)``.
    low, high
        Bounds of the features that agents see; the others' do not matter.
    alike
        Number of leading entries of each agent that equal those of the agent before, ``(A,)``.
    """

    start: Ints
    series: Ints
    load_p_mw: Floats
    net_start: Ints
    net_series: Ints
    net_p_mw: Floats
    shown: Ints
    offsets: Ints
    alike: Ints
    low: Floats
    high: Floats


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

    at: Ints
    tap_unit: Ints
    cap_state: Ints


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

    family: Ints
    upstream: Floats
    bus: Ints
    allowed: Floats
    slot: Ints
    unit: Ints
    numbers: Floats
    moves: Ints
    steps: Floats
    from_bus: Ints
    to_bus: Ints
    y_re: Floats
    y_im: Floats
    gain: Floats
    r_pu: Floats
    x_pu: Floats


class Meters(NamedTuple):
    """What is measured besides branches and the source.

    Attributes
    ----------
    unit
        Units that have a meter of their own.
    net_start, net_of, net_sign
        Net readings: measurements that each adds up, and their signs.
    """

    unit: Ints
    net_start: Ints
    net_of: Ints
    net_sign: Floats


class FloorPlan(NamedTuple):
    """Everything the compiled step needs of a layout.

    Attributes
    ----------
    choice, calls, rules, layers, delivery, network, relay, books, service, sight, meters, topologies
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
    service: Service
    sight: Sight
    meters: Meters
    topologies: TopologyTables
    money: Ints
    costs: Ints
    features: Ints
    widths: Ints
    numbers: Floats


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
METERS, TOPOLOGIES, SERVICE = PLAN.meters, PLAN.topologies, PLAN.service
WIDTHS, NUMBERS = PLAN.widths, PLAN.numbers
MONEY_AT, COSTS_AT, FEATURES_AT = PLAN.money, PLAN.costs, PLAN.features


def filled(kind: type[T], **columns: Any) -> T:
    """A table whose columns get the types that its declaration gives them."""
    given: Any = kind(**columns)
    types = get_type_hints(kind, include_extras=True).values()
    pairs = zip(given, types, strict=True)
    return kind(*(np.ascontiguousarray(values, of.__metadata__[0]) for values, of in pairs))
