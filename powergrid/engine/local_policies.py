"""Local policies in the step: they fill commands and orders as the tables of :mod:`powergrid.engine.choices` say.

One text for NumPy and JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import DeviceAgent, Outlook
from powergrid.agents.market import MarketView
from powergrid.agents.policy import Unit
from powergrid.agents.protocol import Position
from powergrid.coordination import layers as coordination
from powergrid.coordination.layers import Layer, Now
from powergrid.core.backend import Namespace
from powergrid.core.derivatives import constant, within
from powergrid.core.types import Array
from powergrid.engine import schedule
from powergrid.engine.choices import ABSTAIN, NOBODY, RANDOM, RELAY, RULE, SHARE
from powergrid.engine.gather import join
from powergrid.engine.layout import Family
from powergrid.engine.tick import Tick


class Memory(NamedTuple):
    """What decisions leave: states of the layers, memories of policies with a kernel, and signals, as in a state."""

    layers: tuple[Any, ...]
    policies: tuple[Any, ...]
    signals: Array


def decide(tick: Tick, slots: Array) -> tuple[Array, Memory]:
    """Vertical layers top down, each after its parent has decided, then the devices.

    Layers that govern commands follow before delivery, the other horizontal ones after it.

    Parameters
    ----------
    slots
        What is chosen from outside, and what is held, ``(*batch, K)``.

    Returns
    -------
    slots, memory
    """
    layout, signals, states = tick.layout, tick.state.signals, list(tick.state.layers)
    for k, layer in enumerate(layout.coordination.layers):
        if layer.level == 0 or len(layer.governed):
            continue
        slots = ordered(tick, layer, states[k], slots, layout.slots.physical(slots), signals, None)
        physical = layout.slots.physical(slots)
        states[k], signals, _ = coordination.before(tick.xp, layer, states[k], now(tick), physical, signals)
    policies = tick.state.policies
    if tick.choices.any:
        slots, policies = _devices(tick, slots, signals)
    return slots, Memory(tuple(states), policies, signals)


def _due(tick: Tick) -> Array | None:
    """Where local policies decide at a tick, ``(*batch, K)``, the others hold; ``None`` is everywhere.

    A policy that stands in for actors is consulted for theirs in every tick.
    """
    plan, own, there = tick.layout.slots, tick.layout.slots.actor < 0, _there(tick)
    due = there
    if plan.waits(own):
        due = schedule.due_at(tick.state.tick, plan.slot_interval, plan.slot_offset) | np.logical_not(own)
        due = due if there is None else due & there
    corrected = tick.choices.reach > 0.0
    if not corrected.any():
        return due
    return tick.xp.where(corrected, tick.due[..., plan.actor], True if due is None else due)


def _corrected(tick: Tick, chosen: Array, slots: Array) -> Array:
    """What local policies have chosen, moved by what outside code adds to it."""
    xp, reach = tick.xp, tick.choices.reach
    if not (reach > 0.0).any():
        return chosen
    return within(xp, constant(xp, chosen) + xp.asarray(reach, dtype=slots.dtype) * slots)


def _there(tick: Tick) -> Array | None:
    """Whether the agent that decides each slot is there, ``(*batch, K)``; ``None`` where all always are."""
    availability, agent = tick.layout.availability, tick.layout.agent_of_slot
    if availability is None or not (agent >= 0).any():
        return None
    columns = np.where(agent >= 0, availability.column + len(availability.units) + agent, -1)
    there: Array = tick.xp.logical_not(coordination.flagged(tick.xp, tick.state.signals, columns))
    return there


def now(tick: Tick) -> Now:
    """What layers may use of the running tick, with the voltages of the last one."""
    layout = tick.layout
    return Now(tick.state.tick, tick.now, layout.columns.price, layout.settings.dt_h, tick.v_pu, tick.noise.protocols)


def _devices(tick: Tick, slots: Array, signals: Array) -> tuple[Array, tuple[Any, ...]]:
    """Commands of devices, by tables, rules and kernels."""
    xp, layout, params, state, row = tick[:5]
    choices, noise, due = tick.choices, tick.noise, _due(tick)
    plan, table, policies = layout.slots, _SlotValues(slots.shape), list(state.policies)
    own = {(id(acting.policy), acting.family): k for k, acting in enumerate(layout.policies.choices.acting)}
    prices = xp.concatenate([row, signals], axis=-1)
    net_load_mw = _net_load(tick) if choices.ruled else None
    for i in choices.ruled:
        family, columns, device = layout.families[i], params.families[i], state.devices[i]
        outlook = _outlook(tick, i, prices, net_load_mw)
        values = schedule.exogenous_of(family, row, tick.v_pu)
        command = family.kernel.rule(xp, columns, device, values, outlook, layout.settings.dt_h)
        table.put_all(xp, plan, family, command, choices.how == RULE)
        for acting in choices.acting:
            if acting.family != i:
                continue
            held = schedule.command(family, plan.physical(slots))
            uniform = noise.policy[..., acting.noise] if acting.policy.noisy else row[..., :1] * np.zeros(family.size)
            v_pu = tick.v_pu[..., family.place]
            shaped = family.kernel.Command(*(xp.broadcast_to(c, uniform.shape) for c in command))
            unit = Unit(columns, device, values, outlook, v_pu, uniform, held, shaped)
            k = own.get((id(acting.policy), i))
            memory = acting.policy.State() if k is None else policies[k]  # one without memory may stand in for actors
            after, chosen = acting.policy.act(xp, acting.params, memory, unit, layout.settings.dt_h)
            table.put_all(xp, plan, family, chosen, acting.slots)
            if k is not None:
                policies[k] = after
    if layout.taps is not None and (choices.how == RELAY).any():
        table.write(*_relay_moves(tick))
    chosen = table.slots(xp, slots)
    if (choices.how == SHARE).any():
        chosen = xp.where(choices.how == SHARE, xp.asarray(choices.share, dtype=slots.dtype), chosen)
    if (choices.how == RANDOM).any():
        chosen = xp.where(choices.how == RANDOM, 2.0 * noise.policy - 1.0, chosen)
    mine = choices.how != NOBODY
    mine &= ~layout.coordination.ordering  # orders have been given, or follow
    chosen = _corrected(tick, chosen, slots)
    return xp.where(mine if due is None else mine & due, chosen, slots), tuple(policies)


def ordered(
    tick: Tick,
    layer: Layer,
    state: Any,
    slots: Array,
    physical: Array,
    signals: Array,
    position: Position | None,
    market: MarketView | None = None,
) -> Array:
    """The slots with the orders that local policies give in one layer, whose state is `state`.

    Orders of agents that are absent are those with which nobody takes part, where the protocol has such.

    `physical` are the commands that hold, `signals` what has been sent so far, `market` what a layer with a market
    knows of it.
    """
    xp, plan, choices, due, there = tick.xp, tick.layout.slots, tick.choices, _due(tick), _there(tick)
    chosen, leaves = slots, slots
    fixed = np.concatenate([*layer.orders, np.zeros(0, int)]).astype(int)
    for how, name in ((RULE, "rule"), (ABSTAIN, "abstain")):
        absent = how == ABSTAIN and there is not None and (tick.layout.agent_of_slot[fixed] >= 0).any()
        if not ((choices.how[fixed] == how).any() or (absent and layer.protocol.abstain is not None)):
            continue
        given = coordination.decided(xp, layer, state, now(tick), physical, signals, name, position, market)
        wanted = [
            share_of(xp, plan, order, xp.broadcast_to(given[k], (*slots.shape[:-1], len(order))))
            for k, order in enumerate(layer.orders)
        ]
        table, whole = _SlotValues(slots.shape), _SlotValues(slots.shape)
        for order, shares in zip(layer.orders, wanted, strict=True):
            mask = choices.how[order] == how
            if mask.any():
                table.write(shares[..., mask], order[mask])
            whole.write(shares, order)
        chosen = table.slots(xp, chosen)
        leaves = whole.slots(xp, slots) if absent else leaves
    own = np.zeros(plan.size, bool)
    own[fixed] = choices.how[fixed] != NOBODY
    if own.any():
        chosen = xp.where(own & (choices.how == SHARE), xp.asarray(choices.share, dtype=slots.dtype), chosen)
        if (choices.how[fixed] == RANDOM).any():
            chosen = xp.where(own & (choices.how == RANDOM), 2.0 * tick.noise.policy - 1.0, chosen)
        chosen = _corrected(tick, chosen, slots)
        chosen = xp.where(own if due is None else own & due, chosen, slots)
    return chosen if there is None or leaves is slots else xp.where(there, chosen, leaves)


def share_of(xp: Namespace, plan: Any, slots: np.ndarray, physical: Array) -> Array:
    """Physical values as shares in [-1, 1] of the ranges of some slots; the middle where a range has no width."""
    span = np.where(plan.half_span[slots] > 0.0, plan.half_span[slots], 1.0)
    return xp.minimum(xp.maximum((physical - plan.low[slots]) / span - 1.0, -1.0), 1.0)


class _SlotValues:
    """Collects values for slots, so that one gather writes them all."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.values: list[Array] = []
        self.index: list[np.ndarray] = []

    def write(self, values: Array, index: np.ndarray) -> None:
        """Values ``(*batch, n)`` for the slots `index` ``(n,)``."""
        self.values.append(values)
        self.index.append(index)

    def put_all(self, xp: Namespace, plan: Any, family: Family, command: Any, wanted: np.ndarray) -> None:
        """Translate a physical command into the wanted ones of its slots."""
        for j, values in enumerate(command):
            units = np.flatnonzero(family.free[:, j] & wanted[family.slot[:, j]])
            if len(units):
                values = xp.broadcast_to(values, (*self.shape[:-1], family.size))[..., units]
                slot = family.slot[units, j]
                self.write(share_of(xp, plan, slot, values), slot)

    def slots(self, xp: Namespace, default: Array) -> Array:
        """All slots, those never written as in `default`."""
        if not self.index:
            return default
        written = np.concatenate(self.index)
        source = np.arange(default.shape[-1])
        source[written] = default.shape[-1] + np.arange(len(written))
        return xp.concatenate([default, *self.values], axis=-1)[..., source]


def _net_load(tick: Tick) -> Array:
    """Load of each account minus all that sun, wind and water offer its plants [MW], ``(*batch, accounts + 1)``."""
    xp, layout, params = tick[:3]
    net_load_mw = tick.net_load()
    for i, (family, columns) in enumerate(zip(layout.families, params.families, strict=True)):
        counted = "available_pu" in family.kernel.Exogenous._fields  # power by a series, in layout.net_load
        if counted or family.kernel.available is DeviceAgent.available:
            continue
        series = schedule.exogenous_of(family, tick.now, tick.v_pu)
        offered_mw = family.kernel.available(xp, columns, series, layout.settings.dt_h)
        failed = tick.failed(i)
        offered_mw = offered_mw if failed is None else xp.where(failed, 0.0, offered_mw)
        owned = (family.account % net_load_mw.shape[-1])[:, None] == range(net_load_mw.shape[-1])
        net_load_mw = net_load_mw - offered_mw @ xp.asarray(owned, dtype=net_load_mw.dtype)
    return net_load_mw


def _settlement(tick: Tick, i: int) -> Array:
    """Settlement price of each unit of a family [$/MWh], ``(*batch, n)``; zero where it holds nothing of worth."""
    books, slots = tick.layout.ledger, tick.state.slots
    if i not in books.settling:
        return tick.xp.zeros((*slots.shape[:-1], tick.layout.families[i].size), dtype=slots.dtype)
    return tick.state.settlement_per_mwh[..., books.settle_at[books.settling.index(i)]]


def _outlook(tick: Tick, i: int, prices: Array, net_load_mw: Array) -> Outlook:
    """What the rule of family `i` may know of prices and loads."""
    xp, now, family, columns = tick.xp, tick.now, tick.layout.families[i], tick.layout.columns
    start = len(columns.series)
    ahead = now[..., start : start + columns.price_hours]
    hour = now[..., columns.column("hour")]
    price = prices[..., family.price]
    # a parent's price stands for the market's; the tariff of the unit's meter goes on top, as without a parent
    shift = price - prices[..., family.base]
    retail, feed_in = family.tariff(columns.price)
    return Outlook(
        price_per_mwh=price,
        retail_per_mwh=prices[..., retail] + shift,
        feed_in_per_mwh=prices[..., feed_in] + shift,
        price_ahead_per_mwh=xp.moveaxis(ahead, -1, 0)[..., None],
        mean_price_per_mwh=ahead.mean(-1)[..., None],
        net_load_mw=net_load_mw[..., family.account],
        hour=hour[..., None],
        settlement_per_mwh=_settlement(tick, i),
    )


def _relay_moves(tick: Tick) -> tuple[Array, np.ndarray]:
    """Commands of regulators without local control, and their slots.

    They make the steps that their relays would make on the last voltages, upstream first.
    """
    xp, layout, params, state = tick[:4]
    assert layout.taps is not None
    family, own, columns = layout.families[layout.taps], state.devices[layout.taps], params.families[layout.taps]
    kernel = family.kernel
    reading = tick.v_pu[..., layout.regulators.relay_bus]
    if layout.regulators.relays is not None:
        reading = layout.regulators.relays.read(xp, state.v_re, state.v_im, kernel.ratio(columns, own))
    columns, rested = columns._replace(local_control=columns.step_pu * 0.0 + 1.0), own._replace(moves=own.moves * 0.0)
    steps = kernel.wanted_steps(xp, columns, rested, reading, columns.max_steps_per_tick)
    waits = xp.abs(steps) @ xp.asarray(layout.regulators.upstream, dtype=steps.dtype) > 0.0
    free = family.free[:, 0] & (tick.choices.how[family.slot[:, 0]] == RELAY)
    moves = xp.where(waits, 0.0, steps) / columns.max_steps_per_tick
    return moves[..., free], family.slot[free, 0]


def position(tick: Tick, layer: Layer, physical: Array, injections: Sequence[Any] | None) -> Position:
    """What a layer's members know when they order by rule.

    Parameters
    ----------
    physical
        All commands in physical units.
    injections
        What every family injects in this tick; ``None`` where it is not known yet.
    """
    xp, layout, params, _, row = tick[:5]
    load_mw = row[..., layout.grid.load_series] @ params.load_to_account
    imported = xp.where(layer.load >= 0, load_mw[..., layer.load], 0.0)
    if injections is not None:
        p_mw = join(xp, [injections[i].p_mw for i in layout.injecting], row.shape[:-1], row.dtype)
        imported = imported - layer.units(xp, p_mw)
    cost = imported * 0.0
    for i, (family, columns) in enumerate(zip(layout.families, params.families, strict=True)):
        fields = family.kernel.Command._fields
        if "p_mw" not in fields or not family.free.any():
            continue
        p_mw = xp.broadcast_to(schedule.command(family, physical)[fields.index("p_mw")], (*row.shape[:-1], family.size))
        marginal = family.kernel.marginal_cost(xp, columns, p_mw)
        if marginal is None:
            continue
        runs, failed = p_mw > 0.0, tick.failed(i)
        running = xp.where(runs if failed is None else runs & xp.logical_not(failed), marginal, 0.0)
        for member, account in enumerate(layer.accounts[:-1]):
            mine = family.account == account
            if mine.any():
                here = np.arange(layer.members) == member
                cost = xp.where(here, xp.maximum(cost, xp.max(running[..., mine], axis=-1)[..., None]), cost)
    return Position(cost, imported)
