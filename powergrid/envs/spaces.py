"""Spaces of acting agents, the same for every form of environment."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from powergrid.engine.layout import Layout


def agent_spaces(layout: Layout) -> tuple[dict[str, Box], dict[str, Box]]:
    """Observation spaces, float32 with finite bounds, and action spaces, [-1, 1], of every acting agent."""
    view = layout.view
    low, high = view.low.astype(np.float32), view.high.astype(np.float32)
    observations: dict[str, Box] = {}
    actions: dict[str, Box] = {}
    for row, (agent, seen) in enumerate(zip(layout.actors, view.slices, strict=False)):
        observations[agent] = Box(low[seen], high[seen], dtype=np.float32)
        actions[agent] = Box(-1.0, 1.0, shape=(len(layout.action_entries[row]),), dtype=np.float32)
    return observations, actions


def central_space(layout: Layout) -> Box:
    """Space of the state for a central critic."""
    entries = [layout.view.entries[i][1] for i in layout.view.central]
    low, high = np.array([(entry.low, entry.high) for entry in entries], dtype=np.float32).reshape(-1, 2).T
    return Box(low, high, dtype=np.float32)
