"""What a step of a vector environment gives without dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from powergrid.core.types import Array
from powergrid.engine.results import Results


class VectorStep:
    """One step of all environments without dictionaries; agents in the order of ``possible_agents``.

    Attributes
    ----------
    observation
        Numbers of all agents, float32 ``(E, N)``; those of one agent are the columns ``env.observation_slices[agent]``.
        Where an episode ended, the first one of the next.
    reward
        ``(E, A)``.
    terminated, truncated
        ``(E,)``.
    converged
        Whether the power flow was solved, ``(E,)``.
    clipped, due, available
        ``(E, A)``.
    final_observation
        float32 ``(ended, N)``: last observation of each environment whose episode ended, in order.
    cost
        Sum of the priced violations [$], ``(E, A)``.
    alive
        Whether each agent is there in the next tick, ``(E, A)``. What an absent agent would see is in `observation`, as
        part of the state of the system; its reward and cost are 0.
    left
        Whether it left with this tick, for good in its episode, ``(E, A)``.
    """

    def __init__(
        self,
        results: Results,
        ended: tuple[Array, Array, Array],
        lives: tuple[Array, Array],
        fill: Callable[[Array, Array], None],
    ):
        self.observation, self.reward, self.cost = results.observation, results.reward, results.cost
        self.converged, self.clipped, self.due = results.converged, results.clipped, results.due
        self.available = results.available
        self.terminated, self.truncated, self.final_observation = ended
        self.alive, self.left = lives
        self._results, self._fill = results, fill

    @cached_property
    def _tables(self) -> tuple[Array, Array]:
        money, costs, acting = self._results.money, self._results.costs, self.reward.shape[1]
        self._fill(money, costs)
        del self._fill  # it refers to all arrays of the step
        return money[:, :acting], costs[:, :acting]

    @property
    def money(self) -> Array:
        """Costs [$] by agent and name, ``(E, A, names)``; computed at their first use: they cost as much as a step."""
        return self._tables[0]

    @property
    def costs(self) -> Array:
        """Priced violations [$] by agent and name, ``(E, A, names)``; computed at their first use."""
        return self._tables[1]
