"""Floor plan of the compiled step: every table of the layout as flat arrays, numbered once.

Every array that crosses from Python into compiled code costs about 0.2 us, a named tuple of ten some 3 us; so a floor
plan crosses as two arrays, made by :func:`pack`, and is read there by the numbers of its parts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.choices import RELAY, RULE
from powergrid.engine.compiled.flow import Inputs
from powergrid.engine.compiled.kernels import Kernels
from powergrid.engine.compiled.layer_kernels import Seams, sizes_of
from powergrid.engine.compiled.rules import Rule
from powergrid.engine.compiled.tables import (
    ACT_WIDTH,
    CALL_WIDTH,
    GOVERNING,
    HORIZONTAL,
    LAYER_WIDTH,
    RULE_WIDTH,
    VERTICAL,
    ActRow,
    Books,
    CallRow,
    Calls,
    Choice,
    Delivery,
    Fields,
    FloorPlan,
    LayerRow,
    Layers,
    Meters,
    Network,
    Numbers,
    Relay,
    RuleRow,
    Rules,
    Service,
    Sight,
    Widths,
    filled,
)
from powergrid.engine.compiled.topology_tables import topology_tables
from powergrid.engine.layout import Family, Layout
from powergrid.engine.view import View


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
    net, of = layout.meters.net, layout.ledger.objective
    objective = np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    if of is not None:
        objective = np.searchsorted(of.target, np.arange(layout.acting + 1)), of.source
    plan = FloorPlan(
        choice=filled(
            Choice,
            actor=slots.actor,
            position=slots.given % width,
            interval=slots.interval,
            offset=slots.offset,
        ),
        calls=calls,
        rules=_rules(layout, rules, acts, Widths(*widths.tolist())),
        layers=_layers(layout, seams, rules, Widths(*widths.tolist())),
        delivery=_delivery(layout),
        network=_network(layout, inputs, state),
        relay=_relay(layout, kernels),
        books=filled(
            Books,
            **dict(zip(("start", "series", "load_p_mw"), unserved, strict=True)),
            money_cell=layout.ledger.money.target,
            cost_cell=layout.ledger.costs.target,
            money_account=layout.ledger.money.target // max(len(layout.ledger.money_names), 1),
            cost_account=layout.ledger.costs.target // max(len(layout.ledger.cost_names), 1),
            objective_start=objective[0],
            objective_account=objective[1],
            three_phase=layout.grid.three_phase,
        ),
        service=_service(layout, Widths(*widths.tolist())),
        sight=_sight(layout, own),
        meters=filled(
            Meters,
            unit=layout.meters.units,
            net_start=np.searchsorted(net.target, np.arange(net.size + 1)),
            net_of=net.source,
            net_sign=net.weights,
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
        account = family.account % (len(layout.accounts) + 1)
        places = (family.price, *family.tariff(columns.price), account, family.place, family.base)
        table.append(RuleRow(f, *rule, entries, chosen))
        asked += places
        entries += len(places) * family.size
        if rule.command:
            for unit, j in np.argwhere(family.free):
                slot = int(family.slot[unit, j])
                if choices.how[slot] == RULE:
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
    net = _sparse(*_net_load(layout))
    return filled(
        Rules,
        how=choices.how,
        share=choices.share,
        reach=choices.reach,
        interval=slots.slot_interval,
        offset=slots.slot_offset,
        table=_ints(table).reshape(-1, RULE_WIDTH),
        asked=_joined(np.int64, *asked),
        slot=[slot for slot, _ in ruled],
        command=[command for _, command in ruled],
        acting=_ints(acting).reshape(-1, ACT_WIDTH),
        params=_joined(float, *params),
        noise=_joined(np.int64, *noise),
        **dict(zip(("net_start", "net_series", "net_p_mw"), net, strict=True)),
        ahead=(len(columns.series), columns.price_hours, columns.column("hour"), chosen),
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
        own += [layer.governed, layer.governed_member, layer.unit]
        own += [np.where(part >= 0, widths.signals_from + part, -1) for part in (layer.absent, layer.works)]
        at = sum(map(np.size, places))
        order = at + sum(map(np.size, own))
        asked = sum(map(len, layer.orders))
        shares = sum(map(np.size, numbers)) + len(layer.params)
        states = sum(layer.widths)
        sizes, tables = sizes_of(layer)
        horizontal = HORIZONTAL if layer.level == 0 else VERTICAL
        rows.append(
            LayerRow(
                before=seam.before,
                after=seam.after,
                rule=seam.rule,
                abstain=seam.abstain,
                memberwise=seam.memberwise,
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
                sizes=order + asked + sum(map(len, sent[0])) + sum(map(len, sent[1])),
                numbers=sum(map(np.size, numbers)),
                shares=shares,
                tables=shares + layer.node_share.size + 1,
                noise=layer.noise,
                draws=layer.draws,
                works=len(layer.works),
                heard=layer.heard,
                member=len(injected.start) - 1,
                meter=len(metered.start) - 1,
                metered=layer.metered,
                parties=len(layer.accounts),
                money=money,
                money_count=len(layer.added.money_names),
                violation=violation,
                violation_count=len(layer.added.violation_names),
            )
        )
        places += [*own, *layer.orders, *sent[0], *sent[1], sizes]
        numbers += [np.array(layer.params, float), layer.node_share, np.array([layer.f_hz]), tables]
        sums = layer.units if layer.by_units else layer.meter
        for source, weight in _by_target(sums, layer.metered):
            metered.add(-1 - source if layer.by_units else source, weight)
        for source, weight in _by_target(layer.units, m):
            injected.add(*(() if len(layer.governed) else source, () if len(layer.governed) else weight))
        for account in layer.accounts[:m].tolist():
            fuelled.add(fuels.get(account, []))
        state += states
        money += len(layer.accounts) * len(layer.added.money_names)
        violation += (len(layer.accounts) - 1) * len(layer.added.violation_names)
    table = _ints(rows).reshape(-1, LAYER_WIDTH)
    return filled(
        Layers,
        table=table,
        most=table.max(axis=0, initial=0),
        places=_joined(np.int64, *places),
        numbers=_joined(float, *numbers),
        meter_start=metered.start,
        meter_of=metered.of,
        meter_weight=metered.weight,
        load=_joined(np.int64, *(layer.load for layer in layout.coordination.layers)),
        unit_start=injected.start,
        unit_of=injected.of,
        unit_weight=injected.weight,
        fuel_start=fuelled.start,
        fuel_of=fuelled.of,
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


def _by_target(sums: Any, count: int) -> list[tuple[Array, Array]]:
    """Sources and weights of each of so many sums; what has no target is in none."""
    kept = np.flatnonzero(sums.target >= 0)
    order = kept[np.argsort(sums.target[kept], kind="stable")]
    ends = np.searchsorted(sums.target[order], np.arange(1, count))
    return list(zip(*(np.split(part[order], ends) for part in (sums.source, sums.weights)), strict=True))


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
    return filled(
        Delivery,
        low=layout.slots.low,
        half_span=layout.slots.half_span,
        start=start,
        series=series,
        load_p_mw=p_mw,
        load_q_mvar=q_mvar,
        by_voltage=_floats(by_voltage).reshape(len(by_voltage), len(p_mw)),
        unit=layout.grid.inject.source,
        unit_bus=layout.grid.inject.target,
        unit_share=layout.grid.inject.weights,
    )


def _network(layout: Layout, inputs: Inputs, state: Fields) -> Network:
    caps, regulators = layout.caps, inputs.cap - inputs.tap
    no = np.zeros(0, int)
    units = np.arange(regulators) if layout.regulators.tap_of is None else layout.regulators.tap_of
    return filled(
        Network,
        at=inputs,
        tap_unit=no if layout.taps is None else units,
        cap_state=no if caps is None else np.arange(state[caps][0].start, state[caps][0].stop),
    )


def _relay(layout: Layout, kernels: list[Kernels]) -> Relay:
    found: dict[str, Any] = dict.fromkeys(Relay._fields, ())
    if layout.taps is None:
        return filled(Relay, **found)
    family, kernel = layout.families[layout.taps], kernels[layout.taps]
    if layout.regulators.relays is not None:
        found |= layout.regulators.relays._asdict()
    choices, params, names = layout.policies.choices, family.params, family.kernel.State._fields
    asked = np.flatnonzero(family.free[:, 0] & (choices.how[family.slot[:, 0]] == RELAY))
    found |= {
        "slot": family.slot[asked, 0],
        "unit": asked,
        "numbers": block(params._replace(local_control=np.ones(family.size))),
        "moves": [names.index("moves") * family.size],
        "steps": params.max_steps_per_tick,
        "family": (layout.taps, kernel.move, kernel.want),
        "upstream": layout.regulators.upstream.ravel(),
        "bus": layout.regulators.relay_bus,
        "allowed": block([family.kernel.allowed_moves(np, family.params, layout.settings.dt_h)]),
    }
    return filled(Relay, **found)


def _service(layout: Layout, widths: Widths) -> Service:
    """Devices that may be out of service."""
    given, none = layout.availability, np.zeros(0, np.int64)
    column = np.full(widths.units, -1)
    if given is None:
        nobody = {"actor_column": np.full(layout.acting, -1), "slot_column": np.full(layout.slots.size, -1)}
        return filled(Service, **{**dict.fromkeys(Service._fields, none), **nobody, "column": column})
    first = first_units(layout)
    carried = widths.signals_from + given.column
    unit = [first[i] + row for i, row in zip(given.family.tolist(), given.row.tolist(), strict=True)]
    column[unit] = carried + np.arange(len(unit))
    of_actors = [device for device, _ in _by_target(layout.silenced[0], layout.acting)]
    account = layout.ledger.renewable_accounts.tolist()
    return filled(
        Service,
        column=column,
        status=[carried],
        silent_start=np.cumsum([0, *map(len, of_actors)]),
        silent_column=carried + _joined(np.int64, *of_actors),
        actor_column=_absent(given.agent_of_actor(layout.acting), carried + len(unit)),
        slot_column=_absent(layout.agent_of_slot, carried + len(unit)),
        lost_column=widths.signals_from + given.offered_column,
        lost_series=given.offered_series,
        lost_mw=given.offered_mw,
        lost_account=given.offered_account,
        lost_feature=[account.index(own) if own in account else -1 for own in given.offered_account.tolist()],
    )


def _absent(agent: Array, first: int) -> Array:
    """Column of each agent that may be absent, where those of all of them begin; -1 stays."""
    return np.where(agent >= 0, first + agent, -1)


def _sight(layout: Layout, own: tuple[Array, ...]) -> Sight:
    series, table = _net_load(layout)
    net = _sparse(series, table[:, layout.ledger.renewable_accounts])
    view = layout.view
    return filled(
        Sight,
        **dict(zip(("start", "series", "load_p_mw"), own, strict=True)),
        **dict(zip(("net_start", "net_series", "net_p_mw"), net, strict=True)),
        shown=view.index,
        offsets=view.offsets,
        alike=_alike(view),
        low=[entry.low for _, entry in view.entries],
        high=[entry.high for _, entry in view.entries],
    )


def _net_load(layout: Layout) -> tuple[Array, Array]:
    """Series of loads and renewables, and their power at a value of 1 by account, that of renewables below zero."""
    books = layout.ledger
    table = np.concatenate([books.load_to_account, -books.renewable_to_account])
    return np.concatenate([layout.grid.load_series, books.renewable_series]), table


def _alike(view: View) -> Array:
    """Number of leading features that each agent shares with the agent before it."""
    rows = [view.index[numbers] for numbers in view.slices]
    shorter = [min(len(row), len(before)) for before, row in pairwise(rows)]
    same = [row[:n] == before[:n] for n, (before, row) in zip(shorter, pairwise(rows), strict=True)]
    return np.array([0, *(np.append(equal, False).argmin() for equal in same)][: len(rows)], np.int64)


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
                failed=kernel.failed,
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
    calls = filled(
        Calls,
        table=np.array(rows, np.int64).reshape(-1, CALL_WIDTH),
        numbers=_joined(float, *numbers),
        places=_joined(np.int64, *places),
    )
    return calls, _ints(widths), tuple(fields)


def memories(layout: Layout) -> list[tuple[Any, list[int]]]:
    """States of all layers and memories of all policies with a kernel: their kinds and the widths of their fields."""
    layers = [(layer.protocol.State, list(layer.widths)) for layer in layout.coordination.layers]
    policies = [(own.policy.State, layout.families[own.family].size) for own in layout.policies.choices.acting]
    return [*layers, *((kind, [width] * len(kind._fields)) for kind, width in policies)]


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
