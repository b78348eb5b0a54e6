"""Critics that a policy-gradient learner may be handed: one sees the whole system, one a single agent's view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from powergrid.core.types import Array
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv
from powergrid.learn.networks import Stack, dense_stack, stack


class Critic(Protocol):
    """Estimates one normalised value for each agent, ``(*batch, A)``, group after group, from normalised inputs."""

    def init(
        self,
        rng: np.random.Generator,
        env: FunctionalEnv,
        input_size: Mapping[str, int],
        hidden: tuple[int, ...],
        shared: bool,
    ) -> Any:
        """Initial weights; `input_size` of the actors' normalised inputs by group, `shared` as for them."""
        ...

    def value(self, weights: Any, obs: ByGroup[Array], central: Array) -> Array:
        """Values of all agents."""
        ...


class CentralCritic:
    """One network from the system's state to every agent's value, and to that of its costs where costs have limits.

    Parameters
    ----------
    columns
        Outputs an agent: 1, and 1 for each limited constraint.
    """

    def __init__(self, columns: int = 1):
        self.columns = columns

    def init(
        self,
        rng: np.random.Generator,
        env: FunctionalEnv,
        input_size: Mapping[str, int],
        hidden: tuple[int, ...],
        shared: bool,
    ) -> Stack:
        """One stack with `columns` outputs an agent."""
        agents = sum(len(members) for members in env.groups.values())
        return stack(rng, (env.state_size, *hidden, agents * self.columns), last_gain=1.0)

    def value(self, weights: Stack, obs: ByGroup[Array], central: Array) -> Array:
        """Values of all agents."""
        return dense_stack(jnp, weights, central)


class LocalCritic:
    """One network a group, or an agent, from an agent's own observation to its value."""

    def init(
        self,
        rng: np.random.Generator,
        env: FunctionalEnv,
        input_size: Mapping[str, int],
        hidden: tuple[int, ...],
        shared: bool,
    ) -> ByGroup[Stack]:
        """One stack a group."""

        def critic(group: str) -> Stack:
            widths = (input_size[group], *hidden, 1)
            return stack(rng, widths, last_gain=1.0, agents=len(env.groups[group]), shared=shared)

        return ByGroup.make(env.groups, critic)

    def value(self, weights: ByGroup[Stack], obs: ByGroup[Array], central: Array) -> Array:
        """Values of all agents."""
        return obs.map(lambda rows, critic: dense_stack(jnp, critic, rows)[..., 0], weights).columns()
