"""Actors and critics applied to what agents see: the few lines that every roll-out and the losses share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from powergrid.core.types import Array
from powergrid.learn.critics import Critic
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner_state import LearnerState
from powergrid.learn.networks import Running, Stack, dense_stack, normalise

LOG_2_PI = 1.8378770664093453


def normal_obs(norms: ByGroup[Running], obs: ByGroup[Array]) -> ByGroup[Array]:
    """Normalised observations."""
    return obs.map(lambda rows, norm: normalise(jnp, norm, rows), norms)


def mean_actions(actors: ByGroup[dict[str, Any]], obs: ByGroup[Array]) -> ByGroup[Array]:
    """Mean actions ``(*batch, n, k)`` a group for normalised observations."""
    return obs.map(lambda rows, actor: dense_stack(jnp, _layers(actor), rows), actors)


def explore(
    actors: ByGroup[dict[str, Any]], norms: ByGroup[Running], obs: ByGroup[Array], noise: ByGroup[Array]
) -> tuple[ByGroup[Array], ByGroup[Array]]:
    """Actions drawn around their means with the given standard normal numbers, and the same within [-1, 1]."""
    means = mean_actions(actors, normal_obs(norms, obs))
    action = means.map(lambda mean, actor, drawn: mean + jnp.exp(actor["log_std"]) * drawn, actors, noise)
    return action, action.map(lambda wish: jnp.clip(wish, -1.0, 1.0))


def log_probs(actors: ByGroup[dict[str, Any]], obs: ByGroup[Array], actions: ByGroup[Array]) -> Array:
    """Log density of the raw actions for normalised observations, one column an agent, ``(*batch, A)``."""

    def density(mean: Array, actor: dict[str, Any], action: Array) -> Array:
        score = (action - mean) * jnp.exp(-actor["log_std"])
        return -(0.5 * jnp.square(score) + actor["log_std"] + 0.5 * LOG_2_PI).sum(-1)

    return mean_actions(actors, obs).map(density, actors, actions).columns()


def values(critic: Critic, learner: LearnerState, obs: ByGroup[Array], central: Array) -> Array:
    """Values in the reward's own unit, ``(*batch, A)``, for observations and states as they were seen."""
    stats = learner.value_norm
    central = normalise(jnp, learner.state_norm, central)
    value = critic.value(learner.critic, normal_obs(learner.obs_norm, obs), central)
    return value * jnp.sqrt(stats.var + 1e-8) + stats.mean


def _layers(actor: dict[str, Any]) -> Stack:
    return {name: layer for name, layer in actor.items() if name != "log_std"}
