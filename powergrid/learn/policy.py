"""Actors and critics applied to what agents see: the few lines that every roll-out and the losses share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from powergrid.core.types import Array
from powergrid.learn.actors.network import ActorNetwork
from powergrid.learn.critics import Critic
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner_state import LearnerState
from powergrid.learn.networks import normalise

LOG_2_PI = 1.8378770664093453


def normal_obs(network: ActorNetwork, norms: Any, obs: ByGroup[Array]) -> ByGroup[Array]:
    """Normalised inputs of the actors."""
    return ByGroup.of(obs.names, network.inputs(jnp, norms, obs.by_name()))


class Seen(NamedTuple):
    """What agents have seen in the ticks of a roll-out, and of agents with a memory what they remembered.

    Attributes
    ----------
    inputs
        Normalised inputs ``(ticks, E, n, d)``.
    memory
        Memories at the beginning of each chunk, ``(chunks, E, n, width)`` by group.
    begins
        Whether an episode begins with the tick, ``(ticks, E)``.
    """

    inputs: ByGroup[Array]
    memory: Any = ()
    begins: Array | None = None


def mean_actions(network: Any, actors: Any, seen: Seen) -> ByGroup[Array]:
    """Mean actions ``(ticks, E, n, k)`` a group; memories follow anew from those at the beginning of each chunk."""
    names, inputs = seen.inputs.names, seen.inputs.by_name()
    if not network.remembers:
        return ByGroup.of(names, network.means(jnp, actors, inputs))
    chunks = next(iter(seen.memory.values())).shape[0]
    found = network.seen(jnp, actors, inputs)

    def in_step(leaf: Array) -> Array:
        """Ticks of a chunk first, ``(ticks / chunks, chunks, E, ...)``."""
        return jnp.moveaxis(leaf.reshape(chunks, -1, *leaf.shape[1:]), 1, 0)

    def tick(memory: Any, row: tuple[Any, Array]) -> tuple[Any, Any]:
        parts, begins = row
        after = network.recalled(jnp, actors, parts, forgotten(memory, begins))
        return after, after

    _, memories = jax.lax.scan(tick, seen.memory, jax.tree.map(in_step, (found, seen.begins)))
    ticks = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1).reshape(-1, *leaf.shape[2:]), memories)
    return ByGroup.of(names, network.chosen(jnp, actors, found, ticks))


def forgotten(memory: Any, begins: Array) -> Any:
    """Memories ``(*batch, n, width)``, 0 where an episode begins, ``(*batch,)``."""
    return jax.tree.map(lambda leaf: jnp.where(begins[..., None, None], 0.0, leaf), memory)


def spreads(network: ActorNetwork, actors: Any, groups: Iterable[str]) -> ByGroup[Array]:
    """Logarithm of the standard deviation of exploration, by group."""
    return ByGroup.of(groups, network.spreads(actors))


def explore(
    network: ActorNetwork, actors: Any, norms: Any, obs: ByGroup[Array], noise: ByGroup[Array], memory: Any
) -> tuple[ByGroup[Array], ByGroup[Array], Any]:
    """Actions drawn around their means with given standard normal numbers, the same within [-1, 1], and memories."""
    means, memory = acted(network, actors, norms, obs, memory)
    wide = spreads(network, actors, obs.names)
    action = means.map(lambda mean, log_std, drawn: mean + jnp.exp(log_std) * drawn, wide, noise)
    return action, action.map(lambda wish: jnp.clip(wish, -1.0, 1.0)), memory


def acted(
    network: ActorNetwork, actors: Any, norms: Any, obs: ByGroup[Array], memory: Any
) -> tuple[ByGroup[Array], Any]:
    """Mean actions of one tick, and the memories after it."""
    means, memory = network.acted(jnp, actors, network.inputs(jnp, norms, obs.by_name()), memory)
    return ByGroup.of(obs.names, means), memory


def log_probs(network: ActorNetwork, actors: Any, seen: Seen, actions: ByGroup[Array]) -> Array:
    """Log density of the raw actions of a roll-out, one column an agent, ``(ticks, E, A)``."""

    def density(mean: Array, log_std: Array, action: Array) -> Array:
        score = (action - mean) * jnp.exp(-log_std)
        return -(0.5 * jnp.square(score) + log_std + 0.5 * LOG_2_PI).sum(-1)

    wide = spreads(network, actors, seen.inputs.names)
    return mean_actions(network, actors, seen).map(density, wide, actions).columns()


def values(critic: Critic, network: ActorNetwork, learner: LearnerState, obs: ByGroup[Array], central: Array) -> Array:
    """Values in the reward's own unit, ``(*batch, A)``, for observations and states as they were seen."""
    stats = learner.value_norm
    central = normalise(jnp, learner.state_norm, central)
    value = critic.value(learner.critic, normal_obs(network, learner.obs_norm, obs), central)
    return value * jnp.sqrt(stats.var + 1e-8) + stats.mean
