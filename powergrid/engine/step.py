"""One step of a power system with agents, left to right, as a pure function over arrays."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from powergrid.coordination import layers as coordination
from powergrid.coordination.layers import Frequency
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Flow, Injection, NodeLoad
from powergrid.engine import island_droop, ledger, local_policies, observations, regulation, schedule
from powergrid.engine.availability import Absences
from powergrid.engine.gather import join
from powergrid.engine.inverters import Following, Inverters
from powergrid.engine.layout import Layout, Params
from powergrid.engine.local_policies import Memory
from powergrid.engine.market_view import market_view
from powergrid.engine.state import Exogenous, First, Noise, Output, State
from powergrid.engine.switching import Outages
from powergrid.engine.tick import Tick, tick_of

_TO_REST_H = 24.0
"""Time the regulators get at reset [h]; enough for their whole range."""


class _Delivery(NamedTuple):
    """What devices make of the commands of a tick.

    Attributes
    ----------
    slots, commanded
        What is chosen, and the same as layers that govern and inverters want it.
    memory
        What policies and layers remember.
    devices, injections
        States and powers after delivery, by family.
    topology
        The topology that holds, ``None`` where there is only one.
    """

    slots: Array
    commanded: Array
    memory: Memory
    devices: tuple[Any, ...]
    injections: list[Injection]
    topology: Array | None


class _Settlement(NamedTuple):
    """States of the layers and signals after the second seam; money and violations by layer and name."""

    layers: tuple[Any, ...]
    signals: Array
    money: list[Array]
    violations: list[Array]


def step(
    xp: Namespace, layout: Layout, params: Params, state: State, actions: Array, exogenous: Exogenous, noise: Noise
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
    tick = tick_of(xp, layout, params, state, exogenous.now, noise, layout.policies.choices)
    slots, due = schedule.choose(xp, layout, state, actions)
    tick = tick._replace(due=due)
    slots, memory = local_policies.decide(tick, slots)
    if layout.python is not None:
        slots = layout.python.act(state._replace(slots=slots, signals=memory.signals), exogenous)
    made, flow, frequency_hz = _delivered(tick, slots, memory, layout.policies.inverters)
    power = _power(tick, made.injections)
    measured_mw = _measured(tick, flow, power.p_mw)
    frequency = _frequency(tick, made.topology, frequency_hz)
    settled = settle(tick, made.memory, made.commanded, flow, measured_mw, power.p_mw, frequency)
    paid, priced = _device_accounts(tick, made, flow.v_pu, measured_mw)
    money = ledger.money(tick, made.devices, paid, settled.money)
    solved, signals = flow.converged[..., None], settled.signals
    if layout.availability is not None:
        signals = layout.availability.shown(xp, signals, state.tick + 1, state.absences)
    after = state._replace(
        tick=state.tick + 1,
        row=state.row + 1,
        devices=made.devices,
        layers=settled.layers,
        policies=made.memory.policies,
        signals=signals,
        slots=made.slots,
        v_re=xp.where(solved, flow.v_re, state.v_re),
        v_im=xp.where(solved, flow.v_im, state.v_im),
    )
    following = tick_of(xp, layout, params, after, exogenous.following, noise)
    vector = observations.features(following, made.injections, _shown(following, flow), measured_mw, frequency_hz)
    return after, Output(
        observation=observations.observation(xp, layout, vector),
        central=vector[..., layout.view.central],
        money=money,
        costs=ledger.costs(tick, flow, priced, settled.violations, made.topology),
        transfers=transfers(xp, layout, money),
        p_mw=power.p_mw,
        q_mvar=power.q_mvar,
        measured_mw=measured_mw,
        flow=flow,
        clipped=(xp.abs(actions) > 1.0).sum(-1),
        due=due,
        done=xp.logical_not(flow.converged) & layout.settings.terminate_on_divergence,
        last=state.tick + 1 >= layout.settings.episode_length,
        frequency_hz=frequency_hz,
        available=_available(tick, made.topology),
    )


def settled_slots(
    xp: Namespace, layout: Layout, params: Params, state: State, exogenous: Exogenous, noise: Noise, policy: Any
) -> Array:
    """What is chosen in a tick where `policy` decides for all who act from outside, ``(*batch, K)``.

    Curves of inverters are at rest in it. Plain Python devices repeat their last answers.
    """
    choices, inverters = layout.policies.choices_of(policy), layout.policies.inverters_of(policy)
    tick = tick_of(xp, layout, params, state, exogenous.now, noise, choices)
    slots, memory = local_policies.decide(tick, state.slots)
    if inverters is not None:
        return _delivered(tick, slots, memory, inverters)[0].commanded
    if not layout.coordination.layers:
        return slots
    made = _ordered(tick, slots, memory)
    return xp.where(layout.coordination.ordering, made.slots, made.commanded)


def _delivered(tick: Tick, slots: Array, memory: Memory, inverters: Inverters | None) -> tuple[_Delivery, Flow, Array]:
    """Deliver what is chosen, with the horizontal layers' first seam, and solve the flow.

    Returns
    -------
    made, flow, frequency_hz
        The last is the frequency at every unit [Hz].
    """
    xp, layout, state = tick.xp, tick.layout, tick.state
    made, following = _ordered(tick, slots, memory), None
    start = regulation.Start(state.v_re, state.v_im)
    frequency_hz = xp.zeros((*state.tick.shape, 0), dtype=tick.now.dtype)
    if inverters is not None:
        load = partial(_node_load, tick)
        offered_mw = inverters.offered(tick)
        shift = inverters.shifted(xp, made.memory.signals)
        following = Following(tick, inverters, made.commanded, made.injections, offered_mw, shift, made.topology, load)
    if layout.grid.islands is not None:
        made, start, frequency_hz = _carried(tick, made, start, following)
        if following is not None:
            following = following._replace(injections=made.injections, topology=made.topology)
    load_mw, dt_h = _node_load(tick, made.injections), layout.settings.dt_h
    flow, devices, read = regulation.solve(tick, made.devices, load_mw, start, dt_h, made.topology, following)
    commanded, injections = made.commanded, made.injections
    if following is not None:
        commanded, devices, injections = following.after(read, devices)
    commanded = xp.where(layout.coordination.ordering, made.slots, commanded)
    return made._replace(commanded=commanded, devices=devices, injections=injections), flow, frequency_hz


def _ordered(tick: Tick, slots: Array, memory: Memory) -> _Delivery:
    """All that comes before the flow: layers that govern, devices, and horizontal layers."""
    slots, commanded, memory = governed(tick, slots, memory)
    devices, injections = _devices(tick._replace(physical=tick.layout.slots.physical(commanded)))
    topology = _topology(tick, devices)
    devices, injections = tick.all_with_voltage(topology, devices, injections)
    slots, memory = _traded(tick, slots, commanded, memory, injections)
    return _Delivery(slots, commanded, memory, devices, injections, topology)


def governed(tick: Tick, slots: Array, memory: Memory) -> tuple[Array, Array, Memory]:
    """First seam of the layers that govern commands, before delivery.

    Returns
    -------
    slots, commanded, memory
        What is chosen, with orders by local policies; the same as those layers want it; what is remembered.
    """
    xp, plan, coordinates = tick.xp, tick.layout.slots, tick.layout.coordination
    commanded, states, signals, now = slots, list(memory.layers), memory.signals, local_policies.now(tick)
    for k, layer in enumerate(coordinates.layers):
        if not len(layer.governed):
            continue
        physical = plan.physical(commanded)
        market, where = market_view(tick, layer, physical), local_policies.position(tick, layer, physical, None)
        slots = local_policies.ordered(tick, layer, states[k], slots, physical, signals, where, market)
        commanded = xp.where(coordinates.ordering, slots, commanded)
        physical = plan.physical(commanded)
        states[k], signals, wanted = coordination.before(xp, layer, states[k], now, physical, signals, market)
        index = np.arange(plan.size)
        index[layer.governed] = plan.size + np.arange(len(layer.governed))
        shares = local_policies.share_of(xp, plan, layer.governed, wanted)
        commanded = xp.concatenate([commanded, shares], axis=-1)[..., index]
    return slots, commanded, memory._replace(signals=signals, layers=tuple(states))


def _traded(
    tick: Tick, slots: Array, commanded: Array, memory: Memory, injections: list[Injection]
) -> tuple[Array, Memory]:
    """First seam of the horizontal layers that govern nothing: they know what devices deliver."""
    xp, plan, now = tick.xp, tick.layout.slots, local_policies.now(tick)
    states, signals = list(memory.layers), memory.signals
    physical = plan.physical(commanded)
    for k, layer in enumerate(tick.layout.coordination.layers):
        if layer.level > 0 or len(layer.governed):
            continue
        where = local_policies.position(tick, layer, physical, injections)
        slots = local_policies.ordered(tick, layer, states[k], slots, physical, signals, where)
        states[k], signals, _ = coordination.before(xp, layer, states[k], now, plan.physical(slots), signals)
    return slots, memory._replace(signals=signals, layers=tuple(states))


def reset(
    xp: Namespace,
    layout: Layout,
    params: Params,
    key: Array,
    row: Array,
    settlement_per_mwh: Array,
    uniform: Array,
    following: Array,
    noise: Noise,
    outages: Outages,
    absences: Absences,
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
        What will fail of the network in the episode.
    absences
        When devices will be out of service.
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
    unloaded = (layout.grid.v_start.real, layout.grid.v_start.imag)

    def everywhere(values: Any) -> Array:
        return xp.zeros((*batch, len(values)), dtype=dtype) + xp.asarray(values, dtype=dtype)

    start = regulation.Start(*map(everywhere, unloaded))
    signals, first = everywhere([c.default for c in layout.coordination.signals]), xp.zeros(batch, dtype=np.int32)
    if layout.availability is not None:
        signals = layout.availability.shown(xp, signals, first, absences)
    state = State(
        tick=first,
        row=row,
        key=key,
        devices=tuple(devices),
        layers=coordination.initial(xp, layout.coordination.layers, batch, dtype),
        policies=tuple(
            acting.policy.initial(xp, batch, layout.families[acting.family].size, dtype)
            for acting in layout.policies.choices.acting
        ),
        signals=signals,
        slots=slots,
        v_re=start.v_re,
        v_im=start.v_im,
        settlement_per_mwh=settlement_per_mwh,
        outages=outages,
        absences=absences,
    )
    tick = tick_of(xp, layout, params, state, following, noise)
    injections = [_nothing(tick, family.size) for family in layout.families]
    topology = _topology(tick, state.devices)
    load = _node_load(tick, injections)
    flow, settled, _ = regulation.solve(tick, state.devices, load, start, _TO_REST_H, topology)
    tick = tick._replace(state=state._replace(devices=settled, v_re=flow.v_re, v_im=flow.v_im))
    measured_mw = _measured(tick, flow, _power(tick, injections).p_mw)
    frequency_hz = None
    if layout.grid.islands is not None:
        nominal = xp.zeros((*batch, layout.grid.islands.fallen.shape[1]), dtype=dtype)
        frequency_hz = layout.grid.islands.frequency(xp, topology, nominal)
    vector = observations.features(tick, injections, flow, measured_mw, frequency_hz)
    return First(
        state=tick.state,
        observation=observations.observation(xp, layout, vector),
        central=vector[..., layout.view.central],
        converged=flow.converged,
        available=_available(tick, topology),
    )


def _nothing(tick: Tick, size: int) -> Injection:
    zero = tick.xp.zeros((*tick.state.tick.shape, size), dtype=tick.now.dtype)
    return Injection(zero, zero)


def _devices(tick: Tick) -> tuple[tuple[Any, ...], list[Injection]]:
    """Every family's kernel once."""
    made = [
        (tick.state.devices[i], _nothing(tick, family.size))
        if family.kernel.role == "meter"
        else tick.delivered(i, schedule.command(family, tick.physical))
        for i, family in enumerate(tick.layout.families)
    ]
    return tuple(device for device, _ in made), [injection for _, injection in made]


def _topology(tick: Tick, devices: Any) -> Array | None:
    """Index of the topology that holds, ``None`` where there is only one."""
    switching, state = tick.layout.grid.switching, tick.state
    return None if switching is None else switching.topology(tick.xp, state.tick, state.outages, devices)


def _available(tick: Tick, topology: Array | None) -> Array:
    """Whether each actor has a unit in service with voltage."""
    xp, layout, state = tick.xp, tick.layout, tick.state
    out = None if layout.availability is None else layout.availability.out(xp, state.tick, state.absences)
    return layout.available(xp, topology, out, state.tick.shape)


def _carried(
    tick: Tick, made: _Delivery, start: regulation.Start, following: Following | None
) -> tuple[_Delivery, regulation.Start, Array]:
    """What devices do where islands carry themselves, and the topology with those that collapse."""
    islands, dt_h = tick.layout.grid.islands, tick.layout.settings.dt_h
    assert islands is not None
    assert made.topology is not None

    def solve(delivered: list[Injection], begin: regulation.Start) -> Flow:
        inverters = None if following is None else following._replace(injections=delivered)
        load = _node_load(tick, delivered)
        return regulation.solve(tick, made.devices, load, begin, dt_h, made.topology, inverters)[0]

    commanding = tick._replace(physical=tick.layout.slots.physical(made.commanded))
    shift_pu = islands.shift_pu(tick.xp, made.memory.signals)
    devices, injections, topology, begin, frequency_hz = island_droop.carry(
        commanding, islands, made.topology, made.devices, made.injections, shift_pu, start, solve
    )
    devices, injections = tick.all_with_voltage(topology, devices, injections)
    return made._replace(devices=devices, injections=injections, topology=topology), begin, frequency_hz


def _frequency(tick: Tick, topology: Array | None, frequency_hz: Array) -> Frequency:
    """Frequency at every unit and its island."""
    islands = tick.layout.grid.islands
    if islands is None:
        return Frequency(frequency_hz, frequency_hz)
    return Frequency(frequency_hz, islands.number(tick.xp, topology) + 0.0 * frequency_hz)


def _power(tick: Tick, injections: list[Injection]) -> Injection:
    """What all units inject, ``(*batch, N)``."""
    columns = zip(*(injections[i] for i in tick.layout.injecting), strict=True) if tick.layout.injecting else ((), ())
    return Injection(*(join(tick.xp, list(part), tick.now.shape[:-1], tick.now.dtype) for part in columns))


def _node_load(tick: Tick, injections: list[Injection]) -> NodeLoad:
    return node_load(tick, _power(tick, injections))


def node_load(tick: Tick, power: Injection) -> NodeLoad:
    """Bus loads: the network's own, scaled by their series, minus what all units inject, ``(*batch, N)``."""
    xp, grid, params = tick.xp, tick.layout.grid, tick.params
    own = tick.now[..., grid.load_series]
    load_p = own @ params.load_p_mw - grid.inject(xp, power.p_mw)
    load_q = own @ params.load_q_mvar - grid.inject(xp, power.q_mvar)
    return NodeLoad(load_p, load_q, *(own @ table for table in params.load_by_voltage))


def _measured(tick: Tick, flow: Flow, p_mw: Array) -> Array:
    """Metered branches, the source, devices with their own meter, and net readings; zero where nothing solved.

    Import is positive.
    """
    xp, layout = tick.xp, tick.layout
    parts = [flow.p_meter_mw, flow.p_slack_mw[..., None], -p_mw[..., layout.meters.units]]
    measured_mw = join(xp, parts, p_mw.shape[:-1], p_mw.dtype)
    return xp.where(flow.converged[..., None], with_net(xp, layout, measured_mw), 0.0)


def with_net(xp: Namespace, layout: Layout, measured_mw: Array) -> Array:
    """Measurements, and behind them the net readings."""
    if not layout.meters.net.size:
        return measured_mw
    return xp.concatenate([measured_mw, layout.meters.net(xp, measured_mw)], axis=-1)


def settle(
    tick: Tick, memory: Memory, slots: Array, flow: Flow, measured_mw: Array, p_mw: Array, frequency: Frequency
) -> _Settlement:
    """Second seam of all layers, on metered energy, which is zero where nothing solved; so is the frequency."""
    xp, layout = tick.xp, tick.layout
    states, found = list(memory.layers), _Settlement((), memory.signals, [], [])
    if not layout.coordination.layers:
        return found
    solved, signals = flow.converged[..., None], memory.signals
    frequency = Frequency(xp.where(solved, frequency.hz, 0.0), xp.where(solved, frequency.island, -1.0))
    now = local_policies.now(tick)._replace(v_pu=xp.where(solved, flow.v_pu, 0.0), frequency=frequency)
    physical = layout.slots.physical(slots)
    for k, layer in enumerate(layout.coordination.layers):
        metered_mwh = layer.metered_mwh(xp, measured_mw, xp.where(solved, p_mw, 0.0), layout.settings.dt_h)
        states[k], signals, paid, priced = coordination.after(xp, layer, states[k], now, physical, signals, metered_mwh)
        found.money.extend(paid)
        found.violations.extend(priced)
    return found._replace(layers=tuple(states), signals=signals)


def _device_accounts(tick: Tick, made: _Delivery, v_pu: Array, measured_mw: Array) -> tuple[list[Array], list[Array]]:
    """Money and priced violations of every family, after delivery."""
    paid: list[Array] = []
    priced: list[Array] = []
    families = zip(tick.layout.families, tick.params.families, made.devices, made.injections, strict=True)
    for family, columns, device, injection in families:
        kernel = family.kernel
        if not (kernel.money_names or kernel.violation_names):
            continue
        exogenous = schedule.exogenous_of(family, tick.now, v_pu, measured_mw)
        arguments = (tick.xp, columns, device, injection, exogenous, tick.layout.settings.dt_h)
        paid += kernel.money(*arguments)
        priced += kernel.violation(*arguments)
    return paid, priced


def transfers(xp: Namespace, layout: Layout, money: Array) -> Array:
    """Money received from peers and utility, ``(*batch, accounts + 1)``; every row sums to zero.

    The ledger holds what each account pays; the utility is the other side.
    """
    paid = 0.0 * money[..., 0]
    for column in np.flatnonzero(layout.ledger.transfers).tolist():
        paid = paid + money[..., column]
    return xp.concatenate([-paid, xp.sum(paid, axis=-1)[..., None]], axis=-1)


def _shown(following: Tick, flow: Flow) -> Flow:
    """The flow as agents see it in the tick that follows: the last solved voltages where this one diverged."""
    xp, solved = following.xp, flow.converged[..., None]
    return flow._replace(
        v_pu=following.v_pu,
        q_meter_mvar=xp.where(solved, flow.q_meter_mvar, 0.0),
        q_slack_mvar=xp.where(flow.converged, flow.q_slack_mvar, 0.0),
    )
