"""MAPPO whose prices of violations find themselves, so that limits hold: PPO-Lagrangian.

Agents maximise money while the priced violations of each limited constraint, summed over agents and an episode, stay
below a limit. The Lagrangian of that problem, ``sum_i (R_i - sum_c lambda_c C_ic)``, is MAPPO's problem with
``lambda_c`` in place of the configured price. Each agent follows the advantage ``A_i - sum_c lambda_c A_ic``, with a
critic that values rewards and costs apart, and :mod:`powergrid.learn.multipliers` moves the multipliers. Stooke, Achiam
and Abbeel, "Responsive safety in reinforcement learning by PID Lagrangian methods", ICML 2020, arXiv:2007.03964.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from powergrid.core.types import Array
from powergrid.learn import multipliers
from powergrid.learn.algorithms import mappo
from powergrid.learn.constraints import Constraints, worst_costs
from powergrid.learn.critics import CentralCritic
from powergrid.learn.federation import with_own_actors
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.learn.learner_state import LearnerState, Rollout
from powergrid.learn.multipliers import ControllerSettings, Multipliers
from powergrid.plugins import register_algorithm


class Settings(mappo.Settings, ControllerSettings):
    """Hyperparameters of PPO-Lagrangian: those of MAPPO, and the controller of the multipliers."""


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
        return multipliers.first(self.constraints)

    def _next_multipliers(self, learner: LearnerState, rollout: Rollout) -> tuple[Multipliers, dict[str, Array]]:
        cost = worst_costs(rollout, self.agents, self.env.episode_length, self.settings.worst_share)
        return multipliers.moved(self.settings, self.constraints, learner.multipliers, cost)

    def _followed(self, advantage: Array, due: Array, learner: LearnerState) -> Array:
        first, *costs = jnp.split(advantage, 1 + len(self.constraints.names), -1)
        dear = sum(learner.multipliers.value[k] * cost for k, cost in enumerate(costs))
        return super()._followed(first - dear, due, learner)
