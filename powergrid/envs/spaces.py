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
    for row, (agent, size) in enumerate(zip(layout.actors, view.sizes, strict=False)):
        observations[agent] = Box(low[row, :size], high[row, :size], dtype=np.float32)
        actions[agent] = Box(-1.0, 1.0, shape=(len(layout.action_entries[row]),), dtype=np.float32)
    return observations, actions


def central_space(layout: Layout) -> Box:
    """Space of the state for a central critic."""
    entries = [layout.view.entries[i][1] for i in layout.view.central]
    low, high = np.array([(entry.low, entry.high) for entry in entries], dtype=np.float32).reshape(-1, 2).T
    return Box(low, high, dtype=np.float32)


def central_places(layout: Layout) -> np.ndarray:
    """Positions of the central state's entries in all observations ``(A, d_max)``, counted row by row."""
    view = layout.view
    features = np.where(view.valid, view.index, -1).ravel()
    return np.array([np.argmax(features == feature) for feature in view.central], dtype=int)
