"""Doing nothing: what a day costs without any decision."""

from __future__ import annotations

from typing import Any

from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("idle")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Every slot as before the first decision.

    Batteries rest, generators run at their lowest power, renewables feed in what they can, loads are served, and
    price signals and limit prices stay in the middle of their range.
    """
    return xp.zeros_like(state.slots) + xp.asarray(layout.slots.rest, dtype=state.slots.dtype)
