"""Environments in mid-episode as values: for look-ahead, tree search, checkpoints and copies."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from powergrid.coordination.layers import initial
from powergrid.core.errors import ArgumentError
from powergrid.engine.layout import Layout
from powergrid.engine.state import State
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World


class Snapshot(NamedTuple):
    """An environment, or a vector environment, in mid-episode: arrays, numbers and copies of plain Python devices.

    It is a value: whatever is stepped later leaves it as it is, it can be set any number of times, on any environment
    of the same configuration, and it pickles. Leaves of a vector environment have the environments in front.

    Attributes
    ----------
    configuration
        Digest of the configuration that it belongs to.
    form
        Kind and size of environment that it belongs to.
    seed
        Seed of the running stream of episodes, ``None`` where none has begun.
    episode
        Episodes of the stream that have begun.
    day, tick
        Day of the running episode, and ticks since its reset.
    ended
        Whether physics and whether the time limit ended it.
    alive
        Whether its agents still act.
    state
        The engine's state, ``None`` before the first reset: devices, markets, held actions, voltages that the next
        power flow starts from, random key and row of the data, from which noise and data follow.
    central
        State for a central critic; of a vector environment, the keys of the streams.
    devices
        Plain Python devices, one entry an environment; empty where there are none.
    mail
        Messages in agents' mailboxes.
    """

    configuration: str
    form: tuple[str, int]
    seed: Any
    episode: Any
    day: Any
    tick: Any
    ended: Any
    alive: bool
    state: State | None
    central: Any
    devices: tuple[Any, ...]
    mail: dict[str, tuple[Any, ...]]


def check(given: Any, world: World, form: tuple[str, int]) -> Snapshot:
    """A state that fits an environment.

    Raises
    ------
    ArgumentError
        If it is none, or one of another configuration, kind or number of environments.
    """
    if not isinstance(given, Snapshot):
        raise ArgumentError(f"{type(given).__name__} is no state of an environment; pass what get_state() has returned")
    if given.configuration != world.digest:
        raise ArgumentError(
            "the state belongs to another configuration than this environment's, "
            f'"{world.resolved.config.name}"; make both from the same source with the same overrides'
        )
    if given.form != form:
        (kind, count), (own, wanted) = given.form, form
        raise ArgumentError(f"the state is of {count} {kind} environment(s), expected one of {wanted} {own}")
    return given


def value_of(state: State) -> State:
    """A copy of a state without the types of devices, protocols and policies, which a plugin may have to load first."""
    parts = {name: _plain(getattr(state, name)) for name in ("devices", "layers", "policies")}
    own: State = copied(state._replace(**parts))
    return own


def _plain(tree: Any) -> Any:
    return tuple(_plain(part) for part in tree) if isinstance(tree, tuple) else tree


def _typed(layout: Layout, state: State) -> State:
    """The way back."""
    layers = initial(np, layout.layers, (), np.float64)
    memories = [acting.policy.initial(np, (), 1, np.float64) for acting in layout.choices.acting]
    pairs = zip(layout.families, state.devices, strict=True)
    return state._replace(
        devices=tuple(family.kernel.State(*columns) for family, columns in pairs),
        layers=tuple(map(_like, layers, state.layers)),
        policies=tuple(map(_like, memories, state.policies)),
    )


def _like(form: Any, tree: Any) -> Any:
    if not isinstance(form, tuple):
        return tree
    parts = [_like(*pair) for pair in zip(form, tree, strict=True)]
    return type(form)(*parts) if hasattr(form, "_fields") else tuple(parts)


def copied(tree: Any) -> Any:
    """A tree of named arrays whose arrays are nobody else's."""
    if isinstance(tree, tuple):
        parts = [copied(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree if tree is None else np.array(tree)


def joined(trees: list[Any]) -> Any:
    """Trees of named arrays, one behind the other along the first axis."""
    first = trees[0]
    if isinstance(first, tuple):
        parts = [joined([tree[i] for tree in trees]) for i in range(len(first))]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return first if first is None else np.concatenate(trees)


def rows_of(tree: Any, rows: slice) -> Any:
    """Copies of some rows of a tree of named arrays."""
    if isinstance(tree, tuple):
        parts = [rows_of(part, rows) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree if tree is None else np.array(tree[rows])


def saved_devices(simulation: Simulation, state: State) -> tuple[Any, ...]:
    """Copies of the plain Python devices of each environment of a batch."""
    python = simulation.layout.python
    if python is None:
        return ()
    return tuple(python.saved(np.ravel(state.slots[..., python.held])))


def resumed(simulation: Simulation, state: State, devices: tuple[Any, ...]) -> State:
    """A copy of a state that a simulation can step on from, with its plain Python devices."""
    own = _typed(simulation.layout, copied(state))
    simulation.resume(own)
    python = simulation.layout.python
    if python is not None:
        first = np.ravel(own.row - own.tick)
        numbers = python.restored(id(simulation.params), first, devices, single=np.ndim(own.tick) == 0)
        own.slots[..., python.held] = np.reshape(numbers, np.shape(own.tick))
    return own


def twin(world: World) -> World:
    """A world that shares nothing that changes: agents are copies, and so are plain Python devices."""
    if world.layout.python is not None:
        return build(world.resolved, method=world.method, tol_pu=world.tol_pu)
    shared = [part for agent in world.agents for part in (agent.decide, getattr(agent, "facts", None))]
    memo = {id(part): part for part in shared if part is not None}
    made = dataclasses.replace(world, agents=copy.deepcopy(world.agents, memo))
    made.__dict__["digest"] = world.digest  # what it takes longest to make
    return made
