"""Independent PPO: MAPPO's loop with critics that see no more than their own agent.

de Witt, Gupta, Makoviichuk, Makoviychuk, Torr, Sun and Whiteson, "Is independent learning all you need in the StarCraft
multi-agent challenge?", 2020, arXiv:2011.09533.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powergrid.learn.algorithms.mappo import PolicyGradient, Settings
from powergrid.learn.critics import LocalCritic
from powergrid.learn.federation import with_own_actors
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.plugins import register_algorithm


@register_algorithm("ippo")
def ippo(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> PolicyGradient:
    """IPPO: local actors, local critics."""
    return PolicyGradient(env, steps, settings_from(Settings, with_own_actors(env, hyper)), LocalCritic())
