"""One step of a power system with agents, left to right, as a pure function over arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.coordination import layers as coordination
from powergrid.core.types import Array, Flow, Injection, NodeLoad
from powergrid.engine import island_droop, ledger, local_policies, observations, regulation, schedule
from powergrid.engine.gather import join
from powergrid.engine.inverters import Inverters, Tick
from powergrid.engine.layout import Family, Layout, Params
from powergrid.engine.local_policies import Choices, Memory
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
    slots, due = schedule.choose(xp, layout, state, actions)
    slots, memory = local_policies.decide(xp, layout, params, state, slots, exogenous, noise, layout.policies.choices)
    if layout.python is not None:
        slots = layout.python.act(state._replace(slots=slots, signals=memory.signals), exogenous)
    return delivered(xp, layout, params, state, slots, exogenous, noise, memory, (actions, due))


def delivered(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    exogenous: Exogenous,
    noise: Noise,
    memory: Memory,
    asked: tuple[Array, Array],
) -> tuple[State, Output]:
    """The rest of a step, from what is chosen on; `asked` are the actions, and which agents are due."""
    now, (actions, due) = exogenous.now, asked
    result = _delivered(xp, layout, params, state, slots, exogenous, noise, memory, layout.policies.inverters)
    devices, injections, (p_mw, q_mvar), flow = result.devices, result.injections, result.powers, result.flow
    measured_mw = _measured(xp, layout, flow, p_mw)
    books, signals, settled, broken = settle(
        xp, layout, result.memory, result.commanded, flow, state, now, noise, measured_mw, p_mw
    )
    last = state.tick + 1 >= layout.settings.episode_length
    paid, priced = _device_accounts(xp, layout, params, devices, injections, now, flow.v_pu, measured_mw)
    held = (
        xp.where(flow.converged[..., None], flow.v_re, state.v_re),
        xp.where(flow.converged[..., None], flow.v_im, state.v_im),
    )
    after = state._replace(
        devices=devices, layers=books, policies=result.memory.policies, signals=signals, slots=result.slots,
        v_re=held[0], v_im=held[1],
    )  # fmt: skip
    money = ledger.money(xp, layout, params, state, devices, paid, settled)
    costs = ledger.costs(xp, layout, params, now, flow, priced, broken, result.topology)

    after = after._replace(tick=state.tick + 1, row=state.row + 1)
    vector = observations.features(
        xp, layout, params, after, injections, exogenous.following, noise, _shown(xp, flow, held), measured_mw,
        result.frequency_hz,
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
        frequency_hz=result.frequency_hz,
        available=_available(xp, layout, result.topology, due.shape),
    )


def settled_slots(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    exogenous: Exogenous,
    noise: Noise,
    policy: Any,
) -> Array:
    """What is chosen in a tick where `policy` decides for all who act from outside, ``(*batch, K)``.

    Curves of inverters are at rest in it. Plain Python devices repeat their last answers.
    """
    choices, inverters = layout.policies.choices_of(policy), layout.policies.inverters_of(policy)
    if inverters is None:
        return chosen_slots(xp, layout, params, state, exogenous, noise, policy)
    slots, memory = local_policies.decide(xp, layout, params, state, state.slots, exogenous, noise, choices)
    return _delivered(xp, layout, params, state, slots, exogenous, noise, memory, inverters, choices).commanded


def chosen_slots(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    exogenous: Exogenous,
    noise: Noise,
    policy: Any,
) -> Array:
    """The same without the curves of inverters, which need the power flow."""
    choices = layout.policies.choices_of(policy)
    slots, memory = local_policies.decide(xp, layout, params, state, state.slots, exogenous, noise, choices)
    if not layout.coordination.layers:
        return slots
    slots, commanded, _, _, _, _ = _ordered(xp, layout, params, state, slots, exogenous.now, noise, memory, choices)
    return xp.where(layout.coordination.ordering, slots, commanded)


class _Delivery(NamedTuple):
    """What devices and the network make of the commands of a tick.

    Attributes
    ----------
    slots, commanded
        What is chosen, and the same with what inverters chose.
    devices, injections, powers
        States and powers after delivery, by family and of all units.
    flow, topology, frequency_hz
        The flow, the topology that it holds in, and the frequency at every unit [Hz].
    memory
        What policies and layers remember.
    """

    slots: Array
    commanded: Array
    devices: tuple[Any, ...]
    injections: list[Injection]
    powers: tuple[Array, Array]
    flow: Flow
    topology: Array | None
    frequency_hz: Array
    memory: Memory


def _delivered(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    exogenous: Exogenous,
    noise: Noise,
    memory: Memory,
    inverters: Inverters | None,
    choices: Choices | None = None,
) -> _Delivery:
    """Deliver what is chosen, with the horizontal layers' first seam, and solve the flow."""
    now = exogenous.now
    v_pu = xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im)
    choices = layout.policies.choices if choices is None else choices
    slots, commanded, devices, injections, topology, memory = _ordered(
        xp, layout, params, state, slots, now, noise, memory, choices
    )
    physical = layout.slots.physical(commanded)
    start, frequency_hz = regulation.Start(state.v_re, state.v_im), xp.zeros((*state.tick.shape, 0), dtype=now.dtype)
    following = None
    if inverters is not None:
        offered_mw = inverters.offered(xp, layout, params, now, v_pu)
        following = Tick(
            xp, layout, params, inverters, state, commanded, injections, now, v_pu, offered_mw, topology,
            lambda injections: _node_load(xp, layout, params, injections, now)[0],
        )  # fmt: skip
    if layout.grid.islands is not None:
        tick = island_droop.Tick(xp, layout, params, state, physical, now, v_pu)
        devices, injections, topology, start, frequency_hz = _carried(
            tick, topology, devices, injections, start, following
        )
        following = None if following is None else following._replace(injections=injections, topology=topology)
    load, *powers = _node_load(xp, layout, params, injections, now)
    dt_h = layout.settings.dt_h
    flow, devices, read = regulation.solve(xp, layout, params, devices, load, start, dt_h, topology, following)
    if following is not None:
        commanded, devices, injections = following.after(read, devices)
        _, *powers = _node_load(xp, layout, params, injections, now)
    commanded = xp.where(layout.coordination.ordering, slots, commanded)
    delivered_ = devices, injections, (powers[0], powers[1])
    return _Delivery(slots, commanded, *delivered_, flow, topology, frequency_hz, memory)


def _ordered(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    now: Array,
    noise: Noise,
    memory: Memory,
    choices: Choices,
) -> tuple[Array, Array, tuple[Any, ...], list[Injection], Array | None, Memory]:
    """All that comes before the flow: layers that govern, devices, and horizontal layers.

    Returns
    -------
    slots, commanded, devices, injections, topology, memory
        As of :class:`_Delivery`.
    """
    v_pu = xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im)
    slots, commanded, memory = _governed(xp, layout, params, state, slots, now, noise, memory, choices)
    devices, injections = _devices(xp, layout, params, state, layout.slots.physical(commanded), now, v_pu)
    topology = _topology(xp, layout, state.tick, state.outages, devices)
    devices, injections = with_voltage(xp, layout, topology, state.devices, devices, injections)
    slots, memory = traded(xp, layout, params, state, slots, now, noise, memory, choices, injections)
    return slots, commanded, devices, injections, topology, memory


def _governed(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    now: Array,
    noise: Noise,
    memory: Memory,
    choices: Choices,
) -> tuple[Array, Array, Memory]:
    """First seam of the layers that govern commands, before delivery.

    Returns
    -------
    slots, commanded, memory
        What is chosen, with orders by local policies; the same as those layers want it; what is remembered.
    """
    commanded, states, signals = slots, list(memory.layers), memory.signals
    tick, plan = local_policies.now(layout, state, now, noise), layout.slots
    due = local_policies.due_slots(layout, state.tick, choices)
    for k, layer in enumerate(layout.coordination.layers):
        if not len(layer.governed):
            continue
        where = local_policies.position(xp, layout, params, layer, now, plan.physical(slots), None)
        ordered = local_policies.ordered(xp, layout, layer, states[k], tick, slots, noise, choices, due, where)
        commanded, slots = xp.where(layout.coordination.ordering, ordered, commanded), ordered
        states[k], signals, wanted = coordination.before(xp, layer, states[k], tick, plan.physical(commanded), signals)
        index = np.arange(plan.size)
        index[layer.governed] = plan.size + np.arange(len(layer.governed))
        shares = local_policies.share_of(xp, plan, layer.governed, wanted)
        commanded = xp.concatenate([commanded, shares], axis=-1)[..., index]
    return slots, commanded, memory._replace(signals=signals, layers=tuple(states))


def traded(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    now: Array,
    noise: Noise,
    memory: Memory,
    choices: Choices,
    injections: list[Injection],
) -> tuple[Array, Memory]:
    """First seam of the horizontal layers that govern nothing: they know what devices deliver."""
    states, signals = list(memory.layers), memory.signals
    tick, plan = local_policies.now(layout, state, now, noise), layout.slots
    due = local_policies.due_slots(layout, state.tick, choices)
    for k, layer in enumerate(layout.coordination.layers):
        if layer.level > 0 or len(layer.governed):
            continue
        where = local_policies.position(xp, layout, params, layer, now, plan.physical(slots), injections)
        slots = local_policies.ordered(xp, layout, layer, states[k], tick, slots, noise, choices, due, where)
        states[k], signals, _ = coordination.before(xp, layer, states[k], tick, plan.physical(slots), signals)
    return slots, memory._replace(signals=signals, layers=tuple(states))


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
    unloaded = (layout.grid.v_start.real, layout.grid.v_start.imag)
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
        layers=coordination.initial(xp, layout.coordination.layers, batch, dtype),
        policies=tuple(
            acting.policy.initial(xp, batch, layout.families[acting.family].size, dtype)
            for acting in layout.policies.choices.acting
        ),
        signals=xp.zeros((*batch, len(layout.coordination.signals)), dtype=dtype)
        + xp.asarray([column.default for column in layout.coordination.signals], dtype=dtype),
        slots=slots,
        v_re=flow.v_re,
        v_im=flow.v_im,
        settlement_per_mwh=settlement_per_mwh,
        outages=outages,
    )
    measured_mw = _measured(xp, layout, flow, p_mw)
    frequency_hz = None
    if layout.grid.islands is not None:
        nominal = xp.zeros((*batch, layout.grid.islands.fallen.shape[1]), dtype=dtype)
        frequency_hz = layout.grid.islands.frequency(xp, topology, nominal)
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
    return None if layout.grid.switching is None else layout.grid.switching.topology(xp, tick, outages, devices)


def _available(xp: Any, layout: Layout, topology: Array | None, shape: tuple[int, ...]) -> Array:
    """Whether each actor has a unit with voltage."""
    return xp.ones(shape, dtype=bool) if topology is None else xp.asarray(layout.actor_alive)[topology]


def with_voltage(
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
    assert layout.grid.switching is not None
    states, powers = list(devices), list(injections)
    for i in layout.injecting:
        alive = xp.asarray(layout.grid.switching.unit_alive[i])[topology]
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
    assert layout.grid.islands is not None

    def solve(delivered: list[Injection], begin: regulation.Start) -> Flow:
        load, _, _ = _node_load(xp, layout, params, delivered, tick.now)
        inverters = None if following is None else following._replace(injections=delivered)
        dt_h = layout.settings.dt_h
        return regulation.solve(xp, layout, params, devices, load, begin, dt_h, topology, inverters)[0]

    after, delivered, topology_after, begin, frequency_hz = island_droop.carry(
        tick, layout.grid.islands, topology, devices, injections, start, solve
    )
    after, delivered = with_voltage(xp, layout, topology_after, tick.state.devices, after, delivered)
    return after, delivered, topology_after, begin, frequency_hz


def _node_load(
    xp: Any, layout: Layout, params: Params, injections: list[Injection], now: Array
) -> tuple[NodeLoad, Array, Array]:
    """Bus loads: the network's own, scaled by their series, minus what the devices inject."""
    batch, dtype = now.shape[:-1], now.dtype
    p_mw = join(xp, [injections[i].p_mw for i in layout.injecting], batch, dtype)
    q_mvar = join(xp, [injections[i].q_mvar for i in layout.injecting], batch, dtype)
    own = now[..., layout.grid.load_series]
    load_p = own @ params.load_p_mw - layout.grid.inject(xp, p_mw)
    load_q = own @ params.load_q_mvar - layout.grid.inject(xp, q_mvar)
    return NodeLoad(load_p, load_q, *(own @ table for table in params.load_by_voltage)), p_mw, q_mvar


def _measured(xp: Any, layout: Layout, flow: Flow, p_mw: Array) -> Array:
    """Metered branches, the source, devices with their own meter, and net readings; zero where nothing solved.

    Import is positive.
    """
    parts = [flow.p_meter_mw, flow.p_slack_mw[..., None], -p_mw[..., layout.meters.units]]
    measured_mw = join(xp, parts, p_mw.shape[:-1], p_mw.dtype)
    return xp.where(flow.converged[..., None], with_net(xp, layout, measured_mw), 0.0)


def with_net(xp: Any, layout: Layout, measured_mw: Array) -> Array:
    """Measurements, and behind them the net readings."""
    if not layout.meters.net.size:
        return measured_mw
    return xp.concatenate([measured_mw, layout.meters.net(xp, measured_mw)], axis=-1)


def settle(
    xp: Any,
    layout: Layout,
    memory: Memory,
    slots: Array,
    flow: Flow,
    state: State,
    now: Array,
    noise: Noise,
    measured_mw: Array,
    p_mw: Array,
) -> tuple[tuple[Any, ...], Array, list[Array], list[Array]]:
    """Second seam of all layers, on metered energy, which is zero where nothing solved.

    Returns
    -------
    states, signals, money, violations
        Money and violations by layer and name.
    """
    states, signals = list(memory.layers), memory.signals
    money: list[Array] = []
    violations: list[Array] = []
    if not layout.coordination.layers:
        return tuple(states), signals, money, violations
    solved = flow.converged[..., None]
    tick = local_policies.now(layout, state, now, noise)._replace(v_pu=xp.where(solved, flow.v_pu, 0.0))
    physical = layout.slots.physical(slots)
    for k, layer in enumerate(layout.coordination.layers):
        metered_mwh = layer.metered_mwh(xp, measured_mw, xp.where(solved, p_mw, 0.0), layout.settings.dt_h)
        states[k], signals, paid, priced = coordination.after(
            xp, layer, states[k], tick, physical, signals, metered_mwh
        )
        money += paid
        violations += priced
    return tuple(states), signals, money, violations


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

    The ledger holds what each account pays; the utility is the other side.
    """
    paid = 0.0 * money[..., 0]
    for column in np.flatnonzero(layout.ledger.transfers).tolist():
        paid = paid + money[..., column]
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
