"""One step of a power system with agents, left to right, as a pure function over arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.types import Array, Flow, Injection, NodeLoad, Tariff
from powergrid.engine import island_droop, ledger, observations, regulation, schedule
from powergrid.engine.gather import join
from powergrid.engine.inverters import Inverters, Tick
from powergrid.engine.layout import Family, Layout, Params
from powergrid.engine.state import Exogenous, First, Noise, Output, State
from powergrid.engine.switching import Outages

_TO_REST_H = 24.0
"""Time the regulators get at reset [h]; enough for their whole range."""


def step(
    xp: Any, layout: Layout, params: Params, state: State, actions: Array, exogenous: Exogenous, noise: Noise
) -> tuple[State, Output]:
    """Advance every environment of a batch by one tick.

    Parameters
    ----------
    xp
        Array namespace, NumPy or JAX.
    actions
        ``(*batch, A, k_max)`` in [-1, 1]; numbers outside are clipped and counted.

    Returns
    -------
    state, output
        The state after the tick, and what agents and ledgers see of it.
    """
    now = exogenous.now
    slots, due = schedule.choose(xp, layout, params, state, actions, exogenous, noise)
    books = [
        orders(market, books, layout.slots.physical(slots), now, xp)
        for market, books in zip(layout.markets, state.markets, strict=True)
    ]
    _, devices, injections, (p_mw, q_mvar), flow, topology, frequency_hz = _delivered(
        xp, layout, params, state, slots, now, layout.inverters
    )
    measured_mw = _measured(xp, layout, flow, p_mw)

    received, books = settle(xp, layout, books, measured_mw)
    last = state.tick + 1 >= layout.settings.episode_length
    paid, priced = _device_accounts(xp, layout, params, devices, injections, now, flow.v_pu, measured_mw)
    held = (
        xp.where(flow.converged[..., None], flow.v_re, state.v_re),
        xp.where(flow.converged[..., None], flow.v_im, state.v_im),
    )
    after = state._replace(devices=devices, markets=tuple(books), slots=slots, v_re=held[0], v_im=held[1])
    money = ledger.money(xp, layout, params, state, devices, paid, received)
    costs = ledger.costs(xp, layout, params, now, flow, priced, topology)

    after = after._replace(tick=state.tick + 1, row=state.row + 1)
    vector = observations.features(
        xp, layout, params, after, injections, exogenous.following, noise, _shown(xp, flow, held), measured_mw,
        frequency_hz,
    )  # fmt: skip
    done = xp.logical_not(flow.converged) & layout.settings.terminate_on_divergence
    return after, Output(
        observation=observations.observation(xp, layout, vector),
        central=vector[..., layout.view.central],
        money=money,
        costs=costs,
        transfers=transfers(xp, layout, money),
        p_mw=p_mw,
        q_mvar=q_mvar,
        measured_mw=measured_mw,
        flow=flow,
        clipped=(xp.abs(actions) > 1.0).sum(-1),
        due=due,
        done=done,
        last=last,
        frequency_hz=frequency_hz,
        available=_available(xp, layout, topology, due.shape),
    )


def settled_slots(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    exogenous: Exogenous,
    noise: Noise,
    inverters: Inverters,
) -> Array:
    """What is chosen in a tick, with the curves of `inverters` at rest in it, ``(*batch, K)``.

    Parameters
    ----------
    slots
        What those who act from outside command besides the curves. Plain Python devices repeat their last answers.
    """
    slots = schedule.decide_locally(xp, layout, params, state, slots, exogenous, noise, plain=False)
    return _delivered(xp, layout, params, state, slots, exogenous.now, inverters)[0]


def _delivered(
    xp: Any, layout: Layout, params: Params, state: State, slots: Array, now: Array, inverters: Inverters | None
) -> tuple[Array, tuple[Any, ...], list[Injection], tuple[Array, Array], Flow, Array | None, Array]:
    """What devices and the network make of the commands of a tick.

    Returns
    -------
    slots, devices, injections, powers, flow, topology, frequency
        The commands with what inverters chose; states and powers after delivery, by family and of all units; the flow,
        the topology it holds in, and the frequency at every unit [Hz].
    """
    physical, v_pu = layout.slots.physical(slots), xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im)
    devices, injections = _devices(xp, layout, params, state, physical, now, v_pu)
    topology = _topology(xp, layout, state.tick, state.outages, devices)
    devices, injections = _with_voltage(xp, layout, topology, state.devices, devices, injections)
    start, frequency_hz = regulation.Start(state.v_re, state.v_im), xp.zeros((*state.tick.shape, 0), dtype=now.dtype)
    following = None
    if inverters is not None:
        offered_mw = inverters.offered(xp, layout, params, now, v_pu)
        following = Tick(
            xp, layout, params, inverters, state, slots, injections, now, v_pu, offered_mw, topology,
            lambda injections: _node_load(xp, layout, params, injections, now)[0],
        )  # fmt: skip
    if layout.islands is not None:
        tick = island_droop.Tick(xp, layout, params, state, physical, now, v_pu)
        devices, injections, topology, start, frequency_hz = _carried(
            tick, topology, devices, injections, start, following
        )
        following = None if following is None else following._replace(injections=injections, topology=topology)
    load, *powers = _node_load(xp, layout, params, injections, now)
    dt_h = layout.settings.dt_h
    flow, devices, read = regulation.solve(xp, layout, params, devices, load, start, dt_h, topology, following)
    if following is not None:
        slots, devices, injections = following.after(read, devices)
        _, *powers = _node_load(xp, layout, params, injections, now)
    return slots, devices, injections, (powers[0], powers[1]), flow, topology, frequency_hz


def reset(
    xp: Any,
    layout: Layout,
    params: Params,
    key: Array,
    row: Array,
    settlement_per_mwh: Array,
    uniform: Array,
    following: Array,
    noise: Noise,
    outages: Outages,
) -> First:
    """Start episodes: draw device states, let the regulators come to rest with idle devices, and observe.

    Parameters
    ----------
    key, row
        Random key ``(*batch, 2)`` and first row of the exogenous table ``(*batch,)``.
    settlement_per_mwh
        Prices of putting stored energy back after the episode [$/MWh], ``(*batch, s)``.
    uniform
        Numbers in [0, 1) for initial states, ``(*batch, units)`` over all families.
    following
        Exogenous row of the first tick ``(*batch, W)``.
    outages
        What will fail in the episode.
    """
    batch, dtype = row.shape, following.dtype
    devices, at = [], 0
    for family, columns in zip(layout.families, params.families, strict=True):
        devices.append(family.kernel.reset(xp, columns, uniform[..., at : at + family.size]))
        at += family.size
    slots = xp.zeros((*batch, layout.slots.size), dtype=dtype) + xp.asarray(layout.slots.rest, dtype=dtype)
    if layout.python is not None:
        slots = layout.python.begin(id(params), row, uniform, slots)
        devices = layout.python.shown(layout, slots, devices)
    injections = [_nothing(xp, family, batch, dtype) for family in layout.families]
    load, p_mw, _ = _node_load(xp, layout, params, injections, following)
    unloaded = (layout.v_start.real, layout.v_start.imag)
    begin = regulation.Start(
        *(xp.zeros((*batch, len(part)), dtype=dtype) + xp.asarray(part, dtype=dtype) for part in unloaded)
    )
    tick = xp.zeros(batch, dtype=np.int32)
    topology = _topology(xp, layout, tick, outages, devices)
    flow, settled, _ = regulation.solve(xp, layout, params, tuple(devices), load, begin, _TO_REST_H, topology)
    state = State(
        tick=tick,
        row=row,
        key=key,
        devices=settled,
        markets=tuple(m.protocol.initial(xp, batch, len(m.members), dtype) for m in layout.markets),
        slots=slots,
        v_re=flow.v_re,
        v_im=flow.v_im,
        settlement_per_mwh=settlement_per_mwh,
        outages=outages,
    )
    measured_mw = _measured(xp, layout, flow, p_mw)
    frequency_hz = None
    if layout.islands is not None:
        nominal = xp.zeros((*batch, layout.islands.fallen.shape[1]), dtype=dtype)
        frequency_hz = layout.islands.frequency(xp, topology, nominal)
    vector = observations.features(
        xp, layout, params, state, injections, following, noise, flow, measured_mw, frequency_hz
    )
    return First(
        state=state,
        observation=observations.observation(xp, layout, vector),
        central=vector[..., layout.view.central],
        converged=flow.converged,
        available=_available(xp, layout, topology, (*batch, len(layout.actors))),
    )


def orders(market: Any, books: Any, physical: Array, now: Array, xp: Any) -> Any:
    """Hand this tick's orders and tariff to a market before delivery."""
    tariff = Tariff(now[..., market.retail], now[..., market.feed_in])
    return market.protocol.before(xp, None, books, physical[..., market.slot], tariff)


def _nothing(xp: Any, family: Family, batch: tuple[int, ...], dtype: Any) -> Injection:
    zero = xp.zeros((*batch, family.size), dtype=dtype)
    return Injection(zero, zero)


def _devices(
    xp: Any, layout: Layout, params: Params, state: State, physical: Array, now: Array, v_pu: Array
) -> tuple[tuple[Any, ...], list[Injection]]:
    """Every family's kernel once."""
    devices, injections = [], []
    for family, columns, device in zip(layout.families, params.families, state.devices, strict=True):
        if family.kernel.role == "meter":
            after, injection = device, _nothing(xp, family, state.tick.shape, now.dtype)
        else:
            exogenous = schedule.exogenous_of(family, now, v_pu)
            command = schedule.command(family, physical)
            after, injection = family.kernel.step(xp, columns, device, command, exogenous, layout.settings.dt_h)
        devices.append(after)
        injections.append(injection)
    return tuple(devices), injections


def _topology(xp: Any, layout: Layout, tick: Array, outages: Outages, devices: Any) -> Array | None:
    """Index of the topology that holds, ``None`` where there is only one."""
    return None if layout.switching is None else layout.switching.topology(xp, tick, outages, devices)


def _available(xp: Any, layout: Layout, topology: Array | None, shape: tuple[int, ...]) -> Array:
    """Whether each actor has a unit with voltage."""
    return xp.ones(shape, dtype=bool) if topology is None else xp.asarray(layout.actor_alive)[topology]


def _with_voltage(
    xp: Any,
    layout: Layout,
    topology: Array | None,
    before: tuple[Any, ...],
    devices: tuple[Any, ...],
    injections: list[Injection],
) -> tuple[tuple[Any, ...], list[Injection]]:
    """What devices do where there is voltage; the others inject nothing and stay as they were."""
    if topology is None:
        return devices, injections
    assert layout.switching is not None
    states, powers = list(devices), list(injections)
    for i in layout.injecting:
        alive = xp.asarray(layout.switching.unit_alive[i])[topology]
        kept = [xp.where(alive, new, old) for new, old in zip(devices[i], before[i], strict=True)]
        states[i] = type(devices[i])(*kept)
        powers[i] = Injection(*(xp.where(alive, power, 0.0) for power in injections[i]))
    return tuple(states), powers


def _carried(
    tick: island_droop.Tick,
    topology: Array,
    devices: tuple[Any, ...],
    injections: list[Injection],
    start: regulation.Start,
    following: Tick | None,
) -> tuple[tuple[Any, ...], list[Injection], Array, regulation.Start, Array]:
    """What devices do where islands carry themselves, and the topology with those that collapse."""
    xp, layout, params = tick.xp, tick.layout, tick.params
    assert layout.islands is not None

    def solve(delivered: list[Injection], begin: regulation.Start) -> Flow:
        load, _, _ = _node_load(xp, layout, params, delivered, tick.now)
        inverters = None if following is None else following._replace(injections=delivered)
        dt_h = layout.settings.dt_h
        return regulation.solve(xp, layout, params, devices, load, begin, dt_h, topology, inverters)[0]

    after, delivered, topology_after, begin, frequency_hz = island_droop.carry(
        tick, layout.islands, topology, devices, injections, start, solve
    )
    after, delivered = _with_voltage(xp, layout, topology_after, tick.state.devices, after, delivered)
    return after, delivered, topology_after, begin, frequency_hz


def _node_load(
    xp: Any, layout: Layout, params: Params, injections: list[Injection], now: Array
) -> tuple[NodeLoad, Array, Array]:
    """Bus loads: the network's own, scaled by their series, minus what the devices inject."""
    batch, dtype = now.shape[:-1], now.dtype
    p_mw = join(xp, [injections[i].p_mw for i in layout.injecting], batch, dtype)
    q_mvar = join(xp, [injections[i].q_mvar for i in layout.injecting], batch, dtype)
    own = now[..., layout.load_series]
    load_p = own @ params.load_p_mw - layout.inject(xp, p_mw)
    load_q = own @ params.load_q_mvar - layout.inject(xp, q_mvar)
    return NodeLoad(load_p, load_q, *(own @ table for table in params.load_by_voltage)), p_mw, q_mvar


def _measured(xp: Any, layout: Layout, flow: Flow, p_mw: Array) -> Array:
    """Metered branches, the source, devices with their own meter, and net readings; zero where nothing solved.

    Import is positive.
    """
    parts = [flow.p_meter_mw, flow.p_slack_mw[..., None], -p_mw[..., layout.unit_meter]]
    measured_mw = join(xp, parts, p_mw.shape[:-1], p_mw.dtype)
    return xp.where(flow.converged[..., None], with_net(xp, layout, measured_mw), 0.0)


def with_net(xp: Any, layout: Layout, measured_mw: Array) -> Array:
    """Measurements, and behind them the net readings."""
    if not layout.net.size:
        return measured_mw
    return xp.concatenate([measured_mw, layout.net(xp, measured_mw)], axis=-1)


def settle(
    xp: Any, layout: Layout, books: list[Any], measured_mw: Array
) -> tuple[list[tuple[Array, Array]], list[Any]]:
    """Let every market settle its members' metered energy."""
    received, after = [], []
    for market, state in zip(layout.markets, books, strict=True):
        metered_mwh = market.meter_to_member(xp, measured_mw) * layout.settings.dt_h
        state, trades, utility = market.protocol.after(xp, None, state, metered_mwh)
        received.append((trades[..., :-1], utility[..., :-1]))
        after.append(state)
    return received, after


def _device_accounts(
    xp: Any,
    layout: Layout,
    params: Params,
    devices: tuple[Any, ...],
    injections: list[Injection],
    now: Array,
    v_pu: Array,
    measured_mw: Array,
) -> tuple[list[Array], list[Array]]:
    """Money and priced violations of every family, after delivery."""
    paid: list[Array] = []
    priced: list[Array] = []
    for family, columns, device, injection in zip(layout.families, params.families, devices, injections, strict=True):
        kernel = family.kernel
        if not (kernel.money_names or kernel.violation_names):
            continue
        exogenous = schedule.exogenous_of(family, now, v_pu, measured_mw)
        arguments = (xp, columns, device, injection, exogenous, layout.settings.dt_h)
        paid += kernel.money(*arguments)
        priced += kernel.violation(*arguments)
    return paid, priced


def transfers(xp: Any, layout: Layout, money: Array) -> Array:
    """Money received from peers and utility, ``(*batch, accounts + 1)``; every row sums to zero.

    The ledger holds what each account pays under the names ``p2p`` and ``grid``; the utility is the other side.
    """
    names = layout.ledger.money_names
    columns = [names.index(name) for name in ("grid", "p2p") if name in names]
    paid = sum((money[..., column] for column in columns), start=0.0 * money[..., 0])
    return xp.concatenate([-paid, xp.sum(paid, axis=-1)[..., None]], axis=-1)


def _shown(xp: Any, flow: Flow, held: tuple[Array, Array]) -> Flow:
    """The flow as agents see it: the last solved voltages where this one diverged."""
    v_pu = xp.sqrt(held[0] * held[0] + held[1] * held[1])
    solved = flow.converged[..., None]
    return flow._replace(
        v_pu=v_pu,
        q_meter_mvar=xp.where(solved, flow.q_meter_mvar, 0.0),
        q_slack_mvar=xp.where(flow.converged, flow.q_slack_mvar, 0.0),
    )
