"""Arrays that a step fills for the learner: new ones each time, so that whoever keeps them keeps what they say."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.layout import Layout


class Results(NamedTuple):
    """What a step tells actors and Python agents, with one batch axis in front.

    Attributes
    ----------
    observation
        Numbers of all agents, one after the other, ``(B, N)``; see :class:`powergrid.engine.view.View`.
    reward, cost
        Reward, and sum of the priced violations [$], ``(B, A)``.
    money, costs
        Costs and priced violations [$] by account and name, ``(B, accounts + 1, names)``; accounts of acting agents
        come first and the last row means nothing.
    due, clipped
        Whether an agent acted, and how many of its numbers lay outside [-1, 1], ``(B, A)``.
    available
        Whether an agent has a device with voltage, ``(B, A)``.
    converged
        Whether the power flow was solved, ``(B,)``.
    """

    observation: Array
    reward: Array
    cost: Array
    money: Array
    costs: Array
    due: Array
    clipped: Array
    available: Array
    converged: Array

    def rows(self, which: slice) -> Results:
        """Views of some environments."""
        return Results(*[array[which] for array in self])

    def of_actors(self, layout: Layout) -> Results:
        """Views of the agents that outside code acts for, who come first."""
        actors = len(layout.actors)
        if self.reward.shape[1] == actors:
            return self
        by_agent = ("reward", "cost", "due", "clipped", "available")
        rows = {name: getattr(self, name)[:, :actors] for name in by_agent}
        return self._replace(observation=self.observation[:, : layout.seen_by_actors], **rows)


def blank_results(layout: Layout, count: int, dtype: Any = np.float32) -> Results:
    """Arrays for `count` environments; observations of the given type.

    All agents are available, which a step changes only where something switches or fails.
    """
    agents, rows = layout.acting, len(layout.accounts) + 1
    ledger, available = layout.ledger, np.empty((count, agents), np.bool_)
    available.fill(True)
    return Results(
        observation=np.empty((count, len(layout.view.index)), dtype),
        reward=np.empty((count, agents), np.float64),
        cost=np.empty((count, agents), np.float64),
        money=np.empty((count, rows, len(ledger.money_names)), np.float64),
        costs=np.empty((count, rows, len(ledger.cost_names)), np.float64),
        due=np.empty((count, agents), np.bool_),
        clipped=np.empty((count, agents), np.int64),
        available=available,
        converged=np.empty((count,), np.bool_),
    )
