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
        ``(B, A, d_max)``.
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

    def of_first(self, agents: int) -> Results:
        """Views of the first agents: those that outside code acts for."""
        if self.reward.shape[1] == agents:
            return self
        by_agent = ("observation", "reward", "cost", "due", "clipped", "available")
        return self._replace(**{name: getattr(self, name)[:, :agents] for name in by_agent})


def blank_results(layout: Layout, count: int, dtype: Any = np.float32) -> Results:
    """Arrays for `count` environments; observations of the given type.

    All agents are available, which a step changes only where something switches or fails.
    """
    agents, rows = layout.acting, len(layout.accounts) + 1
    ledger, available = layout.ledger, np.empty((count, agents), np.bool_)
    available.fill(True)
    return Results(
        observation=np.empty((count, *layout.view.index.shape), dtype),
        reward=np.empty((count, agents), np.float64),
        cost=np.empty((count, agents), np.float64),
        money=np.empty((count, rows, len(ledger.money_names)), np.float64),
        costs=np.empty((count, rows, len(ledger.cost_names)), np.float64),
        due=np.empty((count, agents), np.bool_),
        clipped=np.empty((count, agents), np.int64),
        available=available,
        converged=np.empty((count,), np.bool_),
    )
