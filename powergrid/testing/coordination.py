"""Examiners of protocols and local policies: a few ticks on NumPy, in a batch, on JAX and compiled, compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from powergrid.agents.policy import is_policy
from powergrid.agents.protocol import Pupil
from powergrid.coordination import layers
from powergrid.coordination.deciders import members_send, parent_sends
from powergrid.core import random
from powergrid.core.backend import jax_float64, jax_module, jax_numpy
from powergrid.core.errors import NotCompilableError, PowerGridError
from powergrid.engine import local_policies
from powergrid.engine import step as engine
from powergrid.engine.layout import params_of
from powergrid.engine.tick import tick_of
from powergrid.plugins.registries import POLICIES, PROTOCOLS
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World

_NETWORK: Mapping[str, Any] = {"base": "ieee13", "load_scale": 0.5}
_BATTERY: Mapping[str, Any] = {
    "type": "ESS",
    "bus": "671",
    "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25, "sn_mva": 0.3},
}
_GENERATOR: Mapping[str, Any] = {
    "type": "DG",
    "bus": "675",
    "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 60.0},
}
_FORMING: Mapping[str, Any] = {**_BATTERY["params"], "sn_mva": 0.6, "grid_forming": True}
"""A battery that can form the grid of an island."""
_ISLAND: Mapping[str, Any] = {
    "base": "case33bw",
    "outages": {"branch": "line_12", "start": 7200, "duration": 14400},
}
"""An outage of four ticks leaves five buses to the batteries at the last of them."""
_TICKS, _COUNT, _MEMBERS = 8, 4, 3
_GAP = 1e-9
_STEP, _SLOPE = 1e-5, 1e-4
"""Step of central differences, and largest relative error of a derivative."""
_LINKS: Mapping[str, Any] = {"delay": {"dist": "uniform", "mean": 3600, "std": 1200}, "loss": 0.2, "width": 0}
_OWN_LINK: Mapping[str, Any] = {"delay": 7200, "loss": 0.5}
"""Delay and loss of one link among them."""
_KINDS = ("vertical", "horizontal", "learning")


def check_policy(name: str) -> None:
    """Examine a registered local policy with a battery, beside a learned generator.

    A few ticks must run on finite numbers; one environment of a batch must be as it is alone, and JAX and the compiled
    step must give the same to 1e-9.

    Raises
    ------
    AssertionError
        With a sentence that names the policy and what is wrong.
    """
    kind = POLICIES.get(name)
    _claim(name, is_policy(kind), f"{kind!r} is no class of powergrid.agents.policy.LocalPolicy")
    learned = {"id": "generator_1", **_GENERATOR, "policy": "learned"}
    _examine(name, [{"id": "battery_1", **_BATTERY, "policy": name}, learned], {})


def check_protocol(name: str, **params: Any) -> None:
    """Examine a registered protocol: its entries are bounded, and environments with it run.

    The protocol gets three members; one that acts `in_islands` gets members that form the grid of an island for some of
    the ticks, and one with ``over_messages`` has links that are late and lossy, one of them with values of its own. A
    few ticks with random orders must run on finite numbers; its money must sum to zero with the counterparty, and so
    must all transfers; one environment of a batch must be as it is alone, and JAX and the compiled step must give the
    same to 1e-9. Of a protocol of kind learning the mixing alone is examined: rows that sum to one.

    Raises
    ------
    AssertionError
        With a sentence that names the protocol and what is wrong.
    """
    kind = PROTOCOLS.get(name)
    try:
        protocol = kind(**params)
    except Exception as error:  # whatever a stranger's constructor raises
        raise AssertionError(f"{name}: it cannot be made: {type(error).__name__}: {error}") from error
    what = getattr(protocol, "kind", None)
    _claim(name, what in _KINDS, f"its kind is {what!r}, not one of {', '.join(_KINDS)}")
    if what == "learning":
        _check_mixing(name, protocol)
        return
    given = {"type": name, "params": params}
    agents: list[dict[str, Any]] = [{"id": f"battery_{k + 1}", **_BATTERY} for k in range(_MEMBERS)]
    sections: dict[str, Any] = {}
    if params.get("over_messages"):
        own = {"sender": "operator_1" if what == "vertical" else "battery_1", "receiver": "battery_2", **_OWN_LINK}
        sections["messages"] = {**_LINKS, "links": [own]}
    if getattr(protocol, "in_islands", False):
        agents = [{**agent, "bus": "17", "params": _FORMING} for agent in agents]
        sections["network"] = _ISLAND
    below = [agent["id"] for agent in agents]
    if what == "vertical":
        decides = parent_sends(protocol) or protocol.commands_children
        answer = protocol.commands_children or members_send(protocol)
        for agent in agents[1 if not decides else 0 :]:
            agent["policy"] = "learned" if answer else "rule_based"
        operator = {"id": "operator_1", "type": "GridCoordinator", "sub_agents": below, "protocol": given}
        world = _examine(name, [*agents, {**operator, **({"policy": "learned"} if decides else {})}], sections)
    else:
        world = _examine(name, agents, {**sections, "protocols": [{**given, "members": below}]})
    layout = world.layout
    _check_money(name, world)
    _check_slopes(name, world)
    _claim(
        name, layout.coordination.layers or not protocol.speaks, "it has orders, and no environment with it has them"
    )
    for owner, entry in (*(item for own in layout.action_entries for item in own), *layout.view.entries):
        bounded = np.isfinite([entry.low, entry.high]).all() and entry.low < entry.high
        sentence = f'entry "{entry.label(owner)}" needs finite bounds low < high, has [{entry.low}, {entry.high}]'
        _claim(name, bounded, sentence)


def _check_mixing(name: str, protocol: Any) -> None:
    """Its matrix must give weighted means of the members' parameters, at whole numbers of updates."""
    pupils = [Pupil(f"battery_{k + 1}", 1.0 / (k + 1)) for k in range(_MEMBERS)]
    matrix = np.asarray(protocol.mixing(pupils), float)
    _claim(name, matrix.shape == (_MEMBERS, _MEMBERS), f"mixing of {_MEMBERS} members has the shape {matrix.shape}")
    gap = float(np.abs(matrix.sum(1) - 1.0).max())
    _claim(name, np.isfinite(matrix).all() and gap <= _GAP, f"rows of its mixing miss one by {gap:.3g}")
    interval = protocol.interval
    _claim(name, isinstance(interval, int) and interval >= 1, f"its interval is {interval!r}, no number of updates")


def _examine(name: str, agents: list[dict[str, Any]], sections: Mapping[str, Any]) -> World:
    """Play a few ticks in every form and compare them."""
    try:
        world = _world(agents, **sections)
        shape = (_TICKS, len(world.layout.actors), world.layout.action_size)
        actions = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
        alone, batch = Simulation(world), Simulation(world, count=_COUNT)
        jax_world = _world(agents, "zbus", **sections)
        keys, days = random.key_from_seed(np, np.arange(_COUNT)), np.arange(_COUNT, dtype=np.int32) * 50
        one, many = alone.reset(keys[2], days[2]).state, batch.reset(keys, days).state
        for tick in range(_TICKS):
            traced = _traced(jax_world, alone, one, actions[tick])
            one, output = alone.step(one, actions[tick])
            many, outputs = batch.step(many, np.broadcast_to(actions[tick], (_COUNT, *shape[1:])))
            _check_tick(name, one, output, type(outputs)(*(_row(part) for part in outputs)), traced)
        _compare_compiled(name, world, keys[2], days[2], actions)
    except (AssertionError, PowerGridError):
        raise
    except Exception as error:  # whatever a stranger's kernels raise
        raise AssertionError(f"{name}: an environment with it fails: {type(error).__name__}: {error}") from error
    return world


def _check_money(name: str, world: World) -> None:
    """What members pay must be what the counterparty receives, on metered energy of both signs."""
    simulation = Simulation(world)
    state = simulation.reset(random.key_from_seed(np, np.array(0)), np.array(0, np.int32)).state
    layout, row = world.layout, simulation.exogenous(state).now
    tick = tick_of(np, layout, simulation.params, state, row, simulation.noise_at(state.tick))
    beside_source = layers.Frequency(np.zeros(0), np.zeros(0))
    now = local_policies.now(tick)._replace(frequency=beside_source)
    physical = layout.slots.physical(state.slots)
    for layer, own in zip(layout.coordination.layers, state.layers, strict=True):
        metered_mwh = np.linspace(-0.3, 0.4, layer.metered)
        _, _, money, _ = layers.after(np, layer, own, now, physical, state.signals, metered_mwh)
        gap = max((abs(float(paid.sum())) for paid in money), default=0.0)
        _claim(name, gap <= _GAP, f"what members pay and what the counterparty receives differ by {gap:.3g} $")


def _check_slopes(name: str, world: World) -> None:
    """Derivatives of what members pay, by commands and metered energy: finite, and those of central differences."""
    simulation = Simulation(world)
    state = simulation.reset(random.key_from_seed(np, np.array(0)), np.array(0, np.int32)).state
    layout, row = world.layout, simulation.exogenous(state).now
    tick = tick_of(np, layout, simulation.params, state, row, simulation.noise_at(state.tick))
    beside_source = layers.Frequency(np.zeros(0), np.zeros(0))
    now = local_policies.now(tick)._replace(frequency=beside_source)
    physical = layout.slots.physical(np.random.default_rng(1).uniform(-0.9, 0.9, state.slots.shape))
    jax, jnp = jax_module(), jax_numpy()
    for layer, own in zip(layout.coordination.layers, state.layers, strict=True):
        if layer.protocol.no_derivative:
            continue
        given = np.concatenate([physical, np.linspace(-0.3, 0.4, layer.metered)])

        def paid(xp: Any, given: Any, layer: Any = layer, own: Any = own, now: Any = now) -> Any:
            chosen, metered_mwh = given[: len(physical)], given[len(physical) :]
            told, signals, _ = layers.before(xp, layer, own, now, chosen, state.signals)
            _, _, money, priced = layers.after(xp, layer, told, now, chosen, signals, metered_mwh)
            parts = [xp.sum(part * np.arange(1.0, part.shape[-1] + 1.0)) for part in (*money, *priced)]
            return sum(parts, start=0.0 * xp.sum(given))

        with jax_float64():
            on_jax = partial(jax.tree.map, jnp.asarray)
            traced = partial(paid, jnp, own=on_jax(own), now=on_jax(now))
            slopes = np.asarray(jax.jit(jax.grad(traced))(jnp.asarray(given)))
        _claim(name, np.isfinite(slopes).all(), "a derivative of what members pay is not finite")
        for k, slope in enumerate(slopes.tolist()):
            step = np.zeros_like(given)
            step[k] = _STEP * max(abs(given[k]), 1.0)
            low, half_low, here, half_high, high = (
                float(paid(np, given + share * step)) for share in (-1.0, -0.5, 0.0, 0.5, 1.0)
            )
            wide, near = (high - low) / (2.0 * step[k]), (half_high - half_low) / step[k]
            size = max(abs(wide), 1.0)
            smooth = (
                abs(wide - near) < 0.1 * _SLOPE * size and abs(high + low - 2.0 * here) < 10.0 * _SLOPE * size * step[k]
            )
            sentence = f"the derivative {slope:.6g} of what members pay is not that of central differences, {wide:.6g}"
            _claim(name, not smooth or abs(slope - wide) <= _SLOPE * size, sentence)


def _row(part: Any) -> Any:
    """What the environment of a batch gives that also runs alone."""
    return type(part)(*(None if p is None else p[2] for p in part)) if hasattr(part, "_fields") else part[2]


def _check_tick(name: str, state: Any, output: Any, row: Any, traced: Any) -> None:
    for what in ("money", "costs", "observation"):
        values, others, jax = (np.asarray(getattr(part, what)) for part in (output, row, traced))
        _claim(name, np.isfinite(values).all(), f"{what} is not finite")
        gap = float(np.abs(values - others).max(initial=0.0))
        _claim(name, gap <= _GAP, f"one environment of a batch is not what it is alone: {what} differs by {gap:.3g}")
        gap = float(np.abs(values - jax).max(initial=0.0))
        _claim(name, gap <= _GAP, f"JAX and NumPy differ by {gap:.3g} in {what}")
    _claim(name, np.isfinite(state.signals).all(), "a signal is not finite")
    gap = float(np.abs(output.transfers.sum(-1)).max())
    _claim(name, gap <= _GAP, f"its transfers do not sum to zero over all accounts: {gap:.3g} $")


def _traced(world: World, simulation: Simulation, state: Any, actions: np.ndarray) -> Any:
    """Output of the same step on JAX."""
    with jax_float64():
        jnp = jax_numpy()
        exogenous, noise = simulation.exogenous(state), simulation.noise_at(state.tick + 1)
        moved = jax_module().tree.map(jnp.asarray, (state, actions, exogenous, noise))
        return engine.step(jnp, world.layout, params_of(world.layout, jnp), *moved)[1]


def _compare_compiled(name: str, world: World, key: Any, day: Any, actions: np.ndarray) -> None:
    """The same episode on the compiled step."""
    try:
        fused = Simulation(world, "fused")
    except NotCompilableError as error:
        raise AssertionError(f"{name}: it cannot be compiled: {error}") from error
    plain = Simulation(world)
    state, other = fused.reset(key, day).state, plain.reset(key, day).state
    for chosen in actions:
        state, output = fused.step(state, chosen)
        other, wanted = plain.step(other, chosen)
        for what in ("money", "costs", "observation"):
            gap = float(np.abs(getattr(output, what) - getattr(wanted, what)).max(initial=0.0))
            _claim(name, gap <= _GAP, f"the compiled step and NumPy differ by {gap:.3g} in {what}")


def _world(agents: list[dict[str, Any]], method: str = "auto", **sections: Any) -> World:
    given = {"episode_length": _TICKS, "time_step": 3600}
    options = {"name": "examined", "network": _NETWORK, "agents": agents, "simulation": given, **sections}
    return build(options, method=method, tol_pu=1e-11)


def _claim(name: str, holds: Any, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"{name}: {sentence}")
