"""Arrays that a step fills for the learner, and a pool that lends them again once nobody holds them."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.layout import Layout

_UNUSED = 3
"""References to an array that only the pool holds: its list, the loop that looks at it, and the question itself."""
_KEPT = 3
"""Arrays of one shape that are kept at most, so that somebody who holds all of them costs no memory twice."""


class Results(NamedTuple):
    """What a step tells agents, with one batch axis in front.

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


class Pool:
    """Lends arrays, and lends an array again as soon as nobody refers to it or to a view of it.

    Large arrays that are fresh cost more than what is written into them: the operating system hands out memory page
    by page, each cleared first.
    """

    def __init__(self) -> None:
        self._arrays: dict[Any, list[Array]] = {}

    def __call__(self, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        """An array of unknown content."""
        kept = self._arrays.setdefault((shape, dtype), [])
        for array in kept:
            if sys.getrefcount(array) == _UNUSED:
                return array
        array = np.empty(shape, dtype)
        if len(kept) < _KEPT:
            kept.append(array)
        return array


def blank_results(layout: Layout, count: int, new: Any = np.empty, dtype: Any = np.float32) -> Results:
    """Arrays for `count` environments, made by `new(shape, dtype)`; observations of the given type.

    All agents are available, which a step changes only where something switches or fails.
    """
    agents, rows = len(layout.actors), len(layout.accounts) + 1
    ledger, available = layout.ledger, new((count, agents), np.bool_)
    available.fill(True)
    return Results(
        observation=new((count, *layout.view.index.shape), dtype),
        reward=new((count, agents), np.float64),
        cost=new((count, agents), np.float64),
        money=new((count, rows, len(ledger.money_names)), np.float64),
        costs=new((count, rows, len(ledger.cost_names)), np.float64),
        due=new((count, agents), np.bool_),
        clipped=new((count, agents), np.int64),
        available=available,
        converged=new((count,), np.bool_),
    )
