"""Behaviour cloning: actors that begin where a known policy stands and improve on it from there.

The known policy says in each state what it would do, and the actors' mean actions are fitted to that by least squares.
The first days are played by the known policy; the later ones by the actors fitted so far, so that they also know what
to do where their own small errors lead (Ross, Gordon and Bagnell, "A reduction of imitation learning and structured
prediction to no-regret online learning", AISTATS 2011, arXiv:1011.0686: DAgger).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import track

from powergrid.core import random
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.terminal import console
from powergrid.core.types import Array
from powergrid.learn import policy
from powergrid.learn.actors.network import ActorNetwork
from powergrid.learn.groups import ByGroup
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.simulation import Simulation

DAYS = 96
"""Days played in a round."""

ROUNDS = 3
"""The first follows the known policy, the others the actors."""

STEPS = 3000
"""Gradient steps of a round."""

ROWS = 512
"""Samples of a gradient step."""

STEP_SIZE = 5e-3
"""Adam's at the beginning of a round; it falls to 0 along a cosine."""

LEAST_SPREAD = 0.2
"""Smallest standard deviation that actors explore with after imitation, in units of the action's half range."""


class Samples(NamedTuple):
    """What agents saw ``(N, n, d)``, what the known policy would do ``(N, n, k)``, who decided ``(N, n)``; by group."""

    obs: ByGroup[Array]
    action: ByGroup[Array]
    due: ByGroup[Array]


def check_imitation(name: str, network: ActorNetwork | None, env: Any) -> None:
    """Refuse what cannot be imitated, before anything is compiled or written.

    Raises
    ------
    ConfigError
        If the algorithm keeps no actors, agents have a memory, or the environment has no local policies.
    UnknownNameError
        If there is no such policy.
    """
    POLICIES.get(name)
    if not hasattr(getattr(env, "world", None), "layout"):
        raise ConfigError([Issue("imitate", "an environment of other origin has no local policies to imitate")])
    if network is None:
        raise ConfigError([Issue("imitate", "the algorithm keeps no actors that could imitate a policy")])
    if network.remembers:
        message = f"actors of network {network.kind} imitate nobody: what they remember is no part of a sample"
        raise ConfigError([Issue("imitate", message, "leave imitate out, or train with network=dense")])


def imitated(
    name: str, state: Any, env: Any, network: ActorNetwork, seed: int, progress: bool = False
) -> dict[str, Any]:
    """Actors and statistics of observations of a fresh state, fitted to a local policy.

    Parameters
    ----------
    name
        Registered local policy, such as ``"rule_based"`` or ``"mpc"``.
    state
        What the learner has learned before anything is; it has ``actor`` and ``obs_norm``.
    env
        Functional environment, on whose days the policy is played.
    network
        The network of the actors.
    seed
        Seed of days and samples.
    progress
        Show a progress bar.
    """
    import powergrid

    world = powergrid.make(env.world.resolved, backend="numpy").world
    rng = np.random.default_rng(seed)
    actor, norm = state.actor, state.obs_norm
    fit: Any = jax.jit(lambda *given: _fitted(network, *given))
    rounds: list[Samples] = []
    for number in track(range(ROUNDS), f"imitating {name}", console=console(), disable=not progress):
        days = rng.choice(np.asarray(env.days), DAYS)
        rounds.append(
            _played(env, world, name, days, int(rng.integers(2**32)), (network, actor, norm) if number else None)
        )
        if not number:
            norm = network.merged(np, norm, rounds[0].obs.by_name(), dict.fromkeys(env.groups))
        samples = Samples(*(_joined(parts) for parts in zip(*rounds, strict=True)))
        count = len(samples.due.parts[0])
        chosen = rng.integers(0, count, (STEPS, ROWS))
        actor = jax.block_until_ready(fit(actor, norm, samples, chosen))
    return {"actor": _spread(network, actor, norm, samples), "obs_norm": norm}


def _played(
    env: Any, world: Any, name: str, days: np.ndarray, seed: int, followed: tuple[ActorNetwork, Any, Any] | None
) -> Samples:
    """Days side by side, played by the known policy or by the actors that are `followed`."""
    simulation = Simulation(world)
    layout, agents = world.layout, list(env.agents)
    members = ByGroup.make(env.groups, lambda group: [agents.index(agent) for agent in env.groups[group]])
    sizes = ByGroup.of(env.groups, env.action_size)
    act: Any = None if followed is None else jax.jit(lambda obs: _means(*followed, obs))
    key = random.fold_in(np, random.key_from_seed(np, np.full(len(days), seed)), np.arange(len(days), dtype=np.int32))
    state, observation, *_ = simulation.reset(key, days)
    alive = np.ones(len(days), bool)
    rows = []
    for _ in range(layout.settings.episode_length):
        obs = members.map(lambda own: layout.view.stacked(observation.astype(np.float32), own))  # noqa: B023
        wanted = np.clip(simulation.decide(state, name)[:, : len(agents)], -1.0, 1.0).astype(np.float32)
        actions = wanted.copy()
        if followed is not None:
            for own, size, chosen in zip(members.parts, sizes.parts, act(obs).parts, strict=True):
                actions[:, own, :size] = np.clip(np.asarray(chosen), -1.0, 1.0)
        state, output = simulation.step(state, actions)
        due = output.due[:, : len(agents)] & alive[:, None]  # between decisions an action has no effect
        rows.append(
            Samples(
                obs,
                members.map(lambda own, size: wanted[:, own, :size], sizes),  # noqa: B023
                members.map(lambda own: due[:, own]),  # noqa: B023
            )
        )
        alive &= ~output.done
        observation = output.observation
    return Samples(*(_joined(parts) for parts in zip(*rows, strict=True)))


def _joined(parts: Any) -> ByGroup[Array]:
    """Samples of several ticks or rounds, one below the other."""
    first, *others = parts
    return first.map(lambda *arrays: np.concatenate(arrays), *others)


def _means(network: ActorNetwork, actor: Any, norm: Any, obs: ByGroup[Array]) -> ByGroup[Array]:
    """Mean actions for observations."""
    return policy.mean_actions(network, actor, policy.Seen(policy.normal_obs(network, norm, obs)))


def _fitted(network: ActorNetwork, actor: Any, norm: Any, samples: Samples, chosen: Array) -> Any:
    """Actors after gradient steps on the samples that `chosen`, ``(steps, rows)``, picks for each."""
    adam = optax.adam(optax.cosine_decay_schedule(STEP_SIZE, len(chosen)))
    obs = policy.normal_obs(network, norm, samples.obs)

    def loss(actor: Any, picked: tuple[ByGroup[Array], ...]) -> Array:
        return sum(errors.sum() for errors in _errors(network, actor, *picked).parts)

    def step(carry: tuple[Any, Any], rows: Array) -> tuple[tuple[Any, Any], None]:
        actor, moments = carry
        picked = jax.tree.map(lambda leaf: leaf[rows], (obs, samples.action, samples.due))
        change, moments = adam.update(jax.grad(loss)(actor, picked), moments, actor)
        return (optax.apply_updates(actor, change), moments), None

    (actor, _), _ = jax.lax.scan(step, (actor, adam.init(actor)), chosen)
    return actor


def _errors(
    network: ActorNetwork, actor: Any, obs: ByGroup[Array], action: ByGroup[Array], due: ByGroup[Array]
) -> ByGroup[Array]:
    """Mean squared error ``(n, k)`` of each agent's decisions for normalised observations."""

    def error(mean: Array, wanted: Array, there: Array) -> Array:
        squares = jnp.where(there[..., None], jnp.square(mean - wanted), 0.0)
        return squares.sum(0) / jnp.maximum(there.sum(0), 1)[:, None]

    return policy.mean_actions(network, actor, policy.Seen(obs)).map(error, action, due)


def _spread(network: ActorNetwork, actor: Any, norm: Any, samples: Samples) -> Any:
    """The actors with a standard deviation of exploration as large as their error, and `LEAST_SPREAD` at least."""
    obs = policy.normal_obs(network, norm, samples.obs)
    errors = _errors(network, actor, obs, samples.action, samples.due)
    return network.exploring(jnp, actor, errors.by_name(), LEAST_SPREAD)
