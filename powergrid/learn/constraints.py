"""Limits on priced violations, as a learner sees them: columns of cost beside the columns of reward."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from powergrid.core.backend import Namespace
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.learn.learner import AlgorithmSettings, FunctionalEnv
from powergrid.learn.learner_state import Rollout
from powergrid.worlds.world import SHARED


class LimitSettings(AlgorithmSettings):
    """How algorithms with limits measure the cost of an episode."""

    worst_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of the episodes, the worst ones, whose mean cost is held at the limit; 1 holds the mean of "
        "all, as a constrained Markov decision process has it",
    )


class Constraints:
    """The constraints that a configuration limits.

    What is limited is the sum over the learning agents of a constraint's priced violations in an episode. It leaves the
    reward, ``r = -reward_scale money - min(safety_scale cost, max_penalty)`` with the cost of what is not limited, and
    becomes columns of its own: for each constraint one an agent, what its account pays.

    Parameters
    ----------
    env
        Functional environment with ``cost_limits``.

    Attributes
    ----------
    names
        The constraints with a limit.
    limits
        Their limits [$ per episode], ``(C,)``.
    price
        What the reward takes for one $ of a violation where nothing is limited, ``safety_scale`` [1/$].

    Raises
    ------
    ConfigError
        If the configuration limits nothing.
    """

    def __init__(self, env: FunctionalEnv):
        given: Any = env
        limits = dict(getattr(given, "cost_limits", {}))
        if not limits:
            known = [name for name in getattr(given, "constraint_names", ()) if not name.startswith(SHARED)]
            example = f"cost_limits: {{{known[0] if known else 'voltage'}: 0.5}}"
            raise ConfigError(
                [
                    Issue(
                        "training.cost_limits",
                        "a constrained algorithm has no limit to keep",
                        f"write training: {{{example}}} [$ per episode]; constraints: {', '.join(known)}",
                    )
                ]
            )
        self.names, self.limits = tuple(limits), np.array(list(limits.values()), np.float32)
        self._columns = [given.world.limited([name]) for name in self.names]
        self._limited = given.world.limited(self.names)
        rows = {agent: row for row, agent in enumerate(given.agents)}
        self._agents = np.array([rows[agent] for members in env.groups.values() for agent in members])
        self._reward = given.world.reward
        self.price = float(self._reward.safety_scale)

    def columns(self, xp: Namespace, reward: Array, costs: Array) -> Array:
        """Rewards without what is limited, then the costs of each constraint, ``(*batch, A (1 + C))``.

        Parameters
        ----------
        xp
            NumPy or JAX's NumPy.
        reward
            Rewards in the order of the groups, ``(*batch, A)``.
        costs
            Priced violations of those that are there, in the environment's order of agents, ``(*batch, A, names)`` [$].
        """
        costs = costs[..., self._agents, :]
        limited = [costs[..., rows].sum(-1) for rows in self._columns]
        return xp.concatenate([reward + self._reward.relief(xp, costs, self._limited), *limited], -1)


def columns_per_agent(constraints: Constraints | None) -> int:
    """Columns of reward and cost that each agent has."""
    return 1 if constraints is None else 1 + len(constraints.names)


def worst_costs(rollout: Rollout, agents: int, episode_length: int, worst_share: float) -> Array:
    """Cost of each constraint in an episode, the mean over the worst share of the environments, ``(C,)`` [$].

    An environment's cost over the roll-out is scaled to the length of an episode.
    """
    ticks, environments, columns = rollout.reward.shape
    costs = rollout.reward[..., agents:].reshape(ticks, environments, columns // agents - 1, agents).sum((0, -1))
    return worst_mean(costs, worst_share) * (episode_length / ticks)


def worst_mean(costs: Array, worst_share: float) -> Array:
    """Mean over the worst share of the rows of ``(E, C)``."""
    worst = max(round(worst_share * len(costs)), 1)
    return jnp.sort(costs, 0)[-worst:].mean(0)
