"""Maximum power point tracking: renewables feed in all they can."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import _slots
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("mppt")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Full share of the available power, no reactive power.

    Slots ``(*batch, K)``.
    """
    full = _slots.mask(layout, "p_share").astype(float)
    return xp.zeros_like(state.slots) + xp.asarray(full, dtype=state.slots.dtype)
