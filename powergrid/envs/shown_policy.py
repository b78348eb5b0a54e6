"""Policies that act on observations as an environment shows them, played by an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from powergrid.core.errors import RunError
from powergrid.envs.actions import BatchRows
from powergrid.envs.shapes import Shapes
from powergrid.worlds.world import World


class ShownPolicy:
    """A function of observations in the form of one environment, for :func:`powergrid.evaluate`.

    An evaluation gives a function each agent's own numbers in physical units. They are scaled, padded and numbered here
    as the environment does it, and the padding of the actions is taken off.

    Parameters
    ----------
    world, shapes
        Agents and form of the environment.
    policy
        Function from ``{agent: (days, d)}``, as the environment shows observations, to ``{agent: (days, k)}``.

    Attributes
    ----------
    residual
        Local policy that the actions correct; ``None`` where they are commands.
    others
        Local policy of agents for which the function returns no action, as its own attribute `others` says; ``None``
        where it acts for all.
    """

    def __init__(
        self, world: World, shapes: Shapes, policy: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
    ):
        self.residual: str | None = world.resolved.config.residual
        self.others: str | None = getattr(policy, "others", None)
        self._shapes, self._policy = shapes, policy
        self._agents = list(world.layout.actors)
        self._sizes = dict(zip(self._agents, world.layout.view.sizes, strict=False))  # Python agents follow the actors
        self._own = [len(entries) for entries in world.layout.action_entries[: len(self._agents)]]

    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions of the agents, ``(days, k)``, for their own numbers in physical units, ``(days, d)``.

        Raises
        ------
        RunError
            If other agents observe, or these observe other numbers.
        ActionError
            If the function returns no action of an agent, or one of a wrong shape.
        """
        given = {agent: seen.shape[-1] for agent, seen in observations.items()}
        if given != self._sizes:
            raise RunError(
                f"the policy acts on observations of {self._sizes} numbers, the configuration shows {given}; evaluate "
                "the configuration that the environment of the policy was made of"
            )
        numbers = self._shapes.observation(np, np.concatenate([observations[agent] for agent in self._agents], axis=-1))
        shown = {agent: numbers[:, own] for agent, own in zip(self._agents, self._shapes.slices, strict=True)}
        sizes, width = list(self._shapes.action_sizes), self._shapes.action_width
        chosen = self._policy(shown)
        absent = [agent for agent in self._agents if agent not in chosen] if self.others is not None else []
        idle = {agent: np.zeros((len(numbers), sizes[self._agents.index(agent)])) for agent in absent}
        rows = BatchRows(self._agents, sizes, width, len(numbers)).stack({**chosen, **idle})
        actions = self._shapes.actions(np, rows)
        return {
            agent: actions[:, row, : self._own[row]] for row, agent in enumerate(self._agents) if agent not in absent
        }
