"""MAPPO whose prices of violations find themselves, so that limits hold: a multiplier a constraint, moved by PID.

Agents maximise money while the priced violations of each limited constraint, summed over agents and an episode, stay
below a limit. The Lagrangian of that problem, ``sum_i (R_i - sum_c lambda_c C_ic)``, is MAPPO's problem with
``lambda_c`` in place of the configured price, so that each agent follows the advantage ``A_i - sum_c lambda_c A_ic``,
with a critic that values rewards and costs apart. The multipliers follow the excess ``e_c = (J_c - d_c) / (J_c + d_c)``
of the cost ``J_c`` of an episode over its limit ``d_c``:

``ln(lambda_c / lambda_0) = k_p e + k_i sum(e) + k_d max(e - e_before, 0)``

Stooke, Achiam and Abbeel, "Responsive safety in reinforcement learning by PID Lagrangian methods", ICML 2020,
arXiv:2007.03964, with two changes. The controller moves the logarithm of the multiplier and sees the relative excess,
since what a violation is worth spans magnitudes from one grid to the next; and the multiplier starts at the price that
the configuration names, not at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from powergrid.core.types import Array
from powergrid.learn.algorithms import mappo
from powergrid.learn.constraints import Constraints, relative_excess, worst_costs
from powergrid.learn.critics import CentralCritic
from powergrid.learn.federation import with_own_actors
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.learn.learner_state import LearnerState, Rollout
from powergrid.plugins import register_algorithm

_RANGE = 7.0  # the multiplier stays within a factor of e^7, about 1,100, of the configured price


class Settings(mappo.Settings):
    """Hyperparameters of PPO-Lagrangian: those of MAPPO, and the controller of the multipliers."""

    proportional: float = Field(0.5, ge=0, description="k_p: gain on the relative excess over a limit [1]")
    integral: float = Field(0.1, ge=0, description="k_i: gain on its sum over updates [1]")
    derivative: float = Field(0.5, ge=0, description="k_d: gain on its increase from one update to the next [1]")
    worst_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of the episodes, the worst ones, whose mean cost is held at the limit; 1 holds the mean of "
        "all, as a constrained Markov decision process has it",
    )


class Multipliers(NamedTuple):
    """The controller's memory, one number a constraint.

    Attributes
    ----------
    value
        Multipliers [1/$].
    total, last
        Sum of the relative excess over the updates, and the last one.
    """

    value: Array
    total: Array
    last: Array


@register_algorithm("ppo_lagrangian")
def ppo_lagrangian(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> Lagrangian:
    """PPO-Lagrangian: MAPPO that keeps ``training.cost_limits``."""
    constraints = Constraints(env)
    critic = CentralCritic(1 + len(constraints.names))
    return Lagrangian(env, steps, settings_from(Settings, with_own_actors(env, hyper)), critic, constraints)


class Lagrangian(mappo.PolicyGradient):
    """A policy gradient of reward less cost times multiplier."""

    settings: Settings
    constraints: Constraints

    def _first_multipliers(self) -> Multipliers:
        size = len(self.constraints.names)
        price = self.constraints.price or 1.0
        return Multipliers(np.full(size, price, np.float32), np.zeros(size, np.float32), np.zeros(size, np.float32))

    def _next_multipliers(self, learner: LearnerState, rollout: Rollout) -> tuple[Multipliers, dict[str, Array]]:
        settings, before = self.settings, learner.multipliers
        cost = worst_costs(rollout, self.agents, self.env.episode_length, settings.worst_share)
        excess = relative_excess(cost, jnp.asarray(self.constraints.limits))
        bound = _RANGE / max(settings.integral, 1e-6)  # the sum stops where it has no further effect
        total = jnp.clip(before.total + excess, -bound, bound)
        rise = jnp.maximum(excess - before.last, 0.0)
        power = settings.proportional * excess + settings.integral * total + settings.derivative * rise
        value = (self.constraints.price or 1.0) * jnp.exp(jnp.clip(power, -_RANGE, _RANGE))
        told = {f"multiplier_{name}": value[k] for k, name in enumerate(self.constraints.names)}
        told |= {f"cost_{name}": cost[k] for k, name in enumerate(self.constraints.names)}
        return Multipliers(value, total, excess), told

    def _followed(self, advantage: Array, due: Array, learner: LearnerState) -> Array:
        first, *costs = jnp.split(advantage, 1 + len(self.constraints.names), -1)
        dear = sum(learner.multipliers.value[k] * cost for k, cost in enumerate(costs))
        return super()._followed(first - dear, due, learner)
