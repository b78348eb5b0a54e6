"""What every form of environment can tell of its agents: labels, scales, roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from powergrid.envs.describe import describe
from powergrid.envs.form import ObservationScale
from powergrid.envs.shapes import Shapes
from powergrid.envs.shown_policy import ShownPolicy
from powergrid.worlds.world import World


class LabelledEnv:
    """Labels of observations and actions, for environments with several agents."""

    possible_agents: list[str]
    world: World
    _shapes: Shapes

    def observation_labels(self, agent: str) -> tuple[str, ...]:
        """What each number of the agent's observation is, with its unit."""
        return tuple(entry.label(owner) for owner, entry in self._shapes.entries(self._shapes.row_of[agent]))

    def action_labels(self, agent: str) -> tuple[str, ...]:
        """What each number of the agent's action sets, with the unit of its physical range."""
        return tuple(entry.label(owner) for owner, entry in self._shapes.action_entries(self._shapes.row_of[agent]))

    def observation_scale(self, agent: str) -> ObservationScale:
        """How the agent's observation is scaled, with which a policy can return to physical units."""
        return self._shapes.scale(self._shapes.row_of[agent])

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Agents by role: those of one class, such as batteries or microgrid controllers."""
        return dict(self._shapes.roles)

    def describe(self) -> str:
        """Every agent's observation and action entries with units and bounds, as text; hours ahead share a line."""
        return describe(self.possible_agents, self._shapes)

    def for_evaluation(
        self, policy: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
    ) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
        """Make a policy for :func:`powergrid.evaluate` from a function of observations as this environment shows them.

        Parameters
        ----------
        policy
            Function from ``{agent: (days, d)}``, scaled and padded as here, to actions ``{agent: (days, k)}`` as here.
            Where actions of the environment correct a local policy, those of the function do, too.
        """
        return ShownPolicy(self.world, self._shapes, policy)
