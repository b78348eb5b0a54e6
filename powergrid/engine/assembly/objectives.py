"""Whose money and violations the rewards of acting agents sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.engine.gather import SumTo


def objectives_of(agents: Sequence[Any], accounts: Sequence[str], acting: Sequence[str]) -> SumTo | None:
    """From accounts to the agents whose rewards sum them; ``None`` where each has its own account alone.

    Parameters
    ----------
    agents
        All agents.
    accounts
        Who owns money: first those who act.
    acting
        Those who act, in order.
    """
    by_id = {agent.id: agent for agent in agents}
    whose = [(by_id[id], getattr(by_id[id], "objective", "own")) for id in acting]
    if all(objective == "own" for _, objective in whose):
        return None
    rows: list[list[int]] = []
    for k, (agent, objective) in enumerate(whose):
        mine = {agent.id, *(below.id for below in agent.descendants())} if objective == "below" else set(accounts)
        rows.append([k] if objective == "own" else [row for row, id in enumerate(accounts) if id in mine])
    target = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return SumTo(target, len(rows), source=np.concatenate(rows), values=len(accounts))
