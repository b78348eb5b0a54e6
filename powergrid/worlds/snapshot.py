"""Running episodes as values: for look-ahead, tree search, checkpoints and copies of environments."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from powergrid.coordination.layers import initial
from powergrid.core.errors import ArgumentError
from powergrid.engine.layout import Layout
from powergrid.engine.state import State
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World

Tree: TypeAlias = Any
"""A tree of named arrays: an array, ``None``, or a tuple of trees."""


class Snapshot(NamedTuple):
    """State of an environment or a vector environment: arrays, numbers and copies of plain Python devices.

    A snapshot is a value: later steps do not change it, any environment of the same configuration can continue from it
    any number of times, and it can be pickled. The first axis of a vector environment's arrays is the environment.

    Attributes
    ----------
    configuration
        Digest of the configuration.
    form
        Kind of the environment, and number of environments.
    seed
        Seed of the running stream of episodes, ``None`` before the first.
    episode
        Number of episodes of the stream that have started.
    day, tick
        Day of the running episode, and ticks since its reset.
    ended
        Whether physics ended the episode, and whether the time limit did.
    alive
        Whether its agents still act.
    state
        The engine's state, ``None`` before the first reset: devices, markets, held actions, start voltages of the next
        power flow, random key and row of the data. Noise and data follow from the last two.
    central
        State for a central critic; of a vector environment, the keys of the streams.
    objects
        Plain Python devices, and what agents that decide in Python remember, a pair per environment; empty where there
        are neither.
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
    objects: tuple[Any, ...]
    mail: dict[str, tuple[Any, ...]]


def check(state: object, world: World, form: tuple[str, int]) -> Snapshot:
    """Return `state` if it is a snapshot that fits an environment.

    Parameters
    ----------
    state
        What `set_state` was called with.
    world, form
        World, and kind and number of environments, of the environment.

    Raises
    ------
    ArgumentError
        If `state` is no snapshot, or belongs to another configuration, kind or number of environments.
    """
    if not isinstance(state, Snapshot):
        raise ArgumentError(f"{type(state).__name__} is no state of an environment; pass what get_state() has returned")
    if state.configuration != world.digest:
        raise ArgumentError(
            "the state belongs to another configuration than this environment's, "
            f'"{world.resolved.config.name}"; make both from the same source with the same overrides'
        )
    if state.form != form:
        (kind, count), (own, wanted) = state.form, form
        raise ArgumentError(f"the state is of {count} {kind} environment(s), expected one of {wanted} {own}")
    return state


def value_of(state: State) -> State:
    """Copy a state without the types of devices, protocols and policies: unpickling must not need a plugin."""
    parts = {name: _plain(getattr(state, name)) for name in ("devices", "layers", "policies")}
    own: State = copied(state._replace(**parts))
    return own


def _plain(tree: Tree) -> Tree:
    """Return a tree of plain tuples."""
    return tuple(_plain(part) for part in tree) if isinstance(tree, tuple) else tree


def _typed(layout: Layout, state: State) -> State:
    """Return a state from `value_of` with the types of devices, protocols and policies."""
    layers = initial(np, layout.coordination.layers, (), np.float64)
    memories = [acting.policy.initial(np, (), 1, np.float64) for acting in layout.policies.choices.acting]
    pairs = zip(layout.families, state.devices, strict=True)
    return state._replace(
        devices=tuple(family.kernel.State(*columns) for family, columns in pairs),
        layers=tuple(map(_like, layers, state.layers)),
        policies=tuple(map(_like, memories, state.policies)),
    )


def _like(form: Tree, tree: Tree) -> Tree:
    """Return a tree with the types of another of the same structure."""
    if not isinstance(form, tuple):
        return tree
    parts = [_like(*pair) for pair in zip(form, tree, strict=True)]
    return type(form)(*parts) if hasattr(form, "_fields") else tuple(parts)


def copied(tree: Tree) -> Tree:
    """Copy a tree of named arrays with all its arrays."""
    if isinstance(tree, tuple):
        parts = [copied(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree if tree is None else np.array(tree)


def joined(trees: Sequence[Tree]) -> Tree:
    """Join trees of named arrays along the first axis."""
    first = trees[0]
    if isinstance(first, tuple):
        parts = [joined([tree[i] for tree in trees]) for i in range(len(first))]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return first if first is None else np.concatenate(trees)


def rows_of(tree: Tree, rows: slice) -> Tree:
    """Copy some rows of a tree of named arrays."""
    if isinstance(tree, tuple):
        parts = [rows_of(part, rows) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree if tree is None else np.array(tree[rows])


def saved_objects(simulation: Simulation, state: State) -> tuple[Any, ...]:
    """Copy what each environment of a batch keeps in Python objects: plain Python devices, and agents' memories."""
    python, agents = simulation.layout.python, simulation.python_agents
    if python is None and agents is None:
        return ()
    nothing = (None,) * int(np.size(state.tick))
    devices = nothing if python is None else python.saved(np.ravel(state.slots[..., python.held]))
    return tuple(zip(devices, nothing if agents is None else agents.saved(), strict=True))


def resumed(simulation: Simulation, state: State, objects: tuple[Any, ...]) -> State:
    """Copy a state into a simulation, with its Python objects, so that the simulation can continue from it.

    Without `objects`, the memories of agents that decide in Python start afresh.
    """
    own = _typed(simulation.layout, copied(state))
    simulation.resume(own)
    python = simulation.layout.python
    if python is not None:
        first = np.ravel(own.row - own.tick)
        devices = tuple(device for device, _ in objects)
        numbers = python.restored(id(simulation.params), first, devices, single=np.ndim(own.tick) == 0)
        own.slots[..., python.held] = np.reshape(numbers, np.shape(own.tick))
    if simulation.python_agents is not None:
        simulation.python_agents.resume(own, tuple(agents for _, agents in objects))
    return own


def twin(world: World) -> World:
    """Copy a world so that the two share nothing that changes: agents and plain Python devices are copies."""
    if world.layout.python is not None:
        return build(world.resolved, method=world.method, tol_pu=world.tol_pu)
    shared = [part for agent in world.agents for part in (agent._decide, getattr(agent, "facts", None))]
    memo = {id(part): part for part in shared if part is not None}
    memo |= {id(agent.policy_object): None for agent in world.agents if agent.policy_object is not None}
    copied_world = dataclasses.replace(world, agents=copy.deepcopy(world.agents, memo))
    copied_world.__dict__["digest"] = world.digest  # the slowest part of a copy
    return copied_world
